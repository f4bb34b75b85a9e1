"""Training together: each candidate as if it were alone, and no failure of one is another's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.model.metrics import Metric
from widthwise.objectives.randomness import Randomness
from widthwise.objectives.training.settings import Halving
from widthwise.tests.objectives.loop.together import (
    CPU,
    DATA,
    MLP,
    SHORT_SETTINGS,
    WidthAsMetric,
    custom_objective,
    make_candidates,
    network,
    train_results,
    width_objective,
)

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


# A final training


def test_a_final_training_is_a_plain_loop_over_training_and_validation_rows() -> None:
    objective = custom_objective(lambda widths: network(widths["a"]))
    epochs, rows = 7, len(DATA.train) + len(DATA.validation)
    settings = replace(SHORT_SETTINGS, epochs=epochs, batch_size=rows, patience=0, final=True)
    (result,) = train_together(
        objective, [Candidate(widths={"a": 5}, seed=9)], settings, device=CPU
    )
    assert isinstance(result, TrainingResult)
    assert result.weights is not None

    with Randomness(9, CPU):
        expected = network(5)
    optimizer = torch.optim.AdamW(expected.parameters(), lr=0.02, weight_decay=0.0)
    inputs = torch.cat([DATA.train.inputs, DATA.validation.inputs])
    targets = torch.cat([DATA.train.targets, DATA.validation.targets])
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(expected(inputs), targets).backward()
        optimizer.step()
    torch.testing.assert_close(dict(result.weights), dict(expected.state_dict()))
    right = expected(DATA.test.inputs).argmax(dim=1) == DATA.test.targets
    assert result.test_value == pytest.approx(float(right.double().mean()))


def test_no_other_training_keeps_its_weights() -> None:
    objective = custom_objective(lambda widths: network(widths["a"]))
    (result,) = train_together(
        objective, [Candidate(widths={"a": 5}, seed=9)], SHORT_SETTINGS, device=CPU
    )
    assert isinstance(result, TrainingResult)
    assert result.weights is None
