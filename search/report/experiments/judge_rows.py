"""The verdict on every row of a controlled table.

The best row is that of the best mean validation metric; each other is compared with it over the
same seeds, by Tukey's bound for all pairs of rows at 5 % (`seed_noise`), since the best was chosen
among them. Then, as people draw it by hand:

    best              the best mean
    as good           smaller than the best, and not told from it
    no gain           larger than the best, and not better: more parameters for nothing
    underfits         smaller, and worse in validation and in training
    overfits          larger, and worse in validation though not in training
    worse             worse in another way: smaller but no worse in training, or larger and worse in
                      both, which is harder to train; or nothing tells who is worse in training
    breaks a limit    never trained
    failed            a training failed, or memory ran out
    untold            with one seed, where the noise of a training is not known

Entry point: `judge_table`, with a `RowInput` for each row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ....storage.ledger.slot import TrialOutcome
from ...goal import Goal
from ..confirmation.words import MetricWords
from .controlled_table import (
    ControlledRow,
    ControlledTable,
    RowVerdict,
    format_percent,
    format_times,
)
from .experiment_run import ExperimentRun, values_by_seed
from .seed_noise import Difference, Noise, compare, residual_noise

ERROR = 0.05
"""Error of all differences of a table together."""


@dataclass(frozen=True, kw_only=True)
class RowInput:
    """A row before it is judged.

    Attributes:
        value: What the moved width is set to.
        widths: All widths.
        costs: Costs by name, as counted.
        violations: Limits that it breaks; with one it is not trained.
        runs: Its trainings, one a seed.
    """

    value: int
    widths: Mapping[str, int]
    costs: Mapping[str, float]
    violations: Sequence[str] = ()
    runs: Sequence[ExperimentRun] = ()


def judge_table(
    rows: Sequence[RowInput],
    *,
    study: str,
    follow_up: str | None,
    moved: Sequence[str],
    metric: str,
    goal: Goal,
    known_noise: float | None = None,
    notes: Sequence[str] = (),
) -> ControlledTable:
    """Judge every row.

    Args:
        rows: In any order.
        study: The study that they follow up.
        follow_up: The study of their trainings.
        moved: The widths that move.
        metric: The metric's name.
        goal: Says which metric is better.
        known_noise: Standard deviation of one training by the study's surrogate: what rows of a
            single seed are judged by.
        notes: What else to say.
    """
    ordered = sorted(rows, key=lambda row: row.value)
    # A setting of which a training fails cannot be relied on, whatever the others reach.
    judged = [
        row
        for row in ordered
        if row.runs and not row.violations and all(run.value is not None for run in row.runs)
    ]
    signed = {row.value: _signed(row, "value", goal.sign) for row in judged}
    noise = residual_noise(signed)
    if noise is None and known_noise is not None:
        noise = Noise(deviation=known_noise, freedom=math.inf)
    # Training metrics are compared where all have one, else the losses.
    fits = {row.value: _signed(row, "train", goal.sign) for row in judged}
    # The training metric of a single seed has no noise of its own to be judged by; a loss has
    # another unit, and nothing to be judged by then.
    fit_noise = residual_noise(fits) or noise
    if not all(fits.values()):
        fits = {row.value: _signed(row, "train_loss", -1.0) for row in judged}
        fit_noise = residual_noise(fits)
    judge = _RowJudge(
        words=MetricWords(name=metric, sign=goal.sign),
        inputs={row.value: row for row in ordered},
        signed=signed,
        fits=fits,
        noise=noise,
        fit_noise=fit_noise,
    )
    return ControlledTable(
        study=study,
        follow_up=follow_up,
        moved=moved,
        metric=metric,
        goal=goal,
        rows=[judge.judge(row) for row in ordered],
        seeds=sorted({run.seed for row in ordered for run in row.runs}),
        noise=None if noise is None else noise.deviation,
        notes=notes,
    )


@dataclass(frozen=True, kw_only=True)
class _RowJudge:
    """Judges rows against the best.

    Attributes:
        words: How the metric is written.
        inputs: The rows by value.
        signed: Value to its signed validation metrics by seed, of rows that have any.
        fits: Likewise of the training metric, or of the negative training loss.
        noise: Of one training's validation metric.
        fit_noise: Of one training's training metric, or loss; None where it is not known.
    """

    words: MetricWords
    inputs: Mapping[int, RowInput]
    signed: Mapping[int, Mapping[int, float]]
    fits: Mapping[int, Mapping[int, float]]
    noise: Noise | None
    fit_noise: Noise | None

    @property
    def best(self) -> RowInput | None:
        """The row of the best mean; of equal ones the smallest."""
        if not self.signed:
            return None
        value = max(self.signed, key=lambda key: (fmean(self.signed[key].values()), -key))
        return self.inputs[value]

    def judge(self, row: RowInput) -> ControlledRow:
        """Return the row with its verdict."""
        verdict, text = self._untrained(row) or (None, "")
        difference = half_width = None
        if verdict is None:
            best = self.best
            assert best is not None, "a row has a metric"
            if row.value == best.value:
                verdict, text = RowVerdict.BEST, "best"
            else:
                compared = self._compare(self.signed, row, best, self.noise)
                difference = self.words.sign * compared.mean
                half_width = compared.half_width if math.isfinite(compared.half_width) else None
                fits_worse = self._fits_worse(row, best)
                verdict = self._verdict(row, best, fits_worse)
                text = _row_text(verdict, row, best, fits_worse)
        return ControlledRow(
            value=row.value,
            widths=row.widths,
            costs=row.costs,
            runs=row.runs,
            verdict=verdict,
            text=text,
            difference=difference,
            half_width=half_width,
        )

    def _untrained(self, row: RowInput) -> tuple[RowVerdict, str] | None:
        if row.violations:
            names = ", ".join(row.violations)
            return RowVerdict.BREAKS_LIMIT, f"breaks the limit {names}: not trained"
        if row.value in self.signed:
            return None
        failed = [run for run in row.runs if run.value is None]
        infeasible = [run for run in failed if run.outcome is TrialOutcome.INFEASIBLE]
        if infeasible:
            return RowVerdict.BREAKS_LIMIT, f"not trained: {infeasible[0].detail}"
        outcome = failed[0].outcome.replace("_", " ") if failed else "no result"
        return RowVerdict.FAILED, f"{len(failed)} of {len(row.runs)} trainings failed: {outcome}"

    def _verdict(self, row: RowInput, best: RowInput, fits_worse: bool | None) -> RowVerdict:
        if self.noise is None:
            return RowVerdict.UNTOLD
        is_smaller = _size(row) < _size(best)
        if not self._compare(self.signed, row, best, self.noise).is_negative:
            return RowVerdict.AS_GOOD if is_smaller else RowVerdict.NO_GAIN
        if fits_worse is None:
            return RowVerdict.WORSE
        if is_smaller:
            return RowVerdict.UNDERFITS if fits_worse else RowVerdict.WORSE
        return RowVerdict.WORSE if fits_worse else RowVerdict.OVERFITS

    def _fits_worse(self, row: RowInput, best: RowInput) -> bool | None:
        """Return whether a row is worse in training; None where nothing tells."""
        if not self.fits[row.value].keys() & self.fits[best.value].keys():
            return None
        compared = self._compare(self.fits, row, best, self.fit_noise)
        return compared.is_negative if math.isfinite(compared.half_width) else None

    def _compare(
        self,
        figures: Mapping[int, Mapping[int, float]],
        row: RowInput,
        best: RowInput,
        noise: Noise | None,
    ) -> Difference:
        return compare(
            figures[row.value],
            figures[best.value],
            noise,
            error=ERROR,
            settings=len(self.signed),
        )


def _signed(row: RowInput, attribute: str, sign: float) -> dict[int, float]:
    """Return a figure of the row's trainings by seed, so that higher is better."""
    return {seed: sign * value for seed, value in values_by_seed(row.runs, attribute).items()}


def _size(row: RowInput) -> float:
    return float(row.costs.get("parameters", row.value))


def _row_text(verdict: RowVerdict, row: RowInput, best: RowInput, fits_worse: bool | None) -> str:
    ratio = _size(row) / _size(best)
    match verdict:
        case RowVerdict.AS_GOOD:
            return f"as good with {format_percent(ratio)} of parameters"
        case RowVerdict.NO_GAIN:
            return f"no gain for {format_times(ratio)} the parameters"
        case RowVerdict.WORSE if fits_worse:
            return "worse in training, too: harder to train"
        case RowVerdict.WORSE if fits_worse is not None:
            return "worse, though not in training"
        case RowVerdict.UNTOLD:
            return "one seed tells no difference"
        case _:
            return str(verdict)
