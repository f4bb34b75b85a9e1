"""Keyed dropout: masks depend on seed, layer, step and index, and on nothing else."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from widthwise.objectives.cost.costs import StepSpec, TensorSpec, count_costs
from widthwise.objectives.data.streams.batch import Batch
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.keyed_dropout import (
    KeyedDropout,
    drop_threshold,
    hash_word,
    install_keyed_dropout,
    keyed_layers,
    mask_key,
    set_step,
    swappable_layers,
    with_keyed_dropout,
)
from widthwise.objectives.model.objective import make_objective
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.engines.equality import make_clusters
from widthwise.tests.objectives.trace.real_step import CLASS, real_peaks

KEYS = st.integers(-(2**31), 2**31 - 1)
SEEDS = st.integers(0, 2**63 - 1)


def layer(p: float, key: int, shared_axes: int = 0) -> KeyedDropout:
    module = KeyedDropout(p, shared_axes)
    module.key.fill_(key)
    return module


def mask(p: float, key: int, shape: tuple[int, ...], shared_axes: int = 0) -> Tensor:
    return layer(p, key, shared_axes).drop_mask(torch.empty(shape)).expand(shape)


# Masks


@settings(deadline=None, max_examples=80)
@given(
    key=KEYS,
    p=st.floats(0.01, 0.99),
    sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=4),
)
def test_a_padded_mask_is_the_true_one_in_its_leading_corner(
    key: int, p: float, sizes: list[tuple[int, int]]
) -> None:
    true = mask(p, key, tuple(size for size, _ in sizes))
    padded = mask(p, key, tuple(size + more for size, more in sizes))
    corner = padded[tuple(slice(size) for size, _ in sizes)]
    assert torch.equal(corner, true)


@pytest.mark.parametrize("shared_axes", [1, 2, 3])
def test_whole_channels_are_dropped_together_padded_or_not(shared_axes: int) -> None:
    trailing = (3, 4, 2)[:shared_axes]
    true = mask(0.5, 77, (4, 6, *trailing), shared_axes)
    padded = mask(0.5, 77, (4, 9, *(size + 1 for size in trailing)), shared_axes)
    flat = true.reshape(4, 6, -1)
    assert torch.equal(flat.all(-1), flat.any(-1))
    assert torch.equal(padded[:, :6].reshape(4, 6, -1)[..., 0], flat[..., 0])
    assert 0 < int(flat[..., 0].sum()) < 24


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(40_000,), (200, 200), (20, 10, 20, 10)], ids=len)
def test_the_share_of_dropped_elements_is_near_p(p: float, shape: tuple[int, ...]) -> None:
    places = math.prod(shape)
    kept_share = float(mask(p, mask_key(3, 1, 4), shape).double().mean())
    assert abs(kept_share - p) < 4.5 * math.sqrt(p * (1 - p) / places)


@pytest.mark.parametrize("p", [0.2, 0.5])
@pytest.mark.parametrize(
    "other",
    [(8, 0, 0), (7, 1, 0), (7, 0, 1), (7 + 2**32, 0, 0), (0, 0, 7)],
    ids=["seed", "layer", "step", "seed's upper half", "seed and step swapped"],
)
def test_other_seeds_layers_and_steps_have_unrelated_masks(
    other: tuple[int, int, int], p: float
) -> None:
    shape = (150, 200)
    first, second = (mask(p, mask_key(*which), shape) for which in ((7, 0, 0), other))
    differing = float((first != second).double().mean())
    expected = 2 * p * (1 - p)
    assert abs(differing - expected) < 4.5 * math.sqrt(expected * (1 - expected) / first.numel())


def test_rows_and_columns_of_a_mask_are_unrelated() -> None:
    samples = mask(0.5, mask_key(1, 0, 0), (300, 300)).double() - 0.5
    for near in (
        samples[1:] * samples[:-1],
        samples[:, 1:] * samples[:, :-1],
        samples * samples.t(),
    ):
        assert abs(float(near.mean())) < 0.005


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, which=st.integers(0, 50), step=st.integers(0, 10**6), p=st.floats(0, 1))
def test_masks_follow_from_the_public_functions(seed: int, which: int, step: int, p: float) -> None:
    """From `mask_key`, `hash_word` and `drop_threshold` alone, in whole numbers."""
    key = mask_key(seed, which, step)
    assert -(2**31) <= key < 2**31
    golden = 0x9E3779B9
    expected = [
        [
            (hash_word(hash_word(key + row * golden) + column * golden) & 0x7FFFFFFF)
            < drop_threshold(p)
            for column in range(3)
        ]
        for row in range(2)
    ]
    assert mask(p, key, (2, 3)).tolist() == expected


# The layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_stays_is_scaled_up(dtype: torch.dtype) -> None:
    module, x = layer(0.25, 9), torch.ones(50, 40, dtype=dtype, requires_grad=True)
    out = module(x)
    dropped = module.drop_mask(x)
    assert out.dtype == dtype
    assert torch.equal(out == 0, dropped)
    assert out[~dropped].unique().tolist() == [torch.tensor(4 / 3, dtype=dtype).item()]
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, out.detach())


def test_evaluation_and_a_share_of_zero_change_nothing() -> None:
    x = torch.randn(4, 3)
    assert layer(0.5, 1).eval()(x) is x
    assert layer(0.0, 1)(x) is x
    assert torch.equal(layer(1.0, 1)(x), torch.zeros(4, 3))


def test_a_share_of_almost_all_drops_almost_all() -> None:
    assert layer(1 - 1e-12, 5).drop_mask(torch.ones(1000)).all()


@pytest.mark.parametrize(
    ("native", "shape"),
    [
        (nn.Dropout(0.5), (6, 8)),
        (nn.Dropout1d(0.5), (6, 8, 5)),
        (nn.Dropout2d(0.5), (6, 8, 5, 3)),
        (nn.Dropout2d(0.5), (6, 8, 5)),
        (nn.Dropout3d(0.5), (6, 8, 2, 3, 2)),
    ],
    ids=lambda value: str(value),
)
@pytest.mark.filterwarnings("ignore:dropout2d. Received a 3D input")
def test_the_same_elements_share_a_draw_as_in_torchs_own_layer(
    native: nn.Module, shape: tuple[int, ...]
) -> None:
    model = nn.Sequential(native)
    install_keyed_dropout(model, ["0"])
    x = torch.ones(shape)
    for module in (native, model[0]):
        dropped = (module(x) == 0).flatten(2) if len(shape) > 2 else (module(x) == 0)[..., None]
        assert torch.equal(dropped.all(-1), dropped.any(-1)), "a channel goes as a whole"
        rows = dropped[..., 0]
        assert 0 < int(rows.sum()) < rows.numel()
        assert not torch.equal(rows, rows[:1].expand_as(rows)), "samples differ"
        assert not torch.equal(rows, rows[:, :1].expand_as(rows)), "channels differ"


def test_each_layer_and_step_has_a_key_of_its_own() -> None:
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(2, 2), nn.Dropout(0.2))
    install_keyed_dropout(model, ["0", "2"])
    assert [module.p for module in keyed_layers(model)] == [0.1, 0.2]
    observed = set()
    for step in range(3):
        set_step(keyed_layers(model), seed=5, step=step)
        observed |= {int(module.key) for module in keyed_layers(model)}
    assert len(observed) == 6
    assert not model.state_dict().keys() - {"1.weight", "1.bias"}, "a key is no weight"


# What may be swapped


class SharedDropout(nn.Module):
    """One dropout called twice in a pass, and one called once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(7, 6), nn.Dropout(0.5), nn.Linear(6, 3)
        self.once = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.drop(self.first(x))
        return self.last(self.once(self.drop(hidden)))  # type: ignore[no-any-return]


