"""The best candidate: one answer for a report and an Optuna study, and never one that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from widthwise.search.goal import Goal
from widthwise.search.report.recommendation.recommendation import recommend_among
from widthwise.search.sampler.best_candidate import BestCandidate, best_candidate
from widthwise.search.sampler.companions import CompanionParameters
from widthwise.search.sampler.history import History
from widthwise.search.sampler.optuna_sampler import WidthSampler
from widthwise.search.sampler.origin import CONFIRMATION, SAMPLER
from widthwise.search.sampler.posterior import fit_posterior
from widthwise.search.sampler.suggest import Suggester
from widthwise.search.space.feasible_set import FeasibleSet, no_costs
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Space, Width
from widthwise.search.trial.history import CompletedTrial, build_history
from widthwise.storage.ledger.slot import SlotState, TrialOutcome
from widthwise.storage.ledger.tried import TriedSlot

WIDTHS = [4, 8, 12, 16, 20, 24, 28, 32, 36, 48, 64]
SPACE = Space((Width.of("a", WIDTHS),))
EPOCHS = 5
LATENCY_LIMIT = 0.01


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial as a ledger and an Optuna study would each keep it.

    Attributes:
        width: Its only width.
        outcome: How it ended; None while it is in training.
        value: Its metric, if it is complete.
        latency: As measured, in seconds; None where it was not.
    """

    width: int
    outcome: TrialOutcome | None = TrialOutcome.COMPLETE
    value: float | None = None
    latency: float | None = None

    def slot(self, number: int) -> TriedSlot:
        is_complete = self.outcome is TrialOutcome.COMPLETE
        return TriedSlot(
            number=number,
            state=SlotState.LEASED if self.outcome is None else SlotState.DONE,
            outcome=self.outcome,
            widths={"a": self.width},
            value=self.value,
            score=self.value,
            fidelity=float(EPOCHS) if is_complete else None,
            spread=None,
            measured={} if self.latency is None else {"latency": self.latency},
            rungs=(),
        )

    def frozen(self) -> FrozenTrial:
        constraints = (
            {} if self.latency is None else {"latency": self.latency / LATENCY_LIMIT - 1.0}
        )
        return create_trial(
            state=TrialState.RUNNING if self.outcome is None else self.outcome.trial_state,
            value=self.value,
            params={"a": self.width},
            distributions=SPACE.distributions(),
            constraints=constraints,
        )


def complete(widths: Sequence[int]) -> list[Trial]:
    """Trials whose metric rises with the width."""
    return [Trial(width=width, value=0.5 + 0.05 * np.log2(width)) for width in widths]


def ask_report(
    trials: Sequence[Trial], goal: Goal, limits: Mapping[str, float]
) -> BestCandidate | None:
    slots = [trial.slot(number) for number, trial in enumerate(trials)]
    completed = [
        CompletedTrial(
            number=slot.number,
            widths=slot.widths,
            origin=SAMPLER,
            value=slot.value,
            test=None,
            costs={},
            seed=0,
        )
        for slot in slots
        if slot.value is not None
    ]
    history = build_history(SPACE, slots, goal, measured_limits=limits)
    feasible = FeasibleSet(SPACE, Limits(), no_costs)
    answer = recommend_among(SPACE, goal, completed, history, feasible)
    if answer is None or "candidate that is known failed" in answer.verdict_text:
        return None
    taken = answer.recommended
    assert taken.estimate is not None
    return BestCandidate(
        widths=taken.widths,
        mean=taken.estimate.mean,
        deviation=taken.estimate.deviation,
        low=taken.estimate.low,
        high=taken.estimate.high,
        trained=taken.trial is not None,
    )


def ask_sampler(
    trials: Sequence[Trial], goal: Goal, limits: Mapping[str, float]
) -> BestCandidate | None:
    study = optuna.create_study(direction=str(goal.direction))
    study.add_trials([trial.frozen() for trial in trials])
    return WidthSampler(SPACE, goal=goal, measured=list(limits)).recommend(study)


BOTH_DOORS = pytest.mark.parametrize(
    "ask", [pytest.param(ask_report, id="report"), pytest.param(ask_sampler, id="sampler")]
)


