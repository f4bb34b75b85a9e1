"""The race of refining: from the trainings so far, what was decided and what is to be trained next.

All of it follows from the trainings that are done, so that refining may be interrupted anywhere
and goes on. Each group of axes is tried against the present best:

1. every option is trained with `FIRST_SEEDS` seeds, those of the present best; one whose mean is
   no better, or of which a training fails, is out;
2. the others are trained with `MOST_SEEDS`; one wins if it is better beyond the noise
   (`seed_noise`; one-sided error 5 %, shared among the options of the group), and the best winner
   becomes the present best; axes that won beside it are tried once more on top of it.

Being out early never makes a false winner, so the second look alone spends the error. At the end
the present best and the study's own setting are trained with `MOST_SEEDS` fresh seeds, which no
choice has seen: the gain and its interval come from these alone, free of the luck of the choice.

Entry points: `race`, `RaceState`, `Decision`, `OptionVerdict`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .experiment_run import ExperimentRun
from .refinement_axes import Axis, Option, Setting, setting_key
from .seed_noise import Difference, Noise, compare, residual_noise

FIRST_SEEDS = 3
"""Seeds after which what is no better is out."""

MOST_SEEDS = 6
"""Seeds that a decision is made by, and of the fresh ones at the end."""

ERROR = 0.05
"""One-sided error of a group of options: one of them wins by luck in so many cases."""


class OptionVerdict(enum.StrEnum):
    """What became of an option; the words are in the JSON."""

    BETTER = "better"
    NO_GAIN = "no gain"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of one option.

    Attributes:
        axis: Its axis.
        text: The option, for people; empty for an axis of which nothing is tried.
        verdict: What was decided.
        difference: Signed metric less the present best's, higher being better; None where nothing
            was compared.
        detail: Why it failed or was not tried.
    """

    axis: str
    text: str
    verdict: OptionVerdict
    difference: Difference | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class Need:
    """A training that is needed.

    Attributes:
        setting: What to train.
        seed: With which seed.
        label: For people.
    """

    setting: Setting
    seed: int
    label: str


@dataclass(frozen=True, kw_only=True)
class RaceState:
    """Where a refinement is.

    Attributes:
        needs: Trainings to do before it can go on; empty at its end.
        best: The present best setting.
        decisions: Of all options so far, in order.
        taken: What makes the best setting of the study's own: the option by axis, in order. An
            option may be better and not be taken: of several winners the best is, and the others
            have to win once more on top of it.
        gain: Signed metric of the best less the study's own setting, over the fresh seeds; None
            before the end, and where nothing was better.
        noise: Of one training, as in the study or as refined.
        failed: Why the study's own setting could not be trained; None where it could.
    """

    needs: Sequence[Need]
    best: Setting
    decisions: Sequence[Decision]
    taken: Mapping[str, str] = field(default_factory=dict)
    gain: Difference | None = None
    noise: Noise | None = None
    failed: str | None = None


def race(
    runs: Iterable[ExperimentRun],
    axes: Sequence[Axis],
    base: Setting,
    *,
    sign: float,
    seeds: Sequence[int],
    fresh_seeds: Sequence[int],
    budget: int | None = None,
) -> RaceState:
    """Return where a refinement is.

    Args:
        runs: The trainings that are done.
        axes: What is tried, in order.
        base: The study's own setting.
        sign: +1 where a higher metric is better, −1 where a lower one is.
        seeds: To choose by, at least `MOST_SEEDS`.
        fresh_seeds: To judge by at the end, none of them among the others.
        budget: Trainings at most; axes that do not fit are not tried.
    """
    return _Race(
        runs=_Runs.of(runs, sign),
        base=base,
        seeds=seeds[:MOST_SEEDS],
        fresh_seeds=fresh_seeds[:MOST_SEEDS],
        budget=budget,
        best=base,
    ).run(axes)


