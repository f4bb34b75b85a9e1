"""Fitted costs travel as JSON: another process evaluates the same without a trace."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn
from widthwise.objectives.cost.costs import StepSpec, TensorSpec
from widthwise.objectives.cost.model import CostModel
from widthwise.objectives.cost.polynomials.fit import CostFit
from widthwise.objectives.cost.polynomials.lattice import StepLattice, monomial_exponents
from widthwise.objectives.cost.polynomials.polynomial import Polynomials
from widthwise.objectives.cost.serialize import deserialise_fit, serialise_fit
from widthwise.objectives.errors import CostError

STEP = StepSpec(inputs=(TensorSpec(shape=(20,)),), batch_size=4, optimizer="sgd")


class Grid:
    def __init__(self, *ranges: range) -> None:
        self.rows = np.array(np.meshgrid(*ranges, indexing="ij")).reshape(len(ranges), -1).T
        self.size = len(self.rows)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(self.rows, n)

    def enumerate(self) -> np.ndarray:
        return self.rows


class Spectrum(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(super().forward(x)).abs()


def mlp(widths: Mapping[str, int]) -> nn.Module:
    return nn.Sequential(nn.Linear(20, widths["a"]), nn.ReLU(), nn.Linear(widths["a"], widths["b"]))


def heads(widths: Mapping[str, int]) -> nn.Module:
    return nn.Sequential(nn.Linear(20, widths["a"]), Spectrum(widths["a"], widths["b"] // 3))


def forbidden(widths: Mapping[str, int]) -> nn.Module:
    raise AssertionError("a restored model was traced")


@pytest.mark.parametrize(
    ("build", "grid"),
    [
        (mlp, Grid(range(8, 129, 8), range(4, 65, 4))),
        (mlp, Grid(range(1, 20), range(1, 20))),
        (mlp, Grid(range(8, 33, 8), range(8, 17, 8))),
    ],
    ids=["one polynomial", "by ones", "small space"],
)
def test_a_restored_model_evaluates_the_same_without_a_trace(
    build: Callable[[Mapping[str, int]], nn.Module], grid: Grid
) -> None:
    model = CostModel(build, STEP, "ab")
    model.fit(grid)
    restored = CostModel(forbidden, STEP, "ab")
    restored.restore(json.loads(json.dumps(model.state())))
    before, after = model.evaluate(grid.rows), restored.evaluate(grid.rows)
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)
    assert all(before[name].dtype == after[name].dtype for name in before)
    assert (restored.trace_count, restored.counted_by) == (0, model.counted_by)
    assert restored.state() == model.state()


def test_notes_and_marks_travel_too() -> None:
    model = CostModel(heads, STEP, "ab")
    costs = model.candidate_costs({"a": 8, "b": 12})
    restored = CostModel(forbidden, STEP, "ab")
    restored.restore(json.loads(json.dumps(model.state())))
    assert restored.candidate_costs({"a": 8, "b": 12}) == costs
    assert (restored.notes, restored.uncounted) == (model.notes, ("aten._fft_c2c", "aten._fft_r2c"))
    assert restored.lower_bound is model.lower_bound


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 8}, "fitted with batch_size 4, expected 8"),
        ({"device_type": "cuda"}, "fitted with device_type cpu, expected cuda"),
        ({"autocast": torch.bfloat16}, "autocast None, expected torch.bfloat16"),
    ],
    ids=["batch size", "device", "autocast"],
)
def test_costs_of_another_step_are_refused(options: dict[str, Any], message: str) -> None:
    state = CostModel(mlp, STEP, "ab").state()
    with pytest.raises(CostError, match=message):
        CostModel(mlp, replace(STEP, **options), "ab").restore(state)


def test_costs_of_another_torch_are_refused() -> None:
    state = CostModel(mlp, STEP, "ab").state()
    state["conditions"]["torch"] = "2.0.0"
    with pytest.raises(CostError, match=r"fitted with torch 2\.0\.0, expected .*: fit them again"):
        CostModel(mlp, STEP, "ab").restore(state)


def test_costs_of_an_earlier_release_are_refused_and_not_read() -> None:
    """Its state had other keys, and no form."""
    state = CostModel(mlp, STEP, "ab").state()
    del state["conditions"]["form"], state["pieces"], state["exceptions"]
    state |= {"fits": [], "by_ones": False, "complete": False}
    with pytest.raises(CostError, match=r"form None, expected \d+: fit them again"):
        CostModel(mlp, STEP, "ab").restore(state)


@settings(max_examples=40)
@given(
    arrays(np.int64, (3, 6), elements=st.integers(-(2**62), 2**62)),
    st.integers(1, 24),
    st.integers(1, 9),
)
def test_every_fit_survives_the_round_trip(
    coefficients: np.ndarray, denominator: int, step: int
) -> None:
    lattice = StepLattice(
        origin=np.array([3, 5]), step=np.array([step, 1]), top=np.array([3 + 9 * step, 9])
    )
    fit = CostFit(
        polynomials=Polynomials(
            lattice=lattice,
            powers=monomial_exponents(2, 2),
            coefficients=coefficients.astype(object) * 10**20,
            denominator=denominator,
        ),
        sizes={"parameters": 1, "train_memory": 2},
    )
    again = deserialise_fit(json.loads(json.dumps(serialise_fit(fit))))
    rows = np.array([[3, 5], [3 + step, 9], [3 + 9 * step, 7]])
    assert (again.polynomials(rows) == fit.polynomials(rows)).all()
    assert again.lattice.contains(rows + 1).tolist() == lattice.contains(rows + 1).tolist()
    assert (again.sizes, again.polynomials.denominator) == (fit.sizes, denominator)