@BOTH_DOORS
@pytest.mark.parametrize(
    ("outcome", "latency"),
    [
        pytest.param(TrialOutcome.ERROR, None, id="raised, or killed its trainer"),
        pytest.param(TrialOutcome.NAN, None, id="diverged"),
        pytest.param(TrialOutcome.OUT_OF_MEMORY, None, id="out of memory"),
        pytest.param(TrialOutcome.INFEASIBLE, 2 * LATENCY_LIMIT, id="refused, measured limit"),
    ],
)
def test_what_failed_is_never_the_answer(
    ask: Any, outcome: TrialOutcome, latency: float | None
) -> None:
    limits = {} if latency is None else {"latency": LATENCY_LIMIT}
    kept = None if latency is None else LATENCY_LIMIT / 2
    trials = [
        *(
            Trial(width=trial.width, value=trial.value, latency=kept)
            for trial in complete(WIDTHS[:8])
        ),
        *(Trial(width=width, outcome=outcome, latency=latency) for width in WIDTHS[8:]),
    ]
    answer = ask(trials, Goal(), limits)
    assert answer is not None
    assert answer.widths["a"] == 32
    assert answer.trained


@BOTH_DOORS
def test_a_single_failure_amid_successes_is_not_the_answer(ask: Any) -> None:
    """Its neighbours make it likely to work, but it is known not to."""
    trials = [
        *complete([8, 16, 20, 24, 28, 32, 36, 48]),
        Trial(width=64, outcome=TrialOutcome.ERROR),
    ]
    answer = ask(trials, Goal(), {})
    assert answer is not None
    assert answer.widths["a"] < 64


@BOTH_DOORS
def test_what_was_trained_and_broke_a_measured_limit_is_never_the_answer(ask: Any) -> None:
    trials = [
        Trial(
            width=trial.width,
            value=trial.value,
            latency=LATENCY_LIMIT * (2.0 if trial.width == 64 else 0.5),
        )
        for trial in complete(WIDTHS)
    ]
    answer = ask(trials, Goal(), {"latency": LATENCY_LIMIT})
    assert answer is not None
    assert answer.widths["a"] < 64