@dataclass(frozen=True, kw_only=True)
class _Runs:
    """Trainings by setting: signed values by seed, and what failed."""

    values: Mapping[tuple[str, str], Mapping[int, float]]
    failures: Mapping[tuple[str, str], str]

    @classmethod
    def of(cls, runs: Iterable[ExperimentRun], sign: float) -> _Runs:
        values: dict[tuple[str, str], dict[int, float]] = {}
        failures: dict[tuple[str, str], str] = {}
        for run in runs:
            key = setting_key(run.widths, run.overrides)
            if run.value is None:
                failures[key] = run.detail or str(run.outcome).replace("_", " ")
            else:
                values.setdefault(key, {})[run.seed] = sign * run.value
        return cls(values=values, failures=failures)

    def missing(self, setting: Setting, seeds: Sequence[int]) -> list[int]:
        """Return the seeds that a setting was not trained with; none once it has failed."""
        if setting.key in self.failures:
            return []
        return [seed for seed in seeds if seed not in self.values.get(setting.key, {})]

    def of_seeds(self, setting: Setting, seeds: Sequence[int]) -> dict[int, float]:
        """Return the values with some seeds."""
        values = self.values.get(setting.key, {})
        return {seed: values[seed] for seed in seeds if seed in values}

    def noise(self, settings: Iterable[Setting], seeds: Sequence[int]) -> Noise | None:
        """Return the noise of one training, over settings that never failed."""
        return residual_noise(
            {
                setting.key: self.of_seeds(setting, seeds)
                for setting in settings
                if setting.key not in self.failures
            }
        )


class _Wait(Exception):
    """Trainings are needed before the race can go on."""

    def __init__(self, needs: Sequence[Need]) -> None:
        super().__init__(f"{len(needs)} trainings are needed")
        self.needs = needs


class _BaseFailed(Exception):
    """A training of the study's own setting failed."""


class _BudgetSpent(Exception):
    """What comes next does not fit into the budget."""


