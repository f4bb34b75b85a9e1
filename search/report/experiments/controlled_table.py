"""The controlled table: one width moved, all others fixed, with a verdict on every row.

`judge_rows` makes it. Entry points: `ControlledTable`, `ControlledRow`, `RowVerdict`;
`quality_cells` and `cost_cells`, the table for people.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from ...goal import Goal
from ...units import COST_BY_NAME, format_cost
from ..confirmation.words import MetricWords
from .experiment_run import ExperimentRun, values_by_seed
from .seed_noise import mean_and_error


class RowVerdict(enum.StrEnum):
    """What is said of a row; the words are in the JSON."""

    BEST = "best"
    AS_GOOD = "as good"
    NO_GAIN = "no gain"
    UNDERFITS = "underfits"
    OVERFITS = "overfits"
    WORSE = "worse"
    BREAKS_LIMIT = "breaks a limit"
    FAILED = "failed"
    UNTOLD = "untold"


@dataclass(frozen=True, kw_only=True)
class ControlledRow:
    """A row of the table.

    Attributes:
        value: What the moved width is set to.
        widths: All widths.
        costs: Costs by name.
        runs: Its trainings.
        verdict: What is said of it.
        text: The same for people.
        difference: Validation metric less the best row's, in the metric's own sign; None for the
            best row and for rows without a metric.
        half_width: Of the interval of that difference.
    """

    value: int
    widths: Mapping[str, int]
    costs: Mapping[str, float]
    runs: Sequence[ExperimentRun]
    verdict: RowVerdict
    text: str
    difference: float | None = None
    half_width: float | None = None

    @property
    def validation(self) -> Mapping[int, float]:
        """Validation metric by seed."""
        return values_by_seed(self.runs)

    @property
    def train(self) -> Mapping[int, float]:
        """Training metric by seed."""
        return values_by_seed(self.runs, "train")

    @property
    def seconds(self) -> float | None:
        """Mean wall-clock time of a training."""
        seconds = [run.seconds for run in self.runs if run.seconds is not None]
        return fmean(seconds) if seconds else None


@dataclass(frozen=True, kw_only=True)
class ControlledTable:
    """The table and what it says.

    Attributes:
        study: The study that it follows up.
        follow_up: The study that its trainings stand in; None where none was needed.
        moved: The widths that move: one, and those tied to it.
        metric: The metric's name.
        goal: Says which metric is better.
        rows: By rising value.
        seeds: Seeds that rows were trained with.
        noise: Of one training; None where it is not known.
        notes: What else a reader has to know.
    """

    study: str
    follow_up: str | None
    moved: Sequence[str]
    metric: str
    goal: Goal
    rows: Sequence[ControlledRow]
    seeds: Sequence[int]
    noise: float | None
    notes: Sequence[str] = field(default=())

    @property
    def best(self) -> ControlledRow | None:
        """The row of the best mean; None where none has a metric."""
        return next((row for row in self.rows if row.verdict is RowVerdict.BEST), None)

    @property
    def fixed(self) -> Mapping[str, int]:
        """The widths that do not move."""
        widths = self.rows[0].widths if self.rows else {}
        return {name: width for name, width in widths.items() if name not in self.moved}

    def sentences(self) -> list[str]:
        """Return what the table says, the answer first."""
        lines = [_conclusion(self)]
        if self.best is not None and self.noise is None:
            lines.append(
                "One seed cannot tell a width from luck, and the study is too short to know the "
                "noise of a training: repeat with --seeds 3."
            )
        return [*lines, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        best = self.best
        return {
            "study": self.study,
            "follow_up": self.follow_up,
            "moved": list(self.moved),
            "fixed": dict(self.fixed),
            "metric": {"name": self.metric, "direction": str(self.goal.direction)},
            "seeds": list(self.seeds),
            "noise": self.noise,
            "best": None if best is None else best.value,
            "rows": [_row_json(row) for row in self.rows],
            "sentences": self.sentences(),
        }


def _conclusion(table: ControlledTable) -> str:
    """Return the answer of a table in one sentence."""
    best, name = table.best, " = ".join(table.moved)
    if best is None:
        return f"No value of {name} has a metric."
    words = MetricWords(name=table.metric, sign=table.goal.sign)
    mean, error = mean_and_error(best.validation)
    text = f"{name} = {best.value} is best: {words.value(table.goal.sign * mean, error)}"
    as_good = [row for row in table.rows if row.verdict is RowVerdict.AS_GOOD]
    if as_good:
        smallest = as_good[0]
        share = format_percent(
            smallest.costs.get("parameters", smallest.value)
            / best.costs.get("parameters", best.value)
        )
        text += f"; {smallest.value} is as good within the noise, with {share} of its parameters"
    parts = []
    below, every = _values_with(table, RowVerdict.UNDERFITS), [row.value for row in table.rows]
    if below:
        rest = [value for value in every if value <= below[-1]]
        parts.append(_said_of(below, rest, f"{below[-1]} and less", "underfit"))
    above = _values_with(table, RowVerdict.OVERFITS)
    if above:
        rest = [value for value in every if value >= above[0]]
        parts.append(_said_of(above, rest, f"{above[0]} and more", "overfit"))
    useless = _values_with(table, RowVerdict.NO_GAIN)
    if useless:
        if useless == [value for value in every if value > best.value]:
            parts.append(f"more than {best.value} brings no gain")
        else:
            parts.append(f"{_listed(useless)} {_verb('bring', useless)} no gain")
    return f"{text}. {_sentence(parts)}".strip() if parts else f"{text}."


def _values_with(table: ControlledTable, verdict: RowVerdict) -> list[int]:
    return [row.value for row in table.rows if row.verdict is verdict]


def _said_of(values: Sequence[int], side: Sequence[int], range_text: str, verb: str) -> str:
    """Return what is said of values: of a range where all rows on that side are meant."""
    if len(values) > 1 and values == side:
        return f"{range_text} {verb}s"
    return f"{_listed(values)} {_verb(verb, values)}"


def _listed(values: Sequence[int]) -> str:
    """Return "8", "8 and 32" or "8, 32 and 64"."""
    *others, last = map(str, values)
    return f"{', '.join(others)} and {last}" if others else last


def _verb(stem: str, values: Sequence[int]) -> str:
    return stem if len(values) > 1 else f"{stem}s"


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def format_percent(ratio: float) -> str:
    """Return a share for people."""
    return f"{100 * ratio:.2g} %" if ratio < 0.1 else f"{100 * ratio:.0f} %"


def format_times(ratio: float) -> str:
    """Return how many times as many, for people."""
    return "twice" if 1.95 <= ratio <= 2.05 else f"{ratio:.3g} ×"


def _row_json(row: ControlledRow) -> dict[str, Any]:
    return {
        "value": row.value,
        "widths": dict(row.widths),
        "train": figure_json(row.train),
        "validation": figure_json(row.validation),
        "seconds": row.seconds,
        "costs": dict(row.costs),
        "verdict": str(row.verdict),
        "text": row.text,
        "difference": row.difference,
        "half_width": row.half_width,
        "runs": [run_json(run) for run in row.runs],
    }


def figure_json(values: Mapping[int, float]) -> dict[str, Any] | None:
    """Return mean, standard error and number of seeds; None without any."""
    if not values:
        return None
    mean, error = mean_and_error(values)
    return {"mean": mean, "error": error, "seeds": len(values)}


def run_json(run: ExperimentRun) -> dict[str, Any]:
    """Return one training."""
    return {
        "study": run.study,
        "trial": run.number,
        "seed": run.seed,
        "outcome": str(run.outcome),
        "value": run.value,
        "train": run.train,
        "train_loss": run.train_loss,
        "validation_loss": run.validation_loss,
        "seconds": run.seconds,
    }


def quality_cells(table: ControlledTable) -> tuple[list[str], list[list[str]]]:
    """Return titles and rows of what was reached: training and validation metric, verdict."""
    titles = [" = ".join(table.moved), "training", "validation", "verdict"]
    return titles, [
        [str(row.value), format_figure(row.train), format_figure(row.validation), row.text]
        for row in table.rows
    ]


def cost_cells(table: ControlledTable) -> tuple[list[str], list[list[str]]]:
    """Return titles and rows of what it costs."""
    names = [name for name in COST_BY_NAME if any(name in row.costs for row in table.rows)]
    shown = [name for name in ("parameters", "flops", "train_memory") if name in names]
    titles = [" = ".join(table.moved), *(COST_BY_NAME[name].title for name in shown), "time"]
    return titles, [
        [
            str(row.value),
            *(format_cost(name, row.costs[name]) if name in row.costs else "—" for name in shown),
            "—" if row.seconds is None else f"{row.seconds:.3g} s",
        ]
        for row in table.rows
    ]


def format_figure(values: Mapping[int, float]) -> str:
    """Return a mean with its standard error, such as `0.912 ± 0.004`; a dash without any."""
    if not values:
        return "—"
    mean, error = mean_and_error(values)
    if not error:
        return f"{mean:.4f}"
    # One digit of the error, two where it begins with 1, and as many decimals of the mean.
    leading = math.floor(math.log10(error))
    decimals = min(max(-leading + (error / 10.0**leading < 2.0), 0), 6)
    return f"{mean:.{decimals}f} ± {error:.{decimals}f}"
