"""Training together: each candidate as if it were alone, and no trouble of one is another's."""

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
from widthwise.objectives.data.split import folds_of
from widthwise.objectives.engines.base import Engine, Member, Training, Unsuitable
from widthwise.objectives.engines.plain import PlainEngine, PlainTeam
from widthwise.objectives.loop.loop import Candidate, replica_seed, train_together
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.metrics import Metric
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.settings import Halving, ProxySettings, TrainingResult
from widthwise.tests.objectives.engines.equality import family, generated

CPU = torch.device("cpu")
DATA = generated(rows=40)
SHORT = ProxySettings(epochs=3, batch_size=16, device="cpu", learning_rate=0.02)
MLP = family("mlp", DATA, dropout=0.3, norm="batch")

Result = TrainingResult | Exception | None


def candidates(*widths: int, spared: Collection[int] = ()) -> list[Candidate]:
    return [
        Candidate(widths={"a": width}, seed=100 + n, spared=width in spared)
        for n, width in enumerate(widths)
    ]


def together(
    objective: ModuleObjective,
    batch: Sequence[Candidate],
    settings: ProxySettings = SHORT,
    **more: Any,
) -> list[Any]:
    """Results with what may differ from run to run taken away."""
    return [figures(one) for one in train_together(objective, batch, settings, device=CPU, **more)]


def figures(result: Result) -> Result:
    return replace(result, seconds=0.0) if isinstance(result, TrainingResult) else result


def built(build: Callable[[Mapping[str, int]], nn.Module], **more: Any) -> ModuleObjective:
    return make_objective(build=build, data=DATA, base=Path(), **more)


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(7, width), nn.Tanh(), nn.Linear(width, 3)).double()


# Alone and together


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
def test_a_candidate_gets_the_same_bits_alone_and_in_company(
    batch: list[tuple[int, int, int]], replicas: int, folds: int
) -> None:
    chosen = [Candidate(widths={"a": a, "b": b}, seed=seed) for a, b, seed in batch]
    how = replace(SHORT, epochs=2, patience=1, replicas=replicas, folds=folds)
    assert together(MLP, chosen, how) == [together(MLP, [one], how)[0] for one in chosen]


def test_nothing_to_train_is_no_trouble() -> None:
    assert together(MLP, []) == []
    assert together(MLP, [], replace(SHORT, halving=Halving(), replicas=2, folds=3)) == []


class Troubled(nn.Module):
    """A network that gets into trouble at width 3, and only when it is trained or judged."""

    def __init__(self, width: int, trouble: Callable[[Troubled, Tensor], Tensor]) -> None:
        super().__init__()
        self.layers, self.width, self.trouble = network(width), width, trouble

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return self.trouble(self, out) if self.width == 3 else out


def _raise(error: BaseException) -> Any:
    raise error


def _forget(module: Troubled, out: Tensor) -> Tensor:
    """Weights that cannot be put back, as when their shapes change from pass to pass."""
    module.load_state_dict = lambda _: _raise(RuntimeError("other shapes"))  # type: ignore[method-assign]
    return out


def _lose(_: Troubled, out: Tensor) -> Tensor:
    return out * float("nan")


def _explode(_: Troubled, out: Tensor) -> Tensor:
    return out * 1e300 * 1e300


