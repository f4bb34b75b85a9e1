"""Candidates together: each has all its members, and the worst are pruned at the rungs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor, nn
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.tests.objectives.loop.together import (
    HALVING_SETTINGS,
    SHORT_SETTINGS,
    WidthAsMetric,
    custom_objective,
    make_candidates,
    network,
    train_results,
    width_objective,
)


def test_every_combination_is_trained() -> None:
    observed: list[int] = []

    def build(widths: Mapping[str, int]) -> nn.Module:
        observed.append(widths["a"])
        return network(widths["a"])

    training_settings = replace(
        SHORT_SETTINGS, epochs=2, replicas=2, folds=3, rate_factors=(0.5, 1.0)
    )
    results = train_results(custom_objective(build), make_candidates(2, 5), training_settings)
    assert [result.outcome for result in results] == ["complete", "complete"]
    assert (observed.count(2), observed.count(5)) == (12, 12)


def test_a_failed_candidate_is_not_trained_any_further() -> None:
    """Its other replicas cannot change that it failed."""
    passes: list[int] = []

    class Once(nn.Module):
        built = 0

        def __init__(self) -> None:
            super().__init__()
            self.layers, self.number = network(4), Once.built
            Once.built += 1

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                passes.append(self.number)
                if self.number == 1:
                    raise ValueError("the second replica fails")
            return self.layers(x)  # type: ignore[no-any-return]

    (result,) = train_results(
        custom_objective(lambda _: Once()), make_candidates(4), replace(SHORT_SETTINGS, replicas=3)
    )
    assert isinstance(result, ValueError)
    assert passes.count(0) == passes.count(2) == 3, "one epoch of three batches"


def test_the_worst_are_pruned_at_each_rung() -> None:
    results = train_results(
        width_objective(), make_candidates(4, 9, 1, 8, 2, 7, 3, 6, 5), HALVING_SETTINGS
    )
    ended = {
        int(result.score): (result.outcome, result.fidelity, len(result.curve))
        for result in results
    }
    assert ended == {
        **dict.fromkeys(range(1, 7), ("pruned", 1.0, 1)),
        **dict.fromkeys((7, 8), ("pruned", 3.0, 3)),
        9: ("complete", 9.0, 9),
    }
    best, pruned = results[1], results[5]
    assert (best.value, best.rung_scores, best.detail) == (9.0, ((1.0, 9.0), (3.0, 9.0)), None)
    assert (pruned.value, pruned.score, pruned.test_value) == (None, 7.0, None)
    assert pruned.rung_scores == ((1.0, 7.0), (3.0, 7.0))
    assert pruned.detail == "its width of 7 after 3 of 9 epochs is not among the best 1/3"


def test_when_less_is_better_the_largest_are_pruned() -> None:
    results = train_results(width_objective("minimize"), make_candidates(4, 9, 1), HALVING_SETTINGS)
    assert [result.outcome for result in results] == ["pruned", "pruned", "complete"]


def test_ties_are_promoted_together() -> None:
    results = train_results(width_objective(), make_candidates(5, 5, 5, 2), HALVING_SETTINGS)
    assert [result.outcome for result in results] == ["complete", "complete", "complete", "pruned"]


def test_never_pruned_candidates_are_trained_to_the_end() -> None:
    results = train_results(
        width_objective(), make_candidates(1, 9, 5, never_pruned=[1]), HALVING_SETTINGS
    )
    assert [result.outcome for result in results] == ["complete", "complete", "pruned"]


def test_earlier_trials_at_the_same_rung_count() -> None:
    earlier = {1.0: [6.0, 6.5, 7.0], 3.0: [1.0]}
    results = train_results(
        width_objective(), make_candidates(4, 9, 8), HALVING_SETTINGS, other_rung_scores=earlier
    )
    assert [result.outcome for result in results] == ["pruned", "complete", "pruned"]
    assert [result.fidelity for result in results] == [1.0, 9.0, 3.0]
    lone = train_results(
        width_objective(), make_candidates(4), HALVING_SETTINGS, other_rung_scores=earlier
    )
    assert lone[0].outcome == "pruned"
    assert (
        train_results(width_objective(), make_candidates(4), HALVING_SETTINGS)[0].outcome
        == "complete"
    )


def test_a_failure_at_a_rung_prunes_no_other() -> None:
    class Late(WidthAsMetric):
        def forward(self, x: Tensor) -> Tensor:
            if self.width == 9 and x.shape[0] == 40:
                raise KeyError("in judging")
            return super().forward(x)

    objective = custom_objective(lambda widths: Late(widths["a"]), metric=width_objective().metric)
    failed, kept, dropped = train_results(objective, make_candidates(9, 6, 5), HALVING_SETTINGS)
    assert isinstance(failed, KeyError)
    assert (kept.outcome, dropped.outcome) == ("complete", "pruned")


def test_a_candidate_out_of_patience_keeps_its_score_at_later_rungs() -> None:
    """Whether or not others are beside it then."""
    training_settings = replace(HALVING_SETTINGS, patience=1)

    def loss(output: Tensor, _: Tensor) -> Tensor:
        return -output.mean()

    def objective_of(module: type[WidthAsMetric]) -> ModuleObjective:
        metric = width_objective().metric
        return custom_objective(lambda widths: module(widths["a"]), metric=metric, loss=loss)

    (separate,) = train_results(objective_of(WidthAsMetric), make_candidates(5), training_settings)
    assert (separate.outcome, separate.epochs, separate.fidelity) == ("complete", 2, 9.0)
    assert separate.rung_scores == ((1.0, 5.0), (3.0, 5.0))

    class Rising(WidthAsMetric):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            if self.training or self.width != 4:
                return out
            self.validations = getattr(self, "validations", 0) + 1
            return out - 4 + self.validations / 10

    first, second = train_results(
        objective_of(Rising), make_candidates(5, 4, never_pruned=[4]), training_settings
    )
    assert first == separate, "it stopped at epoch 2 and cannot be pruned at epoch 3"
    assert second.epochs == 9


def test_replicas_are_compared_by_their_mean_and_pruned_together() -> None:
    training_settings = replace(HALVING_SETTINGS, replicas=2, folds=2)
    results = train_results(width_objective(), make_candidates(1, 2, 3), training_settings)
    assert [result.outcome for result in results] == ["pruned", "pruned", "complete"]
    assert [result.epochs for result in results] == [1, 1, 9]
    assert results[0].spread is None


def test_a_cancelled_candidate_prunes_none_at_the_next_rung() -> None:
    def callback(epochs: float, _: Mapping[int, float]) -> Collection[int]:
        return [0] if epochs >= 1 else []

    results = train_results(
        width_objective(), make_candidates(9, 8, 7, 1, 2, 3, 4), HALVING_SETTINGS, callback=callback
    )
    assert results[0] is None
    assert results[1].outcome == "complete"
