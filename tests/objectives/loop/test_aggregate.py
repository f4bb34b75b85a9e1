"""One candidate from its trainings: what counts, what fails it, and who goes on at a rung."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widthwise.objectives.data.batches import BatchSampler
from widthwise.objectives.engines.base import Member
from widthwise.objectives.loop.aggregate import aggregate_members, moot, promoted_candidates
from widthwise.objectives.loop.member import MemberState, MemberStatus
from widthwise.objectives.model.metrics import Metric

SCORES = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=12)


def metric(direction: Any = "maximize") -> Metric:
    return Metric(name="m", direction=direction, function=lambda *_: 0.0)


def member_state(
    rate: float = 1.0,
    curve: tuple[float, ...] = (0.5,),
    state: MemberStatus = "finished",
    **options: Any,
) -> MemberState:
    member = Member(widths={}, seed=0, learning_rate=rate)
    if state in ("nan", "out_of_memory"):
        options.setdefault("detail", f"{state} at rate {rate}")
    best = max(curve, default=None)
    return MemberState(
        candidate_index=0,
        member=member,
        order=BatchSampler(2, 1, 0),
        state=state,
        curve=list(curve),
        losses=[-value for value in curve],
        best=best,
        best_epoch=curve.index(best) if best is not None else 0,
        **options,
    )


def test_the_mean_of_the_best_rate_counts() -> None:
    courses = [
        member_state(0.1, (0.2, 0.4), parameters=5),
        member_state(0.1, (0.5, 0.6), parameters=5),
        member_state(1.0, (0.9, 0.3)),  # the luckiest training, of a worse rate
        member_state(1.0, (0.0, 0.05)),
    ]
    aggregated = aggregate_members(courses, metric())
    assert (aggregated.outcome, aggregated.learning_rate, aggregated.parameters) == (
        "complete",
        0.1,
        5,
    )
    assert aggregated.score == pytest.approx(0.5)
    assert aggregated.curve == pytest.approx((0.35, 0.5))
    assert aggregated.losses == pytest.approx((-0.35, -0.5))
    assert aggregated.latest == pytest.approx(0.5)
    assert aggregated.spread == pytest.approx(0.1)
    assert aggregated.best_epoch == 1


def test_when_less_is_better_the_smallest_mean_counts() -> None:
    courses = [member_state(0.1, (0.4,)), member_state(1.0, (0.3,))]
    assert aggregate_members(courses, metric("minimize")).learning_rate == 1.0


def test_a_training_that_stopped_earlier_stands_with_its_last() -> None:
    aggregated = aggregate_members(
        [member_state(1.0, (0.2, 0.8)), member_state(1.0, (0.4,))], metric()
    )
    assert aggregated.curve == pytest.approx((0.3, 0.6))


@pytest.mark.parametrize("failure", ["nan", "out_of_memory"])
def test_a_rate_at_which_one_replica_fails_counts_for_nothing(failure: MemberStatus) -> None:
    courses = [
        member_state(0.1, (0.9,)),
        member_state(0.1, (), failure),
        member_state(1.0, (0.2,)),
        member_state(1.0),
    ]
    aggregated = aggregate_members(courses, metric())
    assert (aggregated.outcome, aggregated.learning_rate) == ("complete", 1.0)
    assert aggregated.score == pytest.approx(0.35)
    assert aggregated.detail is None


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        (("nan", "finished", "nan"), "nan"),
        (("nan", "pruned", "out_of_memory"), "out_of_memory"),
        (("running", "nan", "nan"), "nan"),
    ],
)
def test_where_every_rate_fails_so_does_the_candidate(
    states: tuple[MemberStatus, ...], outcome: str
) -> None:
    rates = (0.1, 0.1, 1.0)
    courses = [
        member_state(rate, (0.5, 0.7), state) for rate, state in zip(rates, states, strict=True)
    ]
    aggregated = aggregate_members(courses, metric())
    assert aggregated.outcome == outcome
    assert (aggregated.score, aggregated.latest) == (None, None)
    assert aggregated.detail is not None
    assert aggregated.detail.startswith(outcome)


def test_an_exception_at_any_rate_is_the_candidates() -> None:
    boom = RuntimeError("boom")
    courses = [member_state(0.1), member_state(1.0, (), "error", error=boom)]
    assert aggregate_members(courses, metric()).error is boom


def test_before_the_first_epoch_ends_there_is_the_rungs_metric() -> None:
    courses = [member_state(1.0, (), "running", at_rung=value) for value in (0.25, 0.75)]
    aggregated = aggregate_members(courses, metric())
    assert (aggregated.score, aggregated.latest, aggregated.curve) == (0.5, 0.5, ())


def test_one_training_is_its_own_figures() -> None:
    aggregated = aggregate_members([member_state(1.0, (0.1, 0.7, 0.3), test_value=0.6)], metric())
    assert (aggregated.score, aggregated.latest, aggregated.spread) == (0.7, 0.3, None)
    assert (aggregated.best_epoch, aggregated.test_value) == (1, 0.6)


def test_a_missing_test_figure_leaves_none() -> None:
    aggregated = aggregate_members(
        [member_state(test_value=0.5), member_state(test_value=None)], metric()
    )
    assert aggregated.test_value is None


def test_nobody_trains_on_for_nothing() -> None:
    lost, kept = member_state(0.1, state="running"), member_state(1.0, state="running")
    done = member_state(0.1)
    assert moot([lost, kept, done]) == []
    assert moot([lost, kept, done, member_state(0.1, (), "nan")]) == [lost]
    raised = member_state(0.1, (), "error", error=RuntimeError())
    assert moot([lost, kept, done, raised]) == [lost, kept]


@settings(deadline=None)
@given(
    scores=SCORES,
    earlier=st.lists(st.integers(0, 9).map(float), max_size=12),
    eta=st.integers(2, 5),
    direction=st.sampled_from(["maximize", "minimize"]),
)
def test_the_best_share_of_all_goes_on_with_its_ties(
    scores: list[float], earlier: list[float], eta: int, direction: str
) -> None:
    judge = metric(direction)
    kept = set(promoted_candidates(dict(enumerate(scores)), earlier, eta, judge))
    everyone = [*scores, *earlier]
    places = math.ceil(len(everyone) / eta)
    for index, score in enumerate(scores):
        ahead = sum(judge.better(other, score) for other in everyone)
        assert (index in kept) == (ahead < places)


def test_at_a_rung_that_nobody_reached_nobody_goes_on() -> None:
    assert list(promoted_candidates({}, (), 3, metric())) == []
