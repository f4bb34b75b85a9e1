"""Training together: each candidate as if it were alone, and no failure of one is another's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from widthwise.objectives.data.split import make_folds
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.loop.candidate import Candidate, replica_seed
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.metrics import Metric
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.settings import Halving, ProxySettings
from widthwise.tests.objectives.engines.equality import family_objective, make_clusters

CPU = torch.device("cpu")
DATA = make_clusters(rows=40)
SHORT_SETTINGS = ProxySettings(epochs=3, batch_size=16, device="cpu", learning_rate=0.02)
MLP = family_objective("mlp", DATA, dropout=0.3, norm="batch")

Result = TrainingResult | Exception | None


def make_candidates(*widths: int, never_pruned: Collection[int] = ()) -> list[Candidate]:
    return [
        Candidate(widths={"a": width}, seed=100 + n, never_pruned=width in never_pruned)
        for n, width in enumerate(widths)
    ]


def train_results(
    objective: ModuleObjective,
    batch: Sequence[Candidate],
    settings: ProxySettings = SHORT_SETTINGS,
    **options: Any,
) -> list[Any]:
    """Results without the seconds, which differ from run to run."""
    return [
        without_seconds(result)
        for result in train_together(objective, batch, settings, device=CPU, **options)
    ]


def without_seconds(result: Result) -> Result:
    return replace(result, seconds=0.0) if isinstance(result, TrainingResult) else result


def custom_objective(
    build: Callable[[Mapping[str, int]], nn.Module], **options: Any
) -> ModuleObjective:
    return make_objective(build=build, data=DATA, base=Path(), **options)


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(7, width), nn.Tanh(), nn.Linear(width, 3)).double()


# Alone and beside others


@settings(deadline=None, max_examples=5)
@given(
    batch=st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**63 - 1)),
        min_size=2,
        max_size=4,
    ),
    replicas=st.integers(1, 2),
    folds=st.integers(1, 2),
)
def test_a_candidate_has_the_same_bits_alone_and_beside_others(
    batch: list[tuple[int, int, int]], replicas: int, folds: int
) -> None:
    chosen = [Candidate(widths={"a": a, "b": b}, seed=seed) for a, b, seed in batch]
    training_settings = replace(
        SHORT_SETTINGS, epochs=2, patience=1, replicas=replicas, folds=folds
    )
    assert train_results(MLP, chosen, training_settings) == [
        train_results(MLP, [candidate], training_settings)[0] for candidate in chosen
    ]


def test_no_candidates_give_no_results() -> None:
    assert train_results(MLP, []) == []
    assert (
        train_results(MLP, [], replace(SHORT_SETTINGS, halving=Halving(), replicas=2, folds=3))
        == []
    )


class FaultyModule(nn.Module):
    """A network that fails at width 3, and only when it is trained or validated."""

    def __init__(self, width: int, fault: Callable[[FaultyModule, Tensor], Tensor]) -> None:
        super().__init__()
        self.layers, self.width, self.fault = network(width), width, fault

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return self.fault(self, out) if self.width == 3 else out


def _raise(error: BaseException) -> Any:
    raise error


def _detach_parameters(module: FaultyModule, out: Tensor) -> Tensor:
    """Make weights that cannot be restored, as when their shapes change from pass to pass."""
    module.load_state_dict = lambda _: _raise(RuntimeError("other shapes"))  # type: ignore[method-assign]
    return out


def _return_nan(_: FaultyModule, out: Tensor) -> Tensor:
    return out * float("nan")


def _explode(_: FaultyModule, out: Tensor) -> Tensor:
    return out * 1e300 * 1e300


def _raise_out_of_memory(_: FaultyModule, __: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


FAULTS: dict[str, tuple[Callable[[FaultyModule, Tensor], Tensor], Any]] = {
    "exception in training": (
        lambda module, out: _raise(KeyError("boom")) if module.training else out,
        KeyError,
    ),
    "exception in validation": (
        lambda module, out: out if module.training else _raise(KeyError("boom")),
        KeyError,
    ),
    "exit": (lambda module, out: sys.exit(3) if module.training else out, Exception),
    "weights that cannot be restored": (_detach_parameters, RuntimeError),
    "NaN": (_return_nan, "nan"),
    "NaN in validation": (
        lambda module, out: out if module.training else out * float("nan"),
        "nan",
    ),
    "explosion": (_explode, "nan"),
    "memory": (_raise_out_of_memory, "out_of_memory"),
    "memory in validation": (
        lambda module, out: out if module.training else _raise(MemoryError("so large")),
        "out_of_memory",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_harms_no_neighbour(fault: str) -> None:
    what, expected = FAULTS[fault]
    objective = custom_objective(
        lambda widths: FaultyModule(widths["a"], what), metric=_cross_entropy()
    )
    batch = make_candidates(2, 3, 5)
    first, faulty, last = train_results(objective, batch, replace(SHORT_SETTINGS, replicas=2))
    separate = [
        train_results(objective, [batch[n]], replace(SHORT_SETTINGS, replicas=2))[0] for n in (0, 2)
    ]
    assert [first, last] == separate
    assert first.outcome == "complete"
    if isinstance(expected, str):
        assert (faulty.outcome, faulty.value, faulty.score) == (expected, None, None)
        assert faulty.detail
        assert "\n" not in faulty.detail
    else:
        assert isinstance(faulty, expected)


def _cross_entropy() -> Metric:
    """A metric of the user's own, which does not hide NaN."""
    return Metric(
        name="own",
        direction="minimize",
        function=lambda output, target: float(nn.functional.cross_entropy(output, target)),
    )


