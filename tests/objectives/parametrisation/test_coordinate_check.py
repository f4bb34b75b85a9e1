"""The coordinate check: flat under muP, growing under the standard one, blind to nothing."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.load import load_data
from widthwise.objectives.errors import ModelError
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.parametrisation.coordinate_check import UPDATE_STEPS, coordinate_check
from widthwise.objectives.parametrisation.coordinate_report import (
    MAX_SLOPE,
    MODEL_OUTPUT,
    LayerGrowth,
)
from widthwise.objectives.parametrisation.mup import derive_mup
from widthwise.objectives.parametrisation.standard import StandardParametrisation
from widthwise.objectives.training.settings import ProxySettings

from .models import Widths

LARGE = ProxySettings(learning_rate=2**-6, device="cpu")
BASE = {"a": 16, "b": 16}
OTHERS = ({"a": 64, "b": 16}, {"a": 16, "b": 64})


def growing(sizes: Sequence[int]) -> list[dict[str, int]]:
    return [{"a": size, "b": size} for size in sizes]


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data("digits", base=Path(), seed=0)


def family(name: str, data: Data, **options: object) -> ModuleObjective:
    return make_objective(family=name, options=options, data=data, base=Path())


@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "layer", "dropout": 0.3}, {"norm": "batch"}, {"activation": "tanh"}],
    ids=["plain", "layer norm and dropout", "batch norm", "tanh"],
)
def test_perceptrons_are_flat_under_mup_and_grow_without(
    options: dict[str, object], digits: Data
) -> None:
    objective = family("mlp", digits, **options)
    mup = derive_mup(objective.build, BASE, OTHERS)
    widths = growing([16, 64, 256, 1024])
    right = coordinate_check(objective, mup, widths, LARGE)
    wrong = coordinate_check(objective, StandardParametrisation(), widths, LARGE)
    assert right.passed, right.table()
    assert not wrong.passed, wrong.table()
    assert right.rows[-1].layer == wrong.rows[-1].layer == MODEL_OUTPUT
    assert right.rows[-1].start < 0 < MAX_SLOPE < wrong.rows[-1].max_slope
    assert "no activation grows with the width under 'mup'" in right.summary
    assert "activations grow with the width under 'standard'" in wrong.summary
    assert "grows" in wrong.table()
    assert "grows" not in right.table()


def test_convolutions_are_flat_under_mup_and_grow_without() -> None:
    objective = family("cnn", load_data("digits", base=Path(), seed=0, image=True))
    mup = derive_mup(objective.build, {"a": 8, "b": 8}, [{"a": 32, "b": 8}, {"a": 8, "b": 32}])
    widths = growing([8, 16, 32, 64])
    settings = ProxySettings(learning_rate=2**-6, batch_size=32, device="cpu")
    assert coordinate_check(objective, mup, widths, settings, seeds=(0, 1)).passed
    assert not coordinate_check(
        objective, StandardParametrisation(), widths, settings, seeds=(0, 1)
    ).passed


class Transformer(nn.Module):
    """One encoder block over the rows of an image; heads of 8."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        width = widths["a"]
        self.embed = nn.Linear(8, width)
        self.positions = nn.Parameter(torch.randn(8, width) * 0.1)
        self.block = nn.TransformerEncoderLayer(
            width, width // 8, 2 * widths["b"], dropout=0.0, batch_first=True
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.unflatten(1, (8, 8))) + self.positions
        return self.head(self.block(x).mean(1))


def test_a_transformer_is_flat_under_mup_and_grows_without(digits: Data) -> None:
    objective = make_objective(build=Transformer, data=digits, base=Path())
    mup = derive_mup(objective.build, BASE, OTHERS, inputs=digits.train.inputs[:2])
    widths = growing([16, 64, 256])
    settings = ProxySettings(learning_rate=2**-7, batch_size=32, device="cpu")
    right = coordinate_check(objective, mup, widths, settings)
    assert right.passed, right.table()
    assert not coordinate_check(objective, StandardParametrisation(), widths, settings).passed


class Summed(nn.Module):
    """Adds its channels up without a weight: no factor on a parameter can make that flat."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, widths["a"])
        self.head = nn.Linear(1, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x).relu().sum(1, keepdim=True))


def test_what_reading_parameters_cannot_tell_is_found(digits: Data) -> None:
    objective = make_objective(build=Summed, data=digits, base=Path())
    mup = derive_mup(objective.build, {"a": 16}, [{"a": 64}])
    report = coordinate_check(objective, mup, [{"a": a} for a in (16, 64, 256)], LARGE)
    failing = [row.layer for row in report.rows if not row.passed]
    assert failing == ["head", MODEL_OUTPUT]
    assert "at the layer 'head'" in report.summary or MODEL_OUTPUT in report.summary


class Attention(nn.Module):
    """One head as long as the width over the rows of an image, by hand or by torch's function."""

    def __init__(self, width: int, by_hand: bool, scale: float) -> None:
        super().__init__()
        self.by_hand, self.scale = by_hand, scale
        self.embed, self.project = nn.Linear(8, width), nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(self.embed(x.unflatten(1, (8, 8)))).chunk(3, -1)
        if self.by_hand:
            x = (q @ k.mT * self.scale).softmax(-1) @ v
        else:
            x = nn.functional.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.head(x.mean(1))