def _run_out(_: Troubled, __: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


TROUBLES: dict[str, tuple[Callable[[Troubled, Tensor], Tensor], Any]] = {
    "exception in training": (
        lambda module, out: _raise(KeyError("boom")) if module.training else out,
        KeyError,
    ),
    "exception in judging": (
        lambda module, out: out if module.training else _raise(KeyError("boom")),
        KeyError,
    ),
    "exit": (lambda module, out: sys.exit(3) if module.training else out, Exception),
    "weights that cannot be recalled": (_forget, RuntimeError),
    "not a number": (_lose, "nan"),
    "no number in judging": (
        lambda module, out: out if module.training else out * float("nan"),
        "nan",
    ),
    "explosion": (_explode, "nan"),
    "memory": (_run_out, "out_of_memory"),
    "memory in judging": (
        lambda module, out: out if module.training else _raise(MemoryError("so large")),
        "out_of_memory",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_of_one_harms_no_neighbour(trouble: str) -> None:
    what, expected = TROUBLES[trouble]
    objective = built(lambda widths: Troubled(widths["a"], what), metric=_cross_entropy())
    batch = candidates(2, 3, 5)
    first, troubled, last = together(objective, batch, replace(SHORT, replicas=2))
    alone = [together(objective, [batch[n]], replace(SHORT, replicas=2))[0] for n in (0, 2)]
    assert [first, last] == alone
    assert first.outcome == "complete"
    if isinstance(expected, str):
        assert (troubled.outcome, troubled.value, troubled.score) == (expected, None, None)
        assert troubled.detail
        assert "\n" not in troubled.detail
    else:
        assert isinstance(troubled, expected)


def _cross_entropy() -> Metric:
    """A metric of the user's own, which does not hide what is no number."""
    return Metric(
        name="own",
        direction="minimize",
        function=lambda output, target: float(nn.functional.cross_entropy(output, target)),
    )


def test_a_candidate_that_cannot_be_built_harms_no_neighbour() -> None:
    def build(widths: Mapping[str, int]) -> nn.Module:
        return network(widths["a"] if widths["a"] != 3 else widths["missing"])

    first, failed, last = together(built(build), candidates(2, 3, 5))
    assert (first.outcome, last.outcome) == ("complete", "complete")
    assert "KeyError" in str(failed)


def test_what_one_metric_draws_changes_no_neighbour_and_no_caller() -> None:
    """A user's bootstrap, say: the same draws for a candidate whoever is beside it."""

    def drawing(output: Tensor, target: Tensor) -> float:
        return float((output.argmax(1) == target).double().mean()) + float(
            torch.rand(()) + np.random.rand()
        )

    metric = Metric(name="drawing", direction="maximize", function=drawing)
    objective = replace(MLP, metric=metric)
    batch = [Candidate(widths={"a": 4, "b": 3}, seed=seed) for seed in (1, 2)]
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert together(objective, batch) == [together(objective, [one])[0] for one in batch]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_seconds_are_shared_out() -> None:
    started = time.perf_counter()
    found = train_together(
        MLP, [Candidate(widths={"a": 4, "b": 3}, seed=n) for n in range(3)], SHORT, device=CPU
    )
    spent = time.perf_counter() - started
    seconds = [one.seconds for one in found if isinstance(one, TrainingResult)]
    assert len(seconds) == 3
    assert min(seconds) > 0
    assert sum(seconds) <= spent


# Engines that give up


class Flaky:
    """The plain engine under another name, which breaks down at a call of one of its methods."""

    name = "flaky"

    def __init__(self, method: str, call: int, error: BaseException) -> None:
        self.method, self.left, self.error = method, call, error

    def start(self, training: Training, members: Sequence[Member]) -> Any:
        self.called("start")
        team = PlainTeam(training, members)
        for name in ("advance", "predict", "remember", "recall", "drop"):
            setattr(team, name, self._watched(name, getattr(team, name)))
        return team

    def called(self, method: str) -> None:
        self.left -= method == self.method
        if method == self.method and self.left == 0:
            raise self.error

    def _watched(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            found = method(*arguments)
            self.called(name)
            return found

        return watched


@pytest.mark.parametrize(
    ("method", "call", "error"),
    [
        ("start", 1, Unsuitable("not this one")),
        ("start", 1, SystemExit(1)),
        ("advance", 1, torch.OutOfMemoryError("the whole stack")),
        ("advance", 4, SystemExit(1)),
        ("predict", 3, RuntimeError("boom")),
        ("remember", 2, RuntimeError("boom")),
        ("recall", 1, RuntimeError("boom")),
        ("drop", 2, RuntimeError("boom")),
    ],
    ids=lambda value: str(value) if not isinstance(value, BaseException) else type(value).__name__,
)
def test_an_engine_that_breaks_down_is_replaced_without_a_trace(
    method: str, call: int, error: BaseException
) -> None:
    """Also with members that ended before: by patience, at a rung, by trouble of their own."""

    objective = built(lambda widths: Troubled(widths["a"], _lose))
    how = replace(SHORT, epochs=6, patience=2, halving=Halving(eta=2, first=0.5), replicas=2)
    batch = candidates(2, 3, 5, 8, 9, 12, spared=[2])
    engine: Engine = Flaky(method, call, error)
    found, expected = (
        together(objective, batch, how, engine=engine),
        together(objective, batch, how),
    )
    assert len({one.outcome for one in expected}) == 3
    for one, plain in zip(found, expected, strict=True):
        assert one.engine.startswith("plain (flaky: ")
        assert repr(replace(one, engine="plain")) == repr(plain), "repr, for NaN is not itself"


def test_an_engine_that_serves_says_its_name() -> None:
    (found,) = together(
        MLP,
        [Candidate(widths={"a": 2, "b": 2}, seed=0)],
        replace(SHORT, folds=2),
        engine=Flaky("never", 1, Unsuitable()),
    )
    assert found.engine == "flaky"


def test_a_replacement_of_one_fold_is_told_too() -> None:
    found = together(
        MLP,
        [Candidate(widths={"a": 2, "b": 2}, seed=0)],
        replace(SHORT, folds=2),
        engine=Flaky("start", 2, Unsuitable("too odd")),
    )
    assert found[0].engine == "flaky, plain (flaky: Unsuitable: too odd)"


# Replicas, folds and rates


def test_replicas_are_trainings_from_other_seeds_and_their_mean_counts() -> None:
    widths, how = {"a": 6, "b": 4}, replace(SHORT, patience=1, epochs=5)
    (found,) = together(MLP, [Candidate(widths=widths, seed=9)], replace(how, replicas=3))
    singles = [train(MLP, widths, how, seed=replica_seed(9, k)) for k in range(3)]
    values = [one.value for one in singles if one.value is not None]
    assert found.value == fmean(values)
    assert found.test_value == fmean(one.test_value or 0.0 for one in singles)
    assert found.spread == pytest.approx(stdev(values) / 3**0.5)
    assert found.epochs == max(one.epochs for one in singles)
    for epoch in range(found.epochs):
        seen = [one.curve[min(epoch, one.epochs - 1)] for one in singles]
        assert found.curve[epoch] == pytest.approx(fmean(seen))
    assert len({one.losses for one in singles}) == 3


def test_the_first_replica_is_the_training_alone() -> None:
    assert replica_seed(2**63 - 1, 0) == 2**63 - 1
    seeds = [replica_seed(seed, k) for seed in (0, 1) for k in range(50)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_best_rates_mean_counts() -> None:
    widths, factors = {"a": 6, "b": 4}, (0.01, 1.0, 1e250)
    how = replace(SHORT, replicas=2, rate_factors=factors)
    (found,) = together(MLP, [Candidate(widths=widths, seed=4)], how)
    by_rate = {}
    for factor in factors:
        rate = SHORT.learning_rate * factor
        alone = replace(SHORT, replicas=2, learning_rate=rate)
        by_rate[rate] = together(MLP, [Candidate(widths=widths, seed=4)], alone)[0]
    best = max(
        (one for one in by_rate.values() if one.value is not None), key=lambda one: one.value
    )
    assert by_rate[SHORT.learning_rate * 1e250].outcome == "nan"
    assert found == best
    assert found.learning_rate in by_rate


def test_folds_are_trainings_on_other_rows_and_their_mean_counts() -> None:
    widths = {"a": 6, "b": 4}
    (found,) = together(MLP, [Candidate(widths=widths, seed=4)], replace(SHORT, folds=3))
    singles = [train(replace(MLP, data=fold), widths, SHORT, seed=4) for fold in folds_of(DATA, 3)]
    assert found.value == fmean(one.value or 0.0 for one in singles)
    assert found.spread is not None


def test_every_combination_is_trained() -> None:
    seen: list[int] = []

    def build(widths: Mapping[str, int]) -> nn.Module:
        seen.append(widths["a"])
        return network(widths["a"])

    how = replace(SHORT, epochs=2, replicas=2, folds=3, rate_factors=(0.5, 1.0))
    found = together(built(build), candidates(2, 5), how)
    assert [one.outcome for one in found] == ["complete", "complete"]
    assert (seen.count(2), seen.count(5)) == (12, 12)


def test_no_time_is_spent_once_a_candidate_has_failed() -> None:
    """Its other replicas cannot save it."""
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
                    raise ValueError("the second replica's trouble")
            return self.layers(x)  # type: ignore[no-any-return]

    (found,) = together(built(lambda _: Once()), candidates(4), replace(SHORT, replicas=3))
    assert isinstance(found, ValueError)
    assert passes.count(0) == passes.count(2) == 3, "one epoch of three batches"


# Halving


class Known(nn.Module):
    """Trains like any other, and is judged by its width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers, self.width = network(width), width

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out if self.training else torch.full_like(out, float(self.width))


def known(direction: Any = "maximize") -> ModuleObjective:
    metric = Metric(name="width", direction=direction, function=lambda out, _: float(out.mean()))
    return built(lambda widths: Known(widths["a"]), metric=metric)


HALVED = replace(SHORT, epochs=9, patience=0, halving=Halving(eta=3, first=1.0))


def test_the_worst_are_dropped_at_each_rung() -> None:
    found = together(known(), candidates(4, 9, 1, 8, 2, 7, 3, 6, 5), HALVED)
    ended = {int(one.score): (one.outcome, one.fidelity, len(one.curve)) for one in found}
    assert ended == {
        **dict.fromkeys(range(1, 7), ("pruned", 1.0, 1)),
        **dict.fromkeys((7, 8), ("pruned", 3.0, 3)),
        9: ("complete", 9.0, 9),
    }
    best, pruned = found[1], found[5]
    assert (best.value, best.rungs, best.detail) == (9.0, ((1.0, 9.0), (3.0, 9.0)), None)
    assert (pruned.value, pruned.score, pruned.test_value) == (None, 7.0, None)
    assert pruned.rungs == ((1.0, 7.0), (3.0, 7.0))
    assert pruned.detail == "its width of 7 after 3 of 9 epochs is not among the best 1/3"


def test_when_less_is_better_the_largest_are_dropped() -> None:
    found = together(known("minimize"), candidates(4, 9, 1), HALVED)
    assert [one.outcome for one in found] == ["pruned", "pruned", "complete"]


def test_ties_go_on_together() -> None:
    found = together(known(), candidates(5, 5, 5, 2), HALVED)
    assert [one.outcome for one in found] == ["complete", "complete", "complete", "pruned"]


def test_baselines_and_confirmations_are_trained_to_the_end() -> None:
    found = together(known(), candidates(1, 9, 5, spared=[1]), HALVED)
    assert [one.outcome for one in found] == ["complete", "complete", "pruned"]


def test_earlier_trials_at_the_same_rung_count() -> None:
    earlier = {1.0: [6.0, 6.5, 7.0], 3.0: [1.0]}
    found = together(known(), candidates(4, 9, 8), HALVED, earlier=earlier)
    assert [one.outcome for one in found] == ["pruned", "complete", "pruned"]
    assert [one.fidelity for one in found] == [1.0, 9.0, 3.0]
    lone = together(known(), candidates(4), HALVED, earlier=earlier)
    assert lone[0].outcome == "pruned"
    assert together(known(), candidates(4), HALVED)[0].outcome == "complete"


def test_one_that_fails_at_a_rung_pushes_nobody_out() -> None:
    class Late(Known):
        def forward(self, x: Tensor) -> Tensor:
            if self.width == 9 and x.shape[0] == 40:
                raise KeyError("in judging")
            return super().forward(x)

    objective = built(lambda widths: Late(widths["a"]), metric=known().metric)
    failed, kept, dropped = together(objective, candidates(9, 6, 5), HALVED)
    assert isinstance(failed, KeyError)
    assert (kept.outcome, dropped.outcome) == ("complete", "pruned")


def test_rungs_within_the_first_epoch_go_by_the_share_of_the_data() -> None:
    seen: list[int] = []

    class Counting(Known):
        def forward(self, x: Tensor) -> Tensor:
            if self.training and self.width == 1:
                seen.append(len(x))
            return super().forward(x)

    metric = known().metric
    objective = built(lambda widths: Counting(widths["a"]), metric=metric)
    how = replace(HALVED, batch_size=4, halving=Halving(eta=3, first=0.25))
    worst, *_, best = together(objective, candidates(1, 2, 3, 4), how)
    assert sum(seen) == 12, "a quarter of 40 rows, to the batch"
    assert (worst.outcome, worst.fidelity, worst.epochs, worst.curve) == ("pruned", 0.25, 0, ())
    assert (worst.score, worst.rungs) == (1.0, ((0.25, 1.0),))
    assert best.outcome == "complete"
    assert [at for at, _ in best.rungs] == [0.25, 0.75, 2.0, 7.0]


@settings(deadline=None, max_examples=15)
@given(
    first=st.floats(0.001, 3.0),
    eta=st.integers(2, 5),
    batch_size=st.sampled_from([4, 16, 39, 64]),
)
def test_rungs_change_no_number_of_those_that_go_on(
    first: float, eta: int, batch_size: int
) -> None:
    """Wherever they lie: also many of them within one batch."""
    how = replace(SHORT, batch_size=batch_size)
    (plain,) = together(MLP, [Candidate(widths={"a": 4, "b": 3}, seed=1)], how)
    halved = replace(how, halving=Halving(eta=eta, first=first))
    (found,) = together(MLP, [Candidate(widths={"a": 4, "b": 3}, seed=1)], halved)
    assert [at for at, _ in found.rungs] == list(halved.rungs)
    assert found.losses == pytest.approx(plain.losses, rel=1e-12)
    assert replace(found, rungs=(), losses=plain.losses) == plain


@given(first=st.floats(0.001, 50), eta=st.integers(2, 10), epochs=st.integers(1, 100))
def test_rungs_rise_and_stay_below_the_last_epoch(first: float, eta: int, epochs: int) -> None:
    rungs = Halving(eta=eta, first=first).rungs(epochs)
    assert list(rungs) == sorted(set(rungs))
    assert all(0 < rung < epochs for rung in rungs)
    assert all(rung < 1 or rung == int(rung) for rung in rungs)


def test_one_that_ran_out_of_patience_keeps_its_score_at_later_rungs() -> None:
    """Whether anybody is beside it then or not."""
    how = replace(HALVED, patience=1)
    (alone,) = together(known(), candidates(5), how)
    assert (alone.outcome, alone.epochs, alone.fidelity) == ("complete", 2, 9.0)
    assert alone.rungs == ((1.0, 5.0), (3.0, 5.0))

    class Rising(Known):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            if self.training or self.width != 4:
                return out
            self.judged = getattr(self, "judged", 0) + 1
            return out - 4 + self.judged / 10

    objective = built(lambda widths: Rising(widths["a"]), metric=known().metric)
    first, second = together(objective, candidates(5, 4, spared=[4]), how)
    assert first == alone, "it stopped at epoch 2 and cannot be dropped at epoch 3"
    assert second.epochs == 9


def test_replicas_are_compared_by_their_mean_and_dropped_together() -> None:
    how = replace(HALVED, replicas=2, folds=2)
    found = together(known(), candidates(1, 2, 3), how)
    assert [one.outcome for one in found] == ["pruned", "pruned", "complete"]
    assert [one.epochs for one in found] == [1, 1, 9]
    assert found[0].spread is None


# What the caller may do


def test_who_is_given_up_leaves_the_others_as_they_are() -> None:
    batch = candidates(2, 5, 8)
    objective = built(lambda widths: network(widths["a"]))
    seen: list[tuple[float, set[int]]] = []

    def after(epochs: float, metrics: Mapping[int, float]) -> Collection[int]:
        seen.append((epochs, set(metrics)))
        return [1] if epochs >= 2 else []

    found = together(objective, batch, after=after)
    expected = together(objective, batch)
    assert found[1] is None
    assert [found[0], found[2]] == [expected[0], expected[2]]
    assert seen == [(1.0, {0, 1, 2}), (2.0, {0, 1, 2}), (3.0, {0, 2})]


def test_all_given_up_ends_the_training() -> None:
    seen: list[float] = []

    def after(epochs: float, _: Mapping[int, float]) -> Collection[int]:
        seen.append(epochs)
        return [0, 1]

    assert together(built(lambda widths: network(widths["a"])), candidates(2, 5), after=after) == [
        None,
        None,
    ]
    assert seen == [1.0]


def test_one_given_up_at_a_rung_pushes_nobody_out_at_the_next() -> None:
    def after(epochs: float, _: Mapping[int, float]) -> Collection[int]:
        return [0] if epochs >= 1 else []

    found = together(known(), candidates(9, 8, 7, 1, 2, 3, 4), HALVED, after=after)
    assert found[0] is None
    assert found[1].outcome == "complete"


def test_a_failed_or_finished_candidate_has_no_present_metric() -> None:
    seen: list[dict[int, float]] = []

    class Late(Known):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.steps = getattr(self, "steps", 0) + 1
                if self.width == 3 and self.steps > 3:
                    return self.layers(x) * float("nan")  # type: ignore[no-any-return]
            return super().forward(x)

    def after(_: float, metrics: Mapping[int, float]) -> Collection[int]:
        seen.append(dict(metrics))
        return ()

    objective = built(lambda widths: Late(widths["a"]), metric=known().metric)
    together(objective, candidates(3, 5), replace(SHORT, patience=1), after=after)
    assert seen == [{0: 3.0, 1: 5.0}, {1: 5.0}]


def test_what_after_raises_ends_all_untouched() -> None:
    error = KeyboardInterrupt()

    def after(*_: Any) -> Collection[int]:
        raise error

    with pytest.raises(KeyboardInterrupt) as caught:
        together(MLP, [Candidate(widths={"a": 2, "b": 2}, seed=0)], after=after)
    assert caught.value is error


def test_the_plain_engine_serves_where_none_is_named() -> None:
    (found,) = together(MLP, [Candidate(widths={"a": 2, "b": 2}, seed=0)])
    assert found.engine == PlainEngine().name