def test_a_layer_used_twice_in_a_pass_is_left_alone() -> None:
    assert swappable_layers(SharedDropout(), Batch((torch.zeros(9, 7),))) == ("once",)
    objective = make_objective(
        build=lambda _: SharedDropout(),
        data=make_clusters(rows=20, dtype=torch.float32),
        base=Path(),
    )
    first, again = (
        train(objective, {}, ProxySettings(epochs=2, device="cpu"), seed=1) for _ in range(2)
    )
    assert first.losses == again.losses


def test_a_layer_that_is_not_used_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(7, 3))
    model.spare = nn.Sequential(nn.Dropout(0.5))
    model.forward = lambda x: model[0](x)  # type: ignore[method-assign]
    assert swappable_layers(model, Batch((torch.zeros(2, 7),))) == ()


def test_finding_the_layers_does_not_change_the_model() -> None:
    model = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert swappable_layers(model, Batch((torch.randn(9, 7),))) == ("2",)
    assert not model.training
    assert not model[2]._forward_hooks
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


class Uncopyable(nn.Module):
    """A module with a non-leaf tensor, which torch refuses to copy."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(7, 5), nn.Dropout(0.5), nn.Linear(5, 3))
        self.penalty = self.layers[0].weight.sum()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "model", [Uncopyable(), nn.Sequential(nn.Linear(8, 5), nn.Dropout(0.5))], ids=["copy", "run"]
)
def test_a_model_that_cannot_be_called_keeps_its_layers(model: nn.Module) -> None:
    assert swappable_layers(model, Batch((torch.zeros(2, 7),))) == ()


def test_a_model_that_cannot_be_copied_is_trained_with_torchs_own_layers() -> None:
    objective = make_objective(
        build=lambda _: Uncopyable(), data=make_clusters(rows=20, dtype=torch.float32), base=Path()
    )
    assert train(objective, {}, ProxySettings(epochs=1, device="cpu"), seed=1).outcome == "complete"


# Memory


@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("width", [16, 256])
def test_the_memory_of_the_masks_is_predicted(width: int, autocast: torch.dtype | None) -> None:
    """In bfloat16 integer masks take more memory than torch's own; limits must count it."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 5))

    def as_trained() -> nn.Module:
        model = build()
        install_keyed_dropout(model, ["2"])
        return model

    def fused(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), fused=True)

    step = StepSpec(
        inputs=(TensorSpec(shape=(20,)),),
        targets=CLASS,
        batch_size=64,
        optimizer=fused,
        loss=nn.functional.cross_entropy,
        autocast=autocast,
    )
    actual = count_costs(with_keyed_dropout(build, step.zeros), step)
    assert actual.train_memory == real_peaks(as_trained, step, fused)[0]
    plain = count_costs(build, step)
    assert (actual.flops, actual.parameters) == (plain.flops, plain.parameters)
    assert actual.uncounted == ()
    assert (actual.train_memory > plain.train_memory) == (autocast is not None)
