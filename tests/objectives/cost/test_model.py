"""All candidates: polynomials equal tracing, to the last unit, or tracing takes over."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.cost.costs import FIELDS, StepSpec, TensorSpec, count_costs
from widthwise.objectives.cost.model import CostModel
from widthwise.objectives.cost.polynomials.fit import HELD_OUT_POINTS
from widthwise.objectives.errors import CostError, ModelError

Builder = Callable[[Mapping[str, int]], nn.Module]


class Grid:
    """A small space: the product of ranges, thinned by a condition on the columns."""

    def __init__(self, *ranges: range, condition: Callable[..., np.ndarray] | None = None) -> None:
        grid = np.array(np.meshgrid(*ranges, indexing="ij")).reshape(len(ranges), -1).T
        self.rows = grid if condition is None else grid[condition(*grid.T)]
        self.size = len(self.rows)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(self.rows, n)

    def enumerate(self) -> np.ndarray:
        return self.rows

    def smallest(self) -> np.ndarray:
        return self.rows[0]

    def largest(self) -> np.ndarray:
        return self.rows[-1]


class UnboundedGrid:
    """A space too large to write down, without corners."""

    def __init__(self, top: int) -> None:
        self.top = top
        self.size = top**2

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(2, self.top, (n, 2))

    def enumerate(self) -> np.ndarray:
        raise AssertionError("asked to enumerate a huge space")


def step(*shape: int, optimizer: str = "sgd") -> StepSpec:
    return StepSpec(
        inputs=(TensorSpec(shape=shape),),
        targets=TensorSpec(shape=(), dtype=torch.int64),
        batch_size=16,
        optimizer=optimizer,
        loss=nn.functional.cross_entropy,
    )


def mlp(widths: Mapping[str, int]) -> nn.Module:
    sizes = [20, *widths.values(), 5]
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    return nn.Sequential(*[m for layer in layers for m in (layer, nn.ReLU())][:-1])


class Residual(nn.Module):
    """A convolution, then a depthwise-separable branch beside the identity."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        a, b = widths["a"], widths["b"]
        self.stem = nn.Sequential(nn.Conv2d(1, a, 3, padding=1), nn.BatchNorm2d(a))
        depthwise, wide = nn.Conv2d(a, a, 3, padding=1, groups=a), nn.Conv2d(a, b, 1)
        self.branch = nn.Sequential(depthwise, wide, nn.ReLU(), nn.Conv2d(b, a, 1))
        self.head = nn.Linear(a, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head((x + self.branch(x)).mean((2, 3)))


class Attention(nn.Module):
    """Heads `a` of size `b`: degree 4 in both."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.heads, width = widths["a"], widths["a"] * widths["b"]
        self.embed, self.out = nn.Linear(3, width), nn.Linear(width, width)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        x = nn.functional.scaled_dot_product_attention(x, x, x).transpose(1, 2).flatten(2)
        return self.head(self.out(x).mean(1))


def assert_exact(model: CostModel, build: Builder, spec: StepSpec, candidates: np.ndarray) -> None:
    """Compare with costs counted by themselves, without the model's cache."""
    evaluated = model.evaluate(candidates)
    assert tuple(sorted(evaluated)) == tuple(sorted(FIELDS))
    assert all(values.dtype == np.int64 for values in evaluated.values())
    for index, row in enumerate(candidates):
        widths = dict(zip(model.names, map(int, row), strict=True))
        traced = count_costs(lambda widths=widths: build(widths), spec).as_dict()
        assert {name: int(evaluated[name][index]) for name in FIELDS} == traced


SPACES: dict[str, tuple[Builder, StepSpec, Grid]] = {
    "mlp": (
        mlp,
        step(20, optimizer="adamw"),
        Grid(range(8, 129, 8), range(8, 129, 8), range(4, 65, 4)),
    ),
    "mlp from width 1": (mlp, step(20), Grid(range(1, 20), range(1, 20))),
    "non-increasing": (
        mlp,
        step(20),
        Grid(
            range(8, 65, 8),
            range(8, 65, 8),
            range(8, 65, 8),
            condition=lambda a, b, c: (a >= b) & (b >= c),
        ),
    ),
    "tied": (
        mlp,
        step(20),
        Grid(range(8, 65, 8), range(8, 65, 8), range(1, 30), condition=lambda a, b, _: a == b),
    ),
    "residual cnn": (Residual, step(1, 8, 8), Grid(range(2, 33, 2), range(4, 65, 4))),
    "bottleneck of a quarter": (
        lambda w: nn.Sequential(
            nn.Linear(20, w["a"]), nn.Linear(w["a"], w["a"] // 4), nn.Linear(w["a"] // 4, w["b"])
        ),
        step(20),
        Grid(range(4, 129, 4), range(5, 40)),
    ),
    "heads and head size": (Attention, step(4, 3), Grid(range(2, 9), range(4, 49, 4))),
}


@pytest.mark.parametrize("space", SPACES)
def test_polynomials_equal_tracing_on_every_candidate_tried(space: str) -> None:
    build, spec, grid = SPACES[space]
    model = CostModel(build, spec, "abc"[: grid.rows.shape[1]])
    model.fit(grid)
    assert model.counted_by == "polynomial"
    traces = model.trace_count
    assert_exact(model, build, spec, grid.sample(6, np.random.default_rng(1)))
    assert model.trace_count == traces


def test_a_width_of_one_gets_polynomials_of_its_own() -> None:
    """With one head torch needs no copy where it rearranges the heads of several."""
    spec, grid = step(4, 3), Grid(range(1, 7), range(4, 49, 4))
    model = CostModel(Attention, spec, "ab")
    model.fit(grid)
    assert model.counted_by == "polynomial"
    one_head = np.array([[1, 16], [1, 36]])
    assert_exact(model, Attention, spec, np.concatenate([one_head, grid.rows[-2:]]))


def test_what_is_no_polynomial_is_traced() -> None:
    def build(widths: Mapping[str, int]) -> nn.Module:
        size = int(widths["a"] ** 1.5)
        return nn.Sequential(nn.Linear(20, size), nn.Linear(size, 5))

    spec, grid = step(20), Grid(range(9, 60))
    model = CostModel(build, spec, ["a"])
    model.fit(grid)
    assert model.counted_by == "tracing"
    traces = model.trace_count
    assert_exact(model, build, spec, grid.rows[:4])
    assert model.trace_count <= traces + 4


def test_a_small_space_is_traced_as_a_whole() -> None:
    grid = Grid(range(8, 33, 8), range(8, 25, 8))
    model = CostModel(mlp, step(20), "ab")
    model.fit(grid)
    assert (model.counted_by, model.trace_count) == ("tracing", 12)
    model.evaluate(grid.rows)
    assert model.trace_count == 12


def test_a_huge_space_without_corners_costs_a_few_dozen_traces() -> None:
    model = CostModel(mlp, step(20), "ab")
    model.fit(UnboundedGrid(10**5))
    assert model.counted_by == "polynomial"
    # 1, a, b and a·b are all that the shapes of its parameters let expect.
    assert model.trace_count == 4 + HELD_OUT_POINTS
    assert_exact(model, mlp, step(20), np.array([[2, 99_999], [31_415, 92_653]]))


def test_candidates_off_the_fitted_lattice_are_traced() -> None:
    spec, grid = step(20), Grid(range(8, 129, 8), range(8, 129, 8))
    model = CostModel(mlp, spec, "ab")
    model.fit(grid)
    traces = model.trace_count
    outside = np.array([[9, 8], [136, 8], [8, 8]])
    assert_exact(model, mlp, spec, outside)
    assert model.trace_count == traces + 2


def test_one_is_traced_once() -> None:
    model = CostModel(mlp, step(20), ["first", "second"])
    costs = model.candidate_costs({"first": 16, "second": 8})
    assert model.candidate_costs({"second": 8, "first": 16}) is costs
    assert model.trace_count == 1
    assert costs.parameters == 20 * 16 + 16 + 16 * 8 + 8 + 8 * 5 + 5


def test_the_choice_of_points_does_not_matter() -> None:
    grid = Grid(range(8, 129, 8), range(8, 129, 8))
    collected = []
    for seed in (1, 2):
        model = CostModel(mlp, step(20), "ab")
        model.fit(grid, seed=seed)
        collected.append(model.evaluate(grid.rows))
    assert all((collected[0][name] == collected[1][name]).all() for name in FIELDS)


def test_every_cost_grows_with_every_width() -> None:
    grid = Grid(range(8, 129, 8), range(8, 129, 8))
    model = CostModel(mlp, step(20), "ab")
    model.fit(grid)
    for values in model.evaluate(grid.rows).values():
        table = values.reshape(16, 16)
        assert (np.diff(table, axis=0) > 0).all()
        assert (np.diff(table, axis=1) > 0).all()


def test_no_candidates_give_no_costs() -> None:
    evaluated = CostModel(mlp, step(20), "ab").evaluate(np.zeros((0, 2), dtype=np.int64))
    assert {name: values.shape for name, values in evaluated.items()} == dict.fromkeys(FIELDS, (0,))


def test_costs_too_large_for_64_bits_are_refused() -> None:
    """A fit over widths up to 10⁵ is exact; asked for a million times more, it would overflow."""
    fit = CostModel(mlp, step(20), "ab")
    fit.fit(UnboundedGrid(10**5))
    pieces = fit._pieces
    assert pieces is not None
    (polynomials,) = pieces.fits
    beyond = np.array([[5 * 10**9, 5 * 10**9]])
    with pytest.raises(CostError, match=r"lower the upper ends"):
        polynomials(beyond)


def test_a_candidate_too_large_for_64_bits_is_refused() -> None:
    with pytest.raises(CostError, match=r"2\*\*63"):
        CostModel(mlp, step(20), "ab").candidate_costs({"a": 10**10, "b": 10**10})


def test_a_builder_that_raises_is_passed_on() -> None:
    def build(widths: Mapping[str, int]) -> nn.Module:
        raise KeyError("hidden")

    with pytest.raises(ModelError, match="hidden"):
        CostModel(build, step(20), "ab").fit(Grid(range(8, 129, 8), range(8, 129, 8)))


def test_recurrent_layers_are_traced_and_notes_are_gathered() -> None:
    """The kernel's workspace is no polynomial of the width: no figure is made up for it."""

    class Recurrent(nn.LSTM):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[0][:, -1]

    def build(widths: Mapping[str, int]) -> nn.Module:
        return Recurrent(3, widths["a"], batch_first=True)

    spec, grid = step(4, 3), Grid(range(8, 200, 8))
    model = CostModel(build, spec, ["a"])
    model.fit(grid)
    assert model.counted_by == "tracing"
    assert not model.lower_bound
    assert len(model.notes) == 1
    assert_exact(model, build, spec, grid.rows[::6])
