"""What refining found: which settings to take, and by how much they are better.

Entry points: `Refinement`, `judge_refinement`, `RefinementVerdict`.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from ...goal import Goal
from ..confirmation.words import MetricWords
from .controlled_table import run_json
from .experiment_run import ExperimentRun, values_by_seed
from .refinement_axes import FOLDS, Setting, setting_key
from .refinement_race import Decision, RaceState
from .seed_noise import difference_json


class RefinementVerdict(enum.StrEnum):
    """The answer of refining; the words are in the JSON."""

    REFINED = "refined"
    NOTHING = "nothing to refine"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class FoldNoise:
    """What moves the metric of one training: which rows validate, and the seed.

    Attributes:
        splits: Splits that it was measured with.
        rows: Standard deviation of the metric over the folds.
        seeds: Standard deviation over seeds, of one validation split or of the mean of the folds.
        matters: Whether the rows move it significantly more than the seed does (F test at 5 %).
        in_force: Whether the study validates with folds already.
    """

    splits: int
    rows: float
    seeds: float
    matters: bool
    in_force: bool


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """What refining found.

    Attributes:
        study: The study that was refined.
        follow_up: The study of its trainings.
        metric: The metric's name.
        goal: Says which metric is better.
        base: The study's own setting.
        state: Where the race ended.
        runs: All trainings.
        fold_noise: What k-fold validation would bring; None where it was not measured.
        notes: What else a reader has to know.
    """

    study: str
    follow_up: str | None
    metric: str
    goal: Goal
    base: Setting
    state: RaceState
    runs: Sequence[ExperimentRun]
    fold_noise: FoldNoise | None = None
    notes: Sequence[str] = field(default=())

    @property
    def verdict(self) -> RefinementVerdict:
        """The answer: settings are taken where they are better with fresh seeds, too."""
        if self.state.failed is not None:
            return RefinementVerdict.FAILED
        if self.state.gain is not None and self.state.gain.is_positive:
            return RefinementVerdict.REFINED
        return RefinementVerdict.NOTHING

    @property
    def setting(self) -> Setting:
        """The setting to take."""
        return self.state.best if self.verdict is RefinementVerdict.REFINED else self.base

    @property
    def spec_lines(self) -> list[str]:
        """The lines of a spec that set what was refined; none where nothing was."""
        sections: dict[str, list[str]] = {}
        for key, value in self.setting.overrides.items():
            section, name = key.split(".", 1)
            sections.setdefault(section, []).append(f"{name} = {json.dumps(value)}")
        return [
            line for section, lines in sections.items() for line in (f"[{section}]", *sorted(lines))
        ]

    @property
    def verdict_text(self) -> str:
        """The answer for people, with its numbers."""
        words = MetricWords(name=self.metric, sign=self.goal.sign)
        state = self.state
        if state.failed is not None:
            return f"Nothing could be refined: the study's own setting failed: {state.failed}."
        if state.gain is None and any(item.detail and not item.text for item in state.decisions):
            return (
                "Nothing to refine in what was decided on: no other setting is better beyond the "
                "noise."
            )
        if state.gain is None:
            return "Nothing to refine: no other setting is better beyond the noise."
        taken = ", ".join(
            f"widths {text}" if axis == "wider" else text for axis, text in state.taken.items()
        )
        gain = words.signed(state.gain)
        if self.verdict is RefinementVerdict.REFINED:
            return (
                f"Set {taken}: {gain} over {state.gain.seeds} fresh seeds, which no choice has "
                "seen (95 %)."
            )
        return (
            f"Nothing to refine: what {taken} seemed to bring did not hold over "
            f"{state.gain.seeds} fresh seeds: {gain} (95 %)."
        )

    def sentences(self) -> list[str]:
        """Return what was found, the answer first."""
        lines = [self.verdict_text]
        if (noise := self.fold_noise) is not None:
            lines.append(_fold_sentence(noise, MetricWords(name=self.metric, sign=self.goal.sign)))
        by_reason: dict[tuple[str, str], list[str]] = {}
        for item in self.state.decisions:
            if item.detail is not None:
                reason = str(item.verdict), item.detail
                by_reason.setdefault(reason, []).append(item.text or item.axis)
        lines += [
            f"{', '.join(names)}: {verdict}, {detail}."
            for (verdict, detail), names in by_reason.items()
        ]
        return [*lines, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        noise, sign = self.fold_noise, self.goal.sign
        return {
            "study": self.study,
            "follow_up": self.follow_up,
            "metric": {"name": self.metric, "direction": str(self.goal.direction)},
            "verdict": str(self.verdict),
            "verdict_text": self.verdict_text,
            "widths": dict(self.setting.widths),
            "settings": dict(self.setting.overrides),
            "spec": self.spec_lines,
            "gain": difference_json(self.state.gain, sign),
            "noise": None if self.state.noise is None else self.state.noise.deviation,
            "decisions": [_decision_json(item, sign) for item in self.state.decisions],
            "folds": None
            if noise is None
            else {
                "splits": noise.splits,
                "rows": noise.rows,
                "seeds": noise.seeds,
                "matters": noise.matters,
                "in_force": noise.in_force,
            },
            "runs": [
                {
                    **run_json(run),
                    "widths": dict(run.widths),
                    "overrides": dict(run.overrides),
                }
                for run in self.runs
            ],
            "sentences": self.sentences(),
        }

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Return titles and rows for people: what was tried, and what became of it."""
        words = MetricWords(name=self.metric, sign=self.goal.sign)
        rows = []
        for item in self.state.decisions:
            difference = item.difference
            rows.append(
                [
                    item.text or item.axis,
                    "" if difference is None else words.signed(difference),
                    "" if difference is None else str(difference.seeds),
                    str(item.verdict),
                ]
            )
        return ["tried", "difference", "seeds", "verdict"], rows