def test_a_candidate_that_cannot_be_built_harms_no_neighbour() -> None:
    def build(widths: Mapping[str, int]) -> nn.Module:
        return network(widths["a"] if widths["a"] != 3 else widths["missing"])

    first, failed, last = train_results(custom_objective(build), make_candidates(2, 3, 5))
    assert (first.outcome, last.outcome) == ("complete", "complete")
    assert "KeyError" in str(failed)


def test_random_draws_of_a_metric_change_no_neighbour_and_no_caller() -> None:
    """A user's bootstrap, say: a candidate has the same draws whatever is beside it."""

    def drawing(output: Tensor, target: Tensor) -> float:
        return float((output.argmax(1) == target).double().mean()) + float(
            torch.rand(()) + np.random.rand()
        )

    metric = Metric(name="drawing", direction="maximize", function=drawing)
    objective = replace(MLP, metric=metric)
    batch = [Candidate(widths={"a": 4, "b": 3}, seed=seed) for seed in (1, 2)]
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert train_results(objective, batch) == [
        train_results(objective, [candidate])[0] for candidate in batch
    ]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_seconds_are_shared_out() -> None:
    started = time.perf_counter()
    results = train_together(
        MLP,
        [Candidate(widths={"a": 4, "b": 3}, seed=n) for n in range(3)],
        SHORT_SETTINGS,
        device=CPU,
    )
    spent = time.perf_counter() - started
    seconds = [result.seconds for result in results if isinstance(result, TrainingResult)]
    assert len(seconds) == 3
    assert min(seconds) > 0
    assert sum(seconds) <= spent


# Replicas, folds and rates


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
    assert result.spread == pytest.approx(stdev(values) / 3**0.5)
    assert result.epochs == max(training_result.epochs for training_result in singles)
    for epoch in range(result.epochs):
        observed = [
            training_result.curve[min(epoch, training_result.epochs - 1)]
            for training_result in singles
        ]
        assert result.curve[epoch] == pytest.approx(fmean(observed))
    assert len({training_result.losses for training_result in singles}) == 3


def test_the_first_replica_is_the_training_alone() -> None:
    assert replica_seed(2**63 - 1, 0) == 2**63 - 1
    seeds = [replica_seed(seed, k) for seed in (0, 1) for k in range(50)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)


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


# Halving