@pytest.mark.parametrize(
    "trained",
    [
        pytest.param([8, 12, 16, 20, 24, 48], id="the largest and the smallest unknown"),
        pytest.param([12, 24, 36, 48, 64], id="the smallest unknown"),
        pytest.param([16, 20, 24, 28, 32], id="a middle"),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_target_out_of_reach_is_not_confirmed_on_the_smallest_network(
    trained: list[int], noise: float
) -> None:
    """The least known candidate, a corner of the space, is the likeliest to be far off."""
    goal = Goal(kind="smallest", target=5.0, cost="parameters")
    feasible = FeasibleSet(SPACE, Limits(), lambda rows: {"parameters": rows[:, 0] * 10})
    rng = np.random.default_rng(len(trained))
    trials = [
        Trial(width=trial.width, value=(trial.value or 0.0) + noise * float(rng.normal()))
        for trial in complete(trained)
    ]
    slots = [trial.slot(number) for number, trial in enumerate(trials)]
    history = build_history(SPACE, slots, goal)
    answer = best_candidate(feasible, goal, history, fit_posterior(SPACE, history))
    assert answer is not None
    assert answer.widths["a"] >= 28
    suggestion = Suggester(feasible_set=feasible, goal=goal).suggest(history, rng, last=True)
    assert (suggestion.origin == CONFIRMATION) == (not answer.trained)
    if suggestion.origin == CONFIRMATION:
        assert suggestion.widths == answer.widths
    assert suggestion.widths["a"] > max(min(trained), 8)


@BOTH_DOORS
def test_a_trial_in_training_may_be_the_answer(ask: Any) -> None:
    trials = [*complete(WIDTHS[:-1]), Trial(width=64, outcome=None)]
    answer = ask(trials, Goal(), {})
    assert answer is not None
    assert (answer.widths["a"], answer.trained) == (64, False)


@pytest.mark.parametrize("seed", range(8))
def test_both_doors_give_the_same_answer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcomes = [*([TrialOutcome.COMPLETE] * 6), *TrialOutcome, None]
    limits = {"latency": LATENCY_LIMIT} if seed % 2 else {}
    trials = []
    for width in rng.permutation(WIDTHS)[:9].tolist():
        outcome = outcomes[rng.integers(len(outcomes))] if len(trials) >= 4 else outcomes[0]
        is_broken = outcome is TrialOutcome.INFEASIBLE or bool(rng.random() < 0.2)
        trials.append(
            Trial(
                width=width,
                outcome=outcome,
                value=float(rng.normal()) if outcome is TrialOutcome.COMPLETE else None,
                latency=LATENCY_LIMIT * (2.0 if is_broken else 0.5) if limits else None,
            )
        )
    goal = Goal(direction="minimize" if seed % 3 else "maximize")  # type: ignore[arg-type]
    report, sampler = ask_report(trials, goal, limits), ask_sampler(trials, goal, limits)
    assert (report is None) == (sampler is None)
    if report is not None and sampler is not None:
        assert (report.widths, report.trained) == (sampler.widths, sampler.trained)
        assert report.mean == pytest.approx(sampler.mean)
        assert report.deviation == pytest.approx(sampler.deviation)


def test_the_last_trial_confirms_what_the_report_recommends() -> None:
    """The best is 32, which was never trained; 48 and 64 failed."""
    peaked = {width: -((np.log2(width) - 5.0) ** 2) for width in WIDTHS}
    trials = [
        *(Trial(width=width, value=peaked[width]) for width in WIDTHS if width not in (32, 48, 64)),
        *(Trial(width=width, outcome=TrialOutcome.OUT_OF_MEMORY) for width in (48, 64)),
    ]
    slots = [trial.slot(number) for number, trial in enumerate(trials)]
    history = build_history(SPACE, slots, Goal())
    suggester = Suggester(feasible_set=FeasibleSet(SPACE, Limits(), no_costs))
    suggestion = suggester.suggest(history, np.random.default_rng(0), last=True)
    answer = ask_report(trials, Goal(), {})
    assert answer is not None
    assert (answer.widths["a"], answer.trained) == (32, False)
    assert (suggestion.origin, suggestion.widths) == (CONFIRMATION, answer.widths)


def make_history(**columns: Any) -> History:
    none = np.empty((0, 1), dtype=np.int64)
    return History(**{"pending": none, "failed": none, **columns})


def test_there_is_no_answer_where_everything_failed() -> None:
    small = Space((Width.of("a", [8, 16, 24]),))
    feasible = FeasibleSet(small, Limits(), no_costs)
    history = make_history(
        observed=np.array([[8], [16]]),
        values=np.array([0.1, 0.2]),
        failed=np.array([[24]]),
        constraint_values=np.array([[1.0], [2.0]]),
    )
    assert Suggester(feasible_set=feasible).best_candidate(history) is None


def test_where_all_are_likely_to_fail_the_least_likely_is_the_answer() -> None:
    feasible = FeasibleSet(SPACE, Limits(), no_costs)
    widths = np.array([[8], [16], [32], [64]])
    history = make_history(
        observed=widths,
        values=np.array([0.1, 0.2, 0.3, 0.4]),
        constraint_values=np.log2(widths) / 2.0,
    )
    answer = Suggester(feasible_set=feasible).best_candidate(history)
    assert answer is not None
    assert answer.widths == {"a": 4}


def test_a_large_set_is_searched_around_what_failed() -> None:
    space = Space(tuple(Width.range(f"w{index}", 1, 40) for index in range(6)))
    feasible = FeasibleSet(space, Limits(), no_costs)
    assert not feasible.enumerated
    rng = np.random.default_rng(0)
    observed = space.sample(30, rng)
    top = np.full((1, 6), 40)
    history = make_history(observed=observed, values=observed.sum(axis=1) / 240, failed=top)
    answer = best_candidate(feasible, Goal(), history, fit_posterior(space, history))
    assert answer is not None
    assert list(answer.widths.values()) != [40] * 6


def test_a_pair_that_broke_a_limit_is_not_the_answer_but_its_widths_may_be() -> None:
    space = Space((Width.of("a", [8, 16]),))
    feasible = FeasibleSet(space, Limits(), no_costs)
    rate = CompanionParameters(
        distributions={"rate": optuna.distributions.FloatDistribution(0.0, 1.0)}
    )
    history = make_history(
        observed=np.array([[8], [16], [16]]),
        values=np.array([0.1, 0.9, 0.5]),
        constraint_values=np.array([[-1.0], [1.0], [-1.0]]),
        encoded_companions=np.array([[0.5], [1.0], [0.0]]),
        pending_encoded_companions=np.empty((0, 1)),
    )
    answer = best_candidate(feasible, Goal(), history, fit_posterior(space, history), rate)
    assert answer is not None
    assert (answer.widths["a"], answer.companions["rate"]) != (16, 1.0)


def test_an_untrained_answer_keeps_the_limits_by_its_own_costs() -> None:
    """What a forecast wrongly took for feasible is not recommended; the next best is."""
    history = make_history(
        observed=np.array([[4], [8], [12], [16]]), values=np.array([0.1, 0.2, 0.3, 0.4])
    )
    asked: list[int] = []

    def admits(row: np.ndarray) -> bool:
        asked.append(int(row[0]))
        return bool(row[0] < 20)

    feasible = FeasibleSet(SPACE, Limits(), no_costs, admits=admits)
    answer = best_candidate(feasible, Goal(), history, fit_posterior(SPACE, history))
    assert answer is not None
    assert answer.widths["a"] < 20
    assert 20 in asked
