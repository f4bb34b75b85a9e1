"""One candidate from its trainings: what counts, what fails it, and who goes on at a rung."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widthwise.objectives.data.batches import Order
from widthwise.objectives.engines.base import Member
from widthwise.objectives.loop.aggregate import better_share, hopeless, merged
from widthwise.objectives.loop.member import Course, State
from widthwise.objectives.model.metrics import Metric

SCORES = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=12)


def metric(direction: Any = "maximize") -> Metric:
    return Metric(name="m", direction=direction, function=lambda *_: 0.0)


def course(
    rate: float = 1.0, curve: tuple[float, ...] = (0.5,), state: State = "finished", **more: Any
) -> Course:
    member = Member(widths={}, seed=0, learning_rate=rate)
    if state in ("nan", "out_of_memory"):
        more.setdefault("detail", f"{state} at rate {rate}")
    best = max(curve, default=None)
    return Course(
        candidate=0,
        member=member,
        order=Order(2, 1, 0),
        state=state,
        curve=list(curve),
        losses=[-value for value in curve],
        best=best,
        best_epoch=curve.index(best) if best is not None else 0,
        **more,
    )


def test_the_mean_of_the_best_rate_counts() -> None:
    courses = [
        course(0.1, (0.2, 0.4), parameters=5),
        course(0.1, (0.5, 0.6), parameters=5),
        course(1.0, (0.9, 0.3)),  # the luckiest training, of a worse rate
        course(1.0, (0.0, 0.05)),
    ]
    found = merged(courses, metric())
    assert (found.outcome, found.learning_rate, found.parameters) == ("complete", 0.1, 5)
    assert found.score == pytest.approx(0.5)
    assert found.curve == pytest.approx((0.35, 0.5))
    assert found.losses == pytest.approx((-0.35, -0.5))
    assert found.present == pytest.approx(0.5)
    assert found.spread == pytest.approx(0.1)
    assert found.best_epoch == 1


def test_when_less_is_better_the_smallest_mean_counts() -> None:
    courses = [course(0.1, (0.4,)), course(1.0, (0.3,))]
    assert merged(courses, metric("minimize")).learning_rate == 1.0


def test_a_training_that_stopped_earlier_stands_with_its_last() -> None:
    found = merged([course(1.0, (0.2, 0.8)), course(1.0, (0.4,))], metric())
    assert found.curve == pytest.approx((0.3, 0.6))


@pytest.mark.parametrize("failure", ["nan", "out_of_memory"])
def test_a_rate_at_which_one_replica_fails_counts_for_nothing(failure: State) -> None:
    courses = [course(0.1, (0.9,)), course(0.1, (), failure), course(1.0, (0.2,)), course(1.0)]
    found = merged(courses, metric())
    assert (found.outcome, found.learning_rate) == ("complete", 1.0)
    assert found.score == pytest.approx(0.35)
    assert found.detail is None


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        (("nan", "finished", "nan"), "nan"),
        (("nan", "pruned", "out_of_memory"), "out_of_memory"),
        (("running", "nan", "nan"), "nan"),
    ],
)
def test_where_every_rate_fails_so_does_the_candidate(
    states: tuple[State, ...], outcome: str
) -> None:
    rates = (0.1, 0.1, 1.0)
    courses = [course(rate, (0.5, 0.7), state) for rate, state in zip(rates, states, strict=True)]
    found = merged(courses, metric())
    assert found.outcome == outcome
    assert (found.score, found.present) == (None, None)
    assert found.detail is not None
    assert found.detail.startswith(outcome)


def test_an_exception_at_any_rate_is_the_candidates() -> None:
    boom = RuntimeError("boom")
    courses = [course(0.1), course(1.0, (), "error", error=boom)]
    assert merged(courses, metric()).error is boom


def test_before_the_first_epoch_ends_there_is_the_rungs_metric() -> None:
    courses = [course(1.0, (), "running", at_rung=value) for value in (0.25, 0.75)]
    found = merged(courses, metric())
    assert (found.score, found.present, found.curve) == (0.5, 0.5, ())


def test_one_training_is_its_own_figures() -> None:
    found = merged([course(1.0, (0.1, 0.7, 0.3), test_value=0.6)], metric())
    assert (found.score, found.present, found.spread) == (0.7, 0.3, None)
    assert (found.best_epoch, found.test_value) == (1, 0.6)


def test_a_missing_test_figure_leaves_none() -> None:
    found = merged([course(test_value=0.5), course(test_value=None)], metric())
    assert found.test_value is None


def test_nobody_trains_on_for_nothing() -> None:
    lost, kept = course(0.1, state="running"), course(1.0, state="running")
    done = course(0.1)
    assert hopeless([lost, kept, done]) == []
    assert hopeless([lost, kept, done, course(0.1, (), "nan")]) == [lost]
    raised = course(0.1, (), "error", error=RuntimeError())
    assert hopeless([lost, kept, done, raised]) == [lost, kept]


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
    kept = set(better_share(dict(enumerate(scores)), earlier, eta, judge))
    everyone = [*scores, *earlier]
    places = math.ceil(len(everyone) / eta)
    for place, score in enumerate(scores):
        ahead = sum(judge.better(other, score) for other in everyone)
        assert (place in kept) == (ahead < places)


def test_at_a_rung_that_nobody_reached_nobody_goes_on() -> None:
    assert list(better_share({}, (), 3, metric())) == []