@dataclass(kw_only=True)
class _Race:
    runs: _Runs
    base: Setting
    seeds: Sequence[int]
    fresh_seeds: Sequence[int]
    budget: int | None
    best: Setting
    decisions: list[Decision] = field(default_factory=list)
    taken: dict[str, str] = field(default_factory=dict)
    spent: set[tuple[tuple[str, str], int]] = field(default_factory=set)

    def run(self, axes: Sequence[Axis]) -> RaceState:
        try:
            self._require([(self.base, "as in the study")], self.seeds[:FIRST_SEEDS], reserve=0)
            self._run_groups(axes)
            gain = None
            if self.best.key != self.base.key:
                pair = [(self.base, "as in the study, again"), (self.best, "refined, again")]
                # Neither has failed: an option that does, with whatever seed, never wins.
                self._require(pair, self.fresh_seeds, reserve=0)
                gain = compare(
                    self.runs.of_seeds(self.best, self.fresh_seeds),
                    self.runs.of_seeds(self.base, self.fresh_seeds),
                    self.runs.noise((self.base, self.best), self.fresh_seeds),
                    error=ERROR,
                )
        except _Wait as wait:
            return self._state(needs=wait.needs)
        except _BaseFailed:
            return self._state(failed=self.runs.failures[self.base.key])
        except _BudgetSpent:
            return self._state()
        return self._state(gain=gain)

    def _state(
        self,
        *,
        needs: Sequence[Need] = (),
        gain: Difference | None = None,
        failed: str | None = None,
    ) -> RaceState:
        return RaceState(
            needs=needs,
            best=self.best,
            decisions=self.decisions,
            taken=self.taken,
            gain=gain,
            noise=self.runs.noise((self.base, self.best), [*self.seeds, *self.fresh_seeds]),
            failed=failed,
        )

    def _run_groups(self, axes: Sequence[Axis]) -> None:
        remaining = sorted({axis.group for axis in axes})
        while remaining:
            group = [axis for axis in axes if axis.group == remaining[0]]
            try:
                self._run_group(group)
            except _BudgetSpent:
                decided = {decision.axis for decision in self.decisions}
                self.decisions += [
                    Decision(
                        axis=axis.name,
                        text="",
                        verdict=OptionVerdict.NOT_TRIED,
                        detail=f"{self.budget} trainings are not enough to decide on it",
                    )
                    for axis in axes
                    if axis.group >= remaining[0] and axis.name not in decided
                ]
                return
            remaining.pop(0)

    def _run_group(self, group: Sequence[Axis]) -> None:
        self.decisions += [
            Decision(axis=axis.name, text="", verdict=OptionVerdict.NOT_TRIED, detail=axis.note)
            for axis in group
            if not axis.options
        ]
        pending = [(axis, list(axis.options)) for axis in group if axis.options]
        while pending:
            winners = self._try([(axis, option) for axis, options in pending for option in options])
            if not winners:
                return
            (won_axis, won_option), *others = winners
            self.best = won_option.apply(self.best)
            self.taken[won_axis.name] = won_option.text
            further = won_axis.next_options.get(won_option.text)
            pending = [(won_axis, [further])] if further is not None else []
            pending += [(axis, [option]) for axis, option in others if axis is not won_axis]

    def _try(self, options: Sequence[tuple[Axis, Option]]) -> list[tuple[Axis, Option]]:
        """Decide on options; return those that are better, the best first."""
        settings = [option.apply(self.best) for _, option in options]
        labels = [option.text for _, option in options]
        first = self.seeds[:FIRST_SEEDS]
        self._require([(self.best, "present best"), *zip(settings, labels, strict=True)], first)
        alive = [
            (setting, label)
            for setting, label in zip(settings, labels, strict=True)
            if setting.key not in self.runs.failures
            and self._difference(setting, first, None, 1.0).mean > 0
        ]
        if alive:
            self._require([(self.best, "present best"), *alive], self.seeds)
        alive_keys = {setting.key for setting, _ in alive}
        error = 2 * ERROR / len(options)
        # Of what is compared here alone: at another learning rate, say, the noise may be another.
        noise = self.runs.noise([self.best, *settings], self.seeds)
        winners: list[tuple[float, Axis, Option]] = []
        for (axis, option), setting in zip(options, settings, strict=True):
            if setting.key in self.runs.failures:
                self.decisions.append(
                    Decision(
                        axis=axis.name,
                        text=option.text,
                        verdict=OptionVerdict.FAILED,
                        detail=self.runs.failures[setting.key],
                    )
                )
                continue
            seeds = self.seeds if setting.key in alive_keys else first
            difference = self._difference(setting, seeds, noise, error)
            is_better = setting.key in alive_keys and difference.is_positive
            self.decisions.append(
                Decision(
                    axis=axis.name,
                    text=option.text,
                    verdict=OptionVerdict.BETTER if is_better else OptionVerdict.NO_GAIN,
                    difference=difference,
                )
            )
            if is_better:
                winners.append((difference.mean, axis, option))
        winners.sort(key=lambda winner: -winner[0])
        return [(axis, option) for _, axis, option in winners]

    def _difference(
        self, setting: Setting, seeds: Sequence[int], noise: Noise | None, error: float
    ) -> Difference:
        return compare(
            self.runs.of_seeds(setting, seeds),
            self.runs.of_seeds(self.best, seeds),
            noise,
            error=error,
        )

    def _require(
        self,
        settings: Sequence[tuple[Setting, str]],
        seeds: Sequence[int],
        *,
        reserve: int = 2 * MOST_SEEDS,
    ) -> None:
        """Go on if settings were trained with all of the seeds.

        Raises:
            _Wait: Some were not.
            _BudgetSpent: They do not fit into the budget, less what the end needs.
        """
        wanted = {
            (setting.key, seed)
            for setting, _ in settings
            for seed in seeds
            if setting.key not in self.runs.failures
        } - self.spent
        total = len(self.spent) + len(wanted)
        if self.budget is not None and total + reserve > self.budget:
            raise _BudgetSpent
        self.spent |= wanted
        needs = [
            Need(setting=setting, seed=seed, label=label)
            for setting, label in settings
            for seed in self.runs.missing(setting, seeds)
        ]
        if needs:
            raise _Wait(needs)
        if self.base.key in self.runs.failures:
            raise _BaseFailed