@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "by torch's function"])
def test_scores_that_grow_are_found_although_a_softmax_hides_them(
    by_hand: bool, digits: Data
) -> None:
    verdicts = {}
    for power in (0, 1):

        def build(widths: Widths, power: int = power) -> nn.Module:
            return Attention(widths["a"], by_hand, 4 / widths["a"] ** power)

        objective = make_objective(build=build, data=digits, base=Path())
        mup = derive_mup(objective.build, {"a": 16}, [{"a": 64}])
        widths = [{"a": a} for a in (16, 64, 256)]
        settings = ProxySettings(batch_size=32, device="cpu")
        report = coordinate_check(objective, mup, widths, settings)
        (scores,) = (row for row in report.rows if row.layer == "softmax 1")
        verdicts[power] = (scores.passed, report.passed)
    assert verdicts == {0: (False, False), 1: (True, True)}


def test_the_report_has_a_row_a_layer_and_slopes_for_each_step(digits: Data) -> None:
    objective = family("mlp", digits)
    widths = growing([16, 32])
    report = coordinate_check(objective, StandardParametrisation(), widths, LARGE, seeds=(0,))
    assert [row.layer for row in report.rows] == ["1", "3", "5", MODEL_OUTPUT]
    assert all(len(row.change) == UPDATE_STEPS for row in report.rows)
    assert all(len(row.sizes) == len(widths) for row in report.rows)
    assert report.widths == tuple(widths)
    assert len(report.table().splitlines()) == 1 + len(report.rows)


def test_it_leaves_the_random_streams_alone_and_repeats_itself(digits: Data) -> None:
    objective = family("mlp", digits, dropout=0.5)
    state = torch.get_rng_state()
    first, second = (
        coordinate_check(objective, StandardParametrisation(), growing([16, 32]), LARGE, seeds=(4,))
        for _ in range(2)
    )
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("sizes", [(16,), (16, 16)], ids=["one", "twice the same"])
def test_one_width_is_no_check(sizes: tuple[int, ...], digits: Data) -> None:
    with pytest.raises(ModelError, match="needs two widths or more, 1 given"):
        coordinate_check(family("mlp", digits), StandardParametrisation(), growing(sizes), LARGE)


def test_a_layer_that_is_there_at_some_widths_only(digits: Data) -> None:
    def build(widths: Widths) -> nn.Module:
        sizes = [64, *[8] * (widths["a"] // 16), 10]
        return nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))

    objective = make_objective(build=build, data=digits, base=Path())
    with pytest.raises(ModelError, match="runs at some widths only"):
        coordinate_check(
            objective, StandardParametrisation(), [{"a": 32}, {"a": 16}], LARGE, seeds=(0,)
        )


def test_the_steepest_slope_decides() -> None:
    row = LayerGrowth(layer="one", start=-0.5, change=(0.0, MAX_SLOPE), sizes=(1.0, 2.0))
    assert (row.max_slope, row.passed) == (MAX_SLOPE, False)


@pytest.mark.parametrize(
    ("name", "base", "others", "sizes"),
    [
        ("resnet", {"c1": 8, "c2": 8}, [{"c1": 32}, {"c2": 32}], (8, 16, 48)),
        (
            "transformer",
            {"d_model": 32, "d_ff": 32},
            [{"d_model": 64}, {"d_ff": 128}],
            (32, 96, 256),
        ),
        ("lstm", {"hidden1": 32, "hidden2": 32}, [{"hidden1": 64}, {"hidden2": 64}], (32, 96, 256)),
    ],
    ids=["resnet", "transformer", "lstm"],
)
def test_families_are_flat_under_mup_and_grow_without(
    name: str, base: Widths, others: Sequence[Widths], sizes: Sequence[int]
) -> None:
    image = name == "resnet"
    data = load_data("digits", base=Path(), seed=0, image=image)
    objective = family(name, data if image else _in_rows(data))  # eight steps of eight numbers
    rows = objective.data.train.inputs[:2]
    mup = derive_mup(objective.build, base, [{**base, **other} for other in others], inputs=rows)
    widths = [dict.fromkeys(base, size) for size in sizes]
    settings = ProxySettings(learning_rate=2**-6, batch_size=32, device="cpu")
    right = coordinate_check(objective, mup, widths, settings, seeds=(0,))
    assert right.passed, right.table()
    assert not coordinate_check(
        objective, StandardParametrisation(), widths, settings, seeds=(0,)
    ).passed


def _in_rows(data: Data) -> Data:
    train, validation, test = (
        replace(split, inputs=split.inputs.unflatten(1, (8, 8)))
        for split in (data.train, data.validation, data.test)
    )
    return replace(data, train=train, validation=validation, test=test, has_columns=False)
