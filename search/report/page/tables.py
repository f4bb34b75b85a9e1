"""Tables of a report: the networks side by side, the trials, the failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...sampler.baselines import AGREEING_NAMES
from ...units import format_count
from ..confirmation.confirmation import TITLES
from ..figures.selection import spread_selection
from ..figures.view import StudyView
from ..metric_format import format_metric
from ..summary import comparison_table, failure_reason, format_widths

MAX_TRIALS = 200
"""Trials that a table lists: the best, and others spread over all ranks."""
MAX_FAILURES = 50
"""Failures that a table lists: the first ones."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        title: Its heading.
        number: Whether it holds numbers, which stand to the right.
    """

    title: str
    number: bool = False


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row.

    Attributes:
        cells: Texts, as many as there are columns.
        strong: Whether it is the answer.
    """

    cells: Sequence[str]
    strong: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts.

    Attributes:
        title: What it lists.
        columns: Its columns.
        rows: Its rows.
        note: What was left out, or else empty.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[TableRow]
    note: str = ""


def comparison(study: StudyView) -> Table:
    """Return limits, reference models, baselines, best observed and recommended."""
    titles, rows = comparison_table(study.summary)
    words = {"", "widths"}
    return Table(
        title="The networks",
        columns=[Column(title=title, number=title not in words) for title in titles],
        rows=[TableRow(cells=row, strong=_is_recommended(row[0])) for row in rows],
    )


def _is_recommended(names: str) -> bool:
    return "recommended" in names.split(AGREEING_NAMES)


def contenders(study: StudyView) -> list[Table]:
    """Return the confirmation's table; none where nothing was confirmed."""
    confirmation = study.summary.confirmation
    if confirmation is None:
        return []
    return [
        Table(
            title="Contenders",
            columns=[Column(title=title, number=title != TITLES[0]) for title in TITLES],
            rows=[TableRow(cells=row) for row in confirmation.rows()],
            note=f"validation: mean ± standard error; {confirmation.difference_unit}.",
        )
    ]


def trials(study: StudyView) -> Table:
    """Return the trials from the best to the worst; of many, a selection that is stated."""
    count = len(study.trials)
    chosen = study.order[spread_selection(count, MAX_TRIALS)]
    note = (
        f"{len(chosen)} of {count:,} trials, from the best to the worst: the best "
        f"{MAX_TRIALS // 2}, and others spread evenly over all ranks. report.json holds them all."
        if count > len(chosen)
        else "All trials, from the best to the worst."
    )
    recommended = study.recommended
    reported = list(dict.fromkeys(name for trial in study.trials for name in trial.reported))
    rows = []
    for index in chosen:
        trial = study.trials[index]
        useless = " (no better than a constant)" if trial.no_better_than_constant else ""
        rows.append(
            TableRow(
                cells=[
                    str(trial.number),
                    str(trial.origin),
                    format_widths(trial.widths),
                    f"{format_metric(trial.value)}{useless}",
                    *(format_metric(trial.reported.get(name)) for name in reported),
                    format_count(int(trial.costs.get("parameters", 0))),
                    str(trial.seed),
                ],
                strong=recommended is not None and recommended.number == trial.number,
            )
        )
    return Table(
        title="Trials",
        note=note,
        columns=[
            Column(title="trial", number=True),
            Column(title="origin"),
            Column(title="widths"),
            Column(title=f"validation {study.metric}", number=True),
            *(Column(title=name, number=True) for name in reported),
            Column(title="parameters", number=True),
            Column(title="seed", number=True),
        ],
        rows=rows,
    )


def failures(study: StudyView) -> Table:
    """Return the slots that failed, and why."""
    failed = study.summary.failed
    return Table(
        title="Failures",
        note=f"The first {MAX_FAILURES} of {len(failed):,}." if len(failed) > MAX_FAILURES else "",
        columns=[
            Column(title="trial", number=True),
            Column(title="outcome"),
            Column(title="widths"),
            Column(title="reason"),
        ],
        rows=[
            TableRow(
                cells=[
                    str(record.number),
                    str(record.outcome),
                    format_widths(record.widths or {}),
                    failure_reason(record),
                ]
            )
            for record in failed[:MAX_FAILURES]
        ],
    )