class WidthAsMetric(nn.Module):
    """A network that trains like any other, with its width as metric."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers, self.width = network(width), width

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out if self.training else torch.full_like(out, float(self.width))


def width_objective(direction: Any = "maximize") -> ModuleObjective:
    metric = Metric(name="width", direction=direction, function=lambda out, _: float(out.mean()))
    return custom_objective(lambda widths: WidthAsMetric(widths["a"]), metric=metric)


HALVING_SETTINGS = replace(SHORT_SETTINGS, epochs=9, patience=0, halving=Halving(eta=3, first=1.0))


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


def test_rungs_within_the_first_epoch_go_by_the_share_of_the_data() -> None:
    observed: list[int] = []

    class Counting(WidthAsMetric):
        def forward(self, x: Tensor) -> Tensor:
            if self.training and self.width == 1:
                observed.append(len(x))
            return super().forward(x)

    metric = width_objective().metric
    objective = custom_objective(lambda widths: Counting(widths["a"]), metric=metric)
    training_settings = replace(HALVING_SETTINGS, batch_size=4, halving=Halving(eta=3, first=0.25))
    worst, *_, best = train_results(objective, make_candidates(1, 2, 3, 4), training_settings)
    assert sum(observed) == 12, "a quarter of 40 rows, to the batch"
    assert (worst.outcome, worst.fidelity, worst.epochs, worst.curve) == ("pruned", 0.25, 0, ())
    assert (worst.score, worst.rung_scores) == (1.0, ((0.25, 1.0),))
    assert best.outcome == "complete"
    assert [at for at, _ in best.rung_scores] == [0.25, 0.75, 2.0, 7.0]


@settings(deadline=None, max_examples=15)
@given(
    first=st.floats(0.001, 3.0),
    eta=st.integers(2, 5),
    batch_size=st.sampled_from([4, 16, 39, 64]),
)
def test_rungs_change_no_figure_of_the_candidates_promoted(
    first: float, eta: int, batch_size: int
) -> None:
    """Wherever they lie: also many of them within one batch."""
    training_settings = replace(SHORT_SETTINGS, batch_size=batch_size)
    (plain,) = train_results(MLP, [Candidate(widths={"a": 4, "b": 3}, seed=1)], training_settings)
    halved = replace(training_settings, halving=Halving(eta=eta, first=first))
    (result,) = train_results(MLP, [Candidate(widths={"a": 4, "b": 3}, seed=1)], halved)
    assert [at for at, _ in result.rung_scores] == list(halved.rungs)
    assert result.losses == pytest.approx(plain.losses, rel=1e-12)
    assert replace(result, rung_scores=(), losses=plain.losses) == plain


@given(first=st.floats(0.001, 50), eta=st.integers(2, 10), epochs=st.integers(1, 100))
def test_rungs_rise_and_stay_below_the_last_epoch(first: float, eta: int, epochs: int) -> None:
    rungs = Halving(eta=eta, first=first).rungs(epochs)
    assert list(rungs) == sorted(set(rungs))
    assert all(0 < rung < epochs for rung in rungs)
    assert all(rung < 1 or rung == int(rung) for rung in rungs)


def test_a_candidate_out_of_patience_keeps_its_score_at_later_rungs() -> None:
    """Whether or not others are beside it then."""
    training_settings = replace(HALVING_SETTINGS, patience=1)
    (separate,) = train_results(width_objective(), make_candidates(5), training_settings)
    assert (separate.outcome, separate.epochs, separate.fidelity) == ("complete", 2, 9.0)
    assert separate.rung_scores == ((1.0, 5.0), (3.0, 5.0))

    class Rising(WidthAsMetric):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            if self.training or self.width != 4:
                return out
            self.validations = getattr(self, "validations", 0) + 1
            return out - 4 + self.validations / 10

    objective = custom_objective(
        lambda widths: Rising(widths["a"]), metric=width_objective().metric
    )
    first, second = train_results(
        objective, make_candidates(5, 4, never_pruned=[4]), training_settings
    )
    assert first == separate, "it stopped at epoch 2 and cannot be pruned at epoch 3"
    assert second.epochs == 9


def test_replicas_are_compared_by_their_mean_and_pruned_together() -> None:
    training_settings = replace(HALVING_SETTINGS, replicas=2, folds=2)
    results = train_results(width_objective(), make_candidates(1, 2, 3), training_settings)
    assert [result.outcome for result in results] == ["pruned", "pruned", "complete"]
    assert [result.epochs for result in results] == [1, 1, 9]
    assert results[0].spread is None


# The callback


def test_a_cancelled_candidate_leaves_the_others_as_they_are() -> None:
    batch = make_candidates(2, 5, 8)
    objective = custom_objective(lambda widths: network(widths["a"]))
    observed: list[tuple[float, set[int]]] = []

    def callback(epochs: float, metrics: Mapping[int, float]) -> Collection[int]:
        observed.append((epochs, set(metrics)))
        return [1] if epochs >= 2 else []

    results = train_results(objective, batch, callback=callback)
    expected = train_results(objective, batch)
    assert results[1] is None
    assert [results[0], results[2]] == [expected[0], expected[2]]
    assert observed == [(1.0, {0, 1, 2}), (2.0, {0, 1, 2}), (3.0, {0, 2})]


def test_cancelling_all_ends_the_training() -> None:
    observed: list[float] = []

    def callback(epochs: float, _: Mapping[int, float]) -> Collection[int]:
        observed.append(epochs)
        return [0, 1]

    assert train_results(
        custom_objective(lambda widths: network(widths["a"])),
        make_candidates(2, 5),
        callback=callback,
    ) == [
        None,
        None,
    ]
    assert observed == [1.0]


def test_a_cancelled_candidate_prunes_none_at_the_next_rung() -> None:
    def callback(epochs: float, _: Mapping[int, float]) -> Collection[int]:
        return [0] if epochs >= 1 else []

    results = train_results(
        width_objective(), make_candidates(9, 8, 7, 1, 2, 3, 4), HALVING_SETTINGS, callback=callback
    )
    assert results[0] is None
    assert results[1].outcome == "complete"


def test_a_failed_or_finished_candidate_has_no_present_metric() -> None:
    observed: list[dict[int, float]] = []

    class Late(WidthAsMetric):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.steps = getattr(self, "steps", 0) + 1
                if self.width == 3 and self.steps > 3:
                    return self.layers(x) * float("nan")  # type: ignore[no-any-return]
            return super().forward(x)

    def callback(_: float, metrics: Mapping[int, float]) -> Collection[int]:
        observed.append(dict(metrics))
        return ()

    objective = custom_objective(lambda widths: Late(widths["a"]), metric=width_objective().metric)
    train_results(
        objective, make_candidates(3, 5), replace(SHORT_SETTINGS, patience=1), callback=callback
    )
    assert observed == [{0: 3.0, 1: 5.0}, {1: 5.0}]


def test_what_the_callback_raises_propagates_untouched() -> None:
    error = KeyboardInterrupt()

    def callback(*_: Any) -> Collection[int]:
        raise error

    with pytest.raises(KeyboardInterrupt) as caught:
        train_results(MLP, [Candidate(widths={"a": 2, "b": 2}, seed=0)], callback=callback)
    assert caught.value is error


def test_the_plain_engine_is_the_default() -> None:
    (result,) = train_results(MLP, [Candidate(widths={"a": 2, "b": 2}, seed=0)])
    assert result.engine == PlainEngine().name
