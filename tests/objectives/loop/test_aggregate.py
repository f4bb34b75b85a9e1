"""One candidate from its members: what counts, what fails it, and who is promoted at a rung."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from widthwise.objectives.data.batches import BatchSampler
from widthwise.objectives.data.split import make_folds
from widthwise.objectives.engines.base import Member
from widthwise.objectives.loop.aggregate import (
    best_members,
    mean_latest,
    mean_score,
    moot,
    promoted_candidates,
    training_result,
)
from widthwise.objectives.loop.candidate import Candidate, CandidateState, replica_seed
from widthwise.objectives.loop.member import MemberState, MemberStatus
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.metrics import Metric
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.loop.together import DATA, MLP, SHORT_SETTINGS, train_results

SCORES = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=12)


def metric(direction: Any = "maximize") -> Metric:
    return Metric(name="m", direction=direction, function=lambda *_: 0.0)


def member_state(
    rate: float = 1.0,
    curve: tuple[float, ...] = (0.5,),
    status: str = "finished",
    **options: Any,
) -> MemberState:
    member = Member(widths={}, seed=0, learning_rate=rate)
    if status in ("nan", "out_of_memory"):
        options.setdefault("detail", f"{status} at rate {rate}")
    best = max(curve, default=None)
    return MemberState(
        member=member,
        order=BatchSampler(2, 1, 0),
        status=MemberStatus(status),
        curve=list(curve),
        losses=[-value for value in curve],
        best=best,
        best_epoch=curve.index(best) if best is not None else 0,
        **options,
    )


def result_of(*members: MemberState, direction: Any = "maximize") -> Any:
    """The result of a candidate that was trained to the end."""
    return training_result(
        CandidateState(),
        members,
        ProxySettings(epochs=2),
        metric=metric(direction),
        engines=["plain"],
        device=torch.device("cpu"),
    )


def test_the_mean_of_the_best_rate_counts() -> None:
    result = result_of(
        member_state(0.1, (0.2, 0.4), parameters=5),
        member_state(0.1, (0.5, 0.6), parameters=5),
        member_state(1.0, (0.9, 0.3)),  # the luckiest training, of a worse rate
        member_state(1.0, (0.0, 0.05)),
    )
    assert (result.outcome, result.learning_rate, result.parameters) == ("complete", 0.1, 5)
    assert result.value == result.score == pytest.approx(0.5)
    assert result.curve == pytest.approx((0.35, 0.5))
    assert result.losses == pytest.approx((-0.35, -0.5))
    assert result.spread == pytest.approx(0.1)
    assert result.best_epoch == 1


def test_the_latest_is_the_mean_at_the_last_milestone() -> None:
    members = [member_state(1.0, (0.9, 0.4)), member_state(1.0, (0.5, 0.6))]
    assert mean_latest(members) == pytest.approx(0.5)


def test_when_less_is_better_the_smallest_mean_counts() -> None:
    members = [member_state(0.1, (0.4,)), member_state(1.0, (0.3,))]
    assert result_of(*members, direction="minimize").learning_rate == 1.0


def test_a_member_that_stopped_earlier_stands_with_its_last_value() -> None:
    result = result_of(member_state(1.0, (0.2, 0.8)), member_state(1.0, (0.4,)))
    assert result.curve == pytest.approx((0.3, 0.6))


@pytest.mark.parametrize("failure", ["nan", "out_of_memory"])
def test_a_rate_at_which_one_replica_fails_counts_for_nothing(failure: str) -> None:
    result = result_of(
        member_state(0.1, (0.9,)),
        member_state(0.1, (), failure),
        member_state(1.0, (0.2,)),
        member_state(1.0),
    )
    assert (result.outcome, result.learning_rate) == ("complete", 1.0)
    assert result.score == pytest.approx(0.35)
    assert result.detail is None


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        (("nan", "finished", "nan"), "nan"),
        (("nan", "pruned", "out_of_memory"), "out_of_memory"),
        (("running", "nan", "nan"), "nan"),
    ],
)
def test_where_every_rate_fails_so_does_the_candidate(
    statuses: tuple[str, ...], outcome: str
) -> None:
    members = [
        member_state(rate, (0.5, 0.7), status)
        for rate, status in zip((0.1, 0.1, 1.0), statuses, strict=True)
    ]
    result = result_of(*members)
    assert (result.outcome, result.score) == (outcome, None)
    assert mean_latest(best_members(members, metric())) is None
    assert result.detail.startswith(outcome)


def test_an_exception_at_any_rate_is_the_candidates() -> None:
    boom = RuntimeError("boom")
    assert result_of(member_state(0.1), member_state(1.0, (), "error", error=boom)) is boom


def test_a_cancelled_candidate_has_no_result() -> None:
    cancelled = CandidateState(cancelled=True)
    assert (
        training_result(
            cancelled,
            [member_state()],
            ProxySettings(),
            metric=metric(),
            engines=[],
            device=torch.device("cpu"),
        )
        is None
    )


def test_before_the_first_epoch_ends_the_metric_at_the_rung_counts() -> None:
    members = [member_state(1.0, (), "running", rung_value=value) for value in (0.25, 0.75)]
    assert (mean_score(members), mean_latest(members)) == (0.5, 0.5)
    assert result_of(*members).curve == ()


def test_a_single_member_gives_its_own_figures() -> None:
    members = [member_state(1.0, (0.1, 0.7, 0.3), test_value=0.6)]
    result = result_of(*members)
    assert (result.score, mean_latest(members), result.spread) == (0.7, 0.3, None)
    assert (result.best_epoch, result.test_value) == (1, 0.6)


def test_a_missing_test_value_leaves_none() -> None:
    result = result_of(member_state(test_value=0.5), member_state(test_value=None))
    assert result.test_value is None


def test_members_that_cannot_count_any_more_are_moot() -> None:
    lost, kept = member_state(0.1, status="running"), member_state(1.0, status="running")
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
def test_the_best_share_of_all_is_promoted_with_its_ties(
    scores: list[float], earlier: list[float], eta: int, direction: str
) -> None:
    better = metric(direction).better
    promoted = promoted_candidates(dict(enumerate(scores)), earlier, eta, metric(direction))
    all_scores = [*scores, *earlier]
    promoted_count = math.ceil(len(all_scores) / eta)
    for index, score in enumerate(scores):
        ahead = sum(better(other, score) for other in all_scores)
        assert (index in promoted) == (ahead < promoted_count)


def test_at_a_rung_without_scores_nobody_is_promoted() -> None:
    assert list(promoted_candidates({}, (), 3, metric())) == []


def test_replicas_are_trainings_from_other_seeds_and_their_mean_counts() -> None:
    widths, training_settings = {"a": 6, "b": 4}, replace(SHORT_SETTINGS, patience=1, epochs=5)
    (result,) = train_results(
        MLP, [Candidate(widths=widths, seed=9)], replace(training_settings, replicas=3)
    )
    singles = [train(MLP, widths, training_settings, seed=replica_seed(9, k)) for k in range(3)]
    values = [
        training_result.value for training_result in singles if training_result.value is not None
    ]
    assert result.value == fmean(values)
    assert result.test_value == fmean(
        training_result.test_value or 0.0 for training_result in singles
    )
    assert result.train_value == fmean(
        training_result.train_value or 0.0 for training_result in singles
    )
    assert result.spread == pytest.approx(stdev(values) / 3**0.5)
    assert result.epochs == max(training_result.epochs for training_result in singles)
    for epoch in range(result.epochs):
        observed = [
            training_result.curve[min(epoch, training_result.epochs - 1)]
            for training_result in singles
        ]
        assert result.curve[epoch] == pytest.approx(fmean(observed))
    assert len({training_result.losses for training_result in singles}) == 3


def test_the_best_rates_mean_counts() -> None:
    widths, factors = {"a": 6, "b": 4}, (0.01, 1.0, 1e250)
    training_settings = replace(SHORT_SETTINGS, replicas=2, rate_factors=factors)
    (result,) = train_results(MLP, [Candidate(widths=widths, seed=4)], training_settings)
    by_rate = {}
    for factor in factors:
        rate = SHORT_SETTINGS.learning_rate * factor
        single_rate_settings = replace(SHORT_SETTINGS, replicas=2, learning_rate=rate)
        by_rate[rate] = train_results(
            MLP, [Candidate(widths=widths, seed=4)], single_rate_settings
        )[0]
    best = max(
        (
            training_result
            for training_result in by_rate.values()
            if training_result.value is not None
        ),
        key=lambda training_result: training_result.value,
    )
    assert by_rate[SHORT_SETTINGS.learning_rate * 1e250].outcome == "nan"
    assert result == best
    assert result.learning_rate in by_rate


def test_folds_are_trainings_on_other_rows_and_their_mean_counts() -> None:
    widths = {"a": 6, "b": 4}
    (result,) = train_results(
        MLP, [Candidate(widths=widths, seed=4)], replace(SHORT_SETTINGS, folds=3)
    )
    singles = [
        train(replace(MLP, data=fold), widths, SHORT_SETTINGS, seed=4)
        for fold in make_folds(DATA, 3)
    ]
    assert result.value == fmean(training_result.value or 0.0 for training_result in singles)
    assert result.spread is not None


def test_the_scores_of_folds_are_means_over_replicas() -> None:
    widths, settings = {"a": 6, "b": 4}, replace(SHORT_SETTINGS, folds=3, replicas=2)
    (result,) = train_results(MLP, [Candidate(widths=widths, seed=4)], settings)
    expected = [
        train(replace(MLP, data=fold), widths, replace(SHORT_SETTINGS, replicas=2), seed=4).value
        for fold in make_folds(DATA, 3)
    ]
    assert result.scores == pytest.approx(expected)
    assert fmean(result.scores) == pytest.approx(result.value)


def test_repeats_of_folds_are_other_draws_with_other_seeds() -> None:
    widths, settings = {"a": 6, "b": 4}, replace(SHORT_SETTINGS, folds=3, repeats=2)
    (result,) = train_results(MLP, [Candidate(widths=widths, seed=4)], settings)
    singles = [
        train(replace(MLP, data=fold), widths, SHORT_SETTINGS, seed=replica_seed(4, index // 3))
        for index, fold in enumerate(make_folds(DATA, 3, 2))
    ]
    values = [training_result.value or 0.0 for training_result in singles]
    assert result.value == pytest.approx(fmean(values), rel=1e-12)
    assert result.spread == pytest.approx(stdev(values) / math.sqrt(6))
    assert result.scores == pytest.approx(values)
    assert len(set(values[:3])) + len(set(values[3:])) > 2
