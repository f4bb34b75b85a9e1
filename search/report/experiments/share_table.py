"""The learning curve: trainings on shares of the rows, at the recommended widths and at twice them.

Twice the rows and twice the width are compared over the same seeds (`seed_noise`): which of the two
brings more, if any does.

Entry points: `judge_shares`, `ShareTable`, `ShareRow`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...goal import Goal
from ..confirmation.words import MetricWords
from .controlled_table import figure_json, format_figure, run_json
from .experiment_run import ExperimentRun, values_by_seed
from .seed_noise import Difference, Noise, compare, difference_json, residual_noise

ERROR = 0.05
"""Of the interval of a difference, two-sided."""


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """Trainings on one share of the rows.

    Attributes:
        share: Of the training rows.
        rows: How many these are.
        runs: At the recommended widths.
        wider_runs: At twice the width; empty where that does not fit.
    """

    share: float
    rows: int
    runs: Sequence[ExperimentRun]
    wider_runs: Sequence[ExperimentRun] = ()


@dataclass(frozen=True, kw_only=True)
class ShareTable:
    """The learning curve and what it says.

    Attributes:
        study: The study that it follows up.
        follow_up: The study that its trainings stand in.
        metric: The metric's name.
        goal: Says which metric is better.
        widths: Those recommended.
        wider: Twice as wide; None where that does not fit.
        rows: By rising share.
        more_rows: Signed metric with all rows less that with the largest share of at most 60 % of
            them; None without such a share or such trainings.
        more_rows_from: That share.
        more_width: Signed metric at twice the width less that at the recommended, with all rows.
        notes: What else a reader has to know.
    """

    study: str
    follow_up: str | None
    metric: str
    goal: Goal
    widths: Mapping[str, int]
    wider: Mapping[str, int] | None
    rows: Sequence[ShareRow]
    more_rows: Difference | None
    more_rows_from: float | None
    more_width: Difference | None
    notes: Sequence[str] = field(default=())

    def sentences(self) -> list[str]:
        """Return what the curve says, the answer first."""
        return [_conclusion(self), *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "study": self.study,
            "follow_up": self.follow_up,
            "metric": {"name": self.metric, "direction": str(self.goal.direction)},
            "widths": dict(self.widths),
            "wider": None if self.wider is None else dict(self.wider),
            "rows": [
                {
                    "share": row.share,
                    "rows": row.rows,
                    "train": figure_json(values_by_seed(row.runs, "train")),
                    "validation": figure_json(values_by_seed(row.runs)),
                    "wider_validation": figure_json(values_by_seed(row.wider_runs)),
                    "runs": [run_json(run) for run in (*row.runs, *row.wider_runs)],
                }
                for row in self.rows
            ],
            "more_rows": difference_json(self.more_rows, self.goal.sign),
            "more_rows_from": self.more_rows_from,
            "more_width": difference_json(self.more_width, self.goal.sign),
            "sentences": self.sentences(),
        }

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Return titles and rows for people."""
        titles = ["share", "rows", "training", "validation"]
        if self.wider is not None:
            titles.append("twice the width")
        cells = []
        for row in self.rows:
            figures = [values_by_seed(row.runs, "train"), values_by_seed(row.runs)]
            if self.wider is not None:
                figures.append(values_by_seed(row.wider_runs))
            cells.append([f"{row.share:g}", f"{row.rows:,}", *map(format_figure, figures)])
        return titles, cells


def judge_shares(
    rows: Sequence[ShareRow],
    *,
    study: str,
    follow_up: str | None,
    metric: str,
    goal: Goal,
    widths: Mapping[str, int],
    wider: Mapping[str, int] | None,
    known_noise: float | None = None,
    notes: Sequence[str] = (),
) -> ShareTable:
    """Compare twice the rows with twice the width.

    Args:
        rows: In any order.
        study: The study that they follow up.
        follow_up: The study of their trainings.
        metric: The metric's name.
        goal: Says which metric is better.
        widths: Those recommended.
        wider: Twice as wide, if that fits.
        known_noise: Standard deviation of one training by the study's surrogate.
        notes: What else to say.
    """
    ordered = sorted(rows, key=lambda row: row.share)
    narrow = {row.share: _signed(row.runs, goal) for row in ordered}
    wide = {row.share: _signed(row.wider_runs, goal) for row in ordered}
    noise = residual_noise(
        {("narrow", share): values for share, values in narrow.items()}
        | {("wide", share): values for share, values in wide.items()}
    )
    if noise is None and known_noise is not None:
        noise = Noise(deviation=known_noise, freedom=math.inf)
    largest = ordered[-1].share if ordered else 0.0
    halves = [share for share in narrow if share <= 0.6 * largest]
    half = max(halves) if halves else None
    return ShareTable(
        study=study,
        follow_up=follow_up,
        metric=metric,
        goal=goal,
        widths=widths,
        wider=wider,
        rows=ordered,
        more_rows=None if half is None else _compare(narrow[largest], narrow[half], noise),
        more_rows_from=half,
        more_width=_compare(wide.get(largest, {}), narrow.get(largest, {}), noise),
        notes=notes,
    )


def _signed(runs: Sequence[ExperimentRun], goal: Goal) -> dict[int, float]:
    return {seed: goal.sign * value for seed, value in values_by_seed(runs).items()}


def _compare(
    first: Mapping[int, float], second: Mapping[int, float], noise: Noise | None
) -> Difference | None:
    return compare(first, second, noise, error=ERROR) if first.keys() & second.keys() else None


def _conclusion(table: ShareTable) -> str:
    """Return which of more data and more width brings more, in one sentence."""
    words = MetricWords(name=table.metric, sign=table.goal.sign)
    more_rows, more_width = table.more_rows, table.more_width
    if more_rows is None or table.more_rows_from is None:
        return "No two shares are far enough apart to say what more rows bring: add --rows auto."
    factor = table.rows[-1].share / table.more_rows_from
    rows_text = (
        f"{factor:.3g} times the rows brought {words.signed(more_rows)} "
        f"(from {table.more_rows_from:g} to {table.rows[-1].share:g} of them)"
    )
    if more_width is None:
        return f"{rows_text}; what twice the width brings is not known."
    width_text = f"twice the width brings {words.signed(more_width)}"
    if not more_rows.is_positive and not more_width.is_positive:
        answer = "Neither more rows nor more width helps beyond the noise"
    elif more_rows.is_positive and not more_width.is_positive:
        answer = "More data, not more width"
    elif more_width.is_positive and not more_rows.is_positive:
        answer = "More width, not more data"
    else:
        answer = "Both more data and more width help"
    return f"{answer}: {rows_text}, {width_text}."