def judge_refinement(
    state: RaceState,
    runs: Sequence[ExperimentRun],
    base: Setting,
    *,
    study: str,
    follow_up: str | None,
    metric: str,
    goal: Goal,
    splits: int,
    fold_runs: Sequence[ExperimentRun] = (),
    fold_splits: int = FOLDS,
    notes: Sequence[str] = (),
) -> Refinement:
    """Put together what refining found.

    Args:
        state: The race's end.
        runs: All trainings.
        base: The study's own setting.
        study: The study.
        follow_up: The study of the trainings.
        metric: The metric's name.
        goal: Says which metric is better.
        splits: Trainings that a value of the study is the mean of; 1 for one validation split.
        fold_runs: Trainings of the best setting with `FOLDS` folds, where the study has none.
        fold_splits: Trainings that one of these is the mean of.
        notes: What else to say.
    """
    best = [run for run in runs if setting_key(run.widths, run.overrides) == state.best.key]
    return Refinement(
        study=study,
        follow_up=follow_up,
        metric=metric,
        goal=goal,
        base=base,
        state=state,
        runs=runs,
        fold_noise=_fold_noise(best, best, splits, in_force=True)
        if splits > 1
        else _fold_noise(best, fold_runs, fold_splits, in_force=False),
        notes=notes,
    )


def _fold_noise(
    runs: Sequence[ExperimentRun],
    fold_runs: Sequence[ExperimentRun],
    splits: int,
    *,
    in_force: bool,
) -> FoldNoise | None:
    """Return what the choice of the validation rows moves, beside the seed; None if unknown.

    The spread of a value over k splits is s / √k, the standard error of their mean: s is what one
    split's metric moves by, by its rows and by its seed. Where that is significantly more than
    seeds alone move one split's metric, one split is the luck of its rows.

    Args:
        runs: Trainings as in the study, of several seeds.
        fold_runs: Trainings with folds.
        splits: Trainings that each of the latter is the mean of.
        in_force: Whether the study validates so, and both are the same.
    """
    from scipy import stats

    variances = [run.spread**2 * splits for run in fold_runs if run.spread is not None]
    values = list(values_by_seed(runs).values())
    if not variances or len(values) < 3:
        return None
    center = fmean(values)
    # With folds, the values are means of so many trainings: one of them varies by as much more.
    scale = splits if in_force else 1
    seed_variance = scale * sum((value - center) ** 2 for value in values) / (len(values) - 1)
    row_variance = fmean(variances)
    bound = stats.f.isf(0.05, len(variances) * (splits - 1), len(values) - 1)
    return FoldNoise(
        splits=splits,
        rows=math.sqrt(row_variance),
        seeds=math.sqrt(seed_variance),
        matters=bool(row_variance > bound * seed_variance),
        in_force=in_force,
    )


def _fold_sentence(noise: FoldNoise, words: MetricWords) -> str:
    rows, seeds = words.amount(noise.rows), words.amount(noise.seeds)
    measured = f"which rows validate moves {words.name} by ±{rows}, the seed by ±{seeds}"
    if noise.in_force:
        return f"k-fold: {noise.splits} splits take turns in validating; {measured}."
    if noise.matters:
        return f"k-fold: set folds = {FOLDS} in [proxy]: {measured}, so one split is luck."
    return f"k-fold: one validation split will do: {measured}."


def _decision_json(decision: Decision, sign: float) -> dict[str, Any]:
    return {
        "axis": decision.axis,
        "option": decision.text or None,
        "verdict": str(decision.verdict),
        "difference": difference_json(decision.difference, sign),
        "detail": decision.detail,
    }
