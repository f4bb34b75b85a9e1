"""The check before a study: what a builder, a loss or a metric may get wrong."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.arrays.result import read_result
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.data.load import make_dataset
from widthwise.objectives.errors import MetricError, ModelError, ObjectiveError
from widthwise.objectives.model.metrics import Metric
from widthwise.objectives.model.objective import make_objective
from widthwise.objectives.training.check_builder import check_builder
from widthwise.objectives.training.evaluate import evaluate_metric
from widthwise.tests.objectives.model.builders import (
    BASE,
    LARGE_WIDTHS,
    SMALL_WIDTHS,
    Widths,
    custom_objective,
    two_layers,
)
from widthwise.tests.objectives.training.batch_models import (
    Columns,
    Named,
    TwoInputs,
    batch_objective,
    two_inputs,
)


def test_regressions_on_several_columns(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4))
    data = make_dataset(read_result("own", (x, x[:, :2] * 2.5)), seed=0)
    objective = make_objective(family="mlp", data=data, base=BASE)
    check_builder(objective, SMALL_WIDTHS, LARGE_WIDTHS)
    assert evaluate_metric(objective, data.test.targets, data.test.targets) == 1.0


def test_a_sound_objective_passes_and_leaves_the_streams_alone(iris: Data) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    check_builder(custom_objective(two_layers, iris), SMALL_WIDTHS, LARGE_WIDTHS)
    check_builder(make_objective(family="mlp", data=iris, base=BASE), SMALL_WIDTHS, LARGE_WIDTHS)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_space_of_one_candidate_varies_nothing(iris: Data) -> None:
    check_builder(custom_objective(lambda _: nn.Linear(4, 3), iris), SMALL_WIDTHS, SMALL_WIDTHS)


def test_a_builder_that_reads_values_is_built_with_real_tensors(iris: Data) -> None:
    def build(widths: Widths) -> nn.Module:
        rates = [rate.item() for rate in torch.linspace(0, 0.1, 2)]
        return nn.Sequential(two_layers(widths), nn.Dropout(rates[1]))

    check_builder(custom_objective(build, iris), SMALL_WIDTHS, LARGE_WIDTHS)


def test_a_largest_candidate_beyond_the_memory_is_no_mistake(iris: Data) -> None:
    def build(widths: Widths) -> nn.Module:
        assert torch.zeros(1).item() == 0
        return nn.Sequential(nn.Linear(4, widths["a"]), nn.Linear(widths["a"], 3))

    check_builder(custom_objective(build, iris), {"a": 4}, {"a": 2**48})


def test_widths_that_change_no_shape_count_when_a_module_holds_them(iris: Data) -> None:
    class Attention(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.first = nn.Linear(4, width)
            self.mixed = nn.MultiheadAttention(width, heads, batch_first=True)
            self.last = nn.Linear(width, 3)

        def forward(self, x: Tensor) -> Tensor:
            row = self.first(x)[:, None]
            return self.last(self.mixed(row, row, row)[0][:, 0])  # type: ignore[no-any-return]

    def build(widths: Widths) -> nn.Module:
        return Attention(widths["a"], widths["heads"])

    check_builder(custom_objective(build, iris), {"a": 8, "heads": 2}, {"a": 24, "heads": 4})


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_layer_of_width_0_has_to_be_left_out(iris: Data) -> None:
    def leaves_out(widths: Widths) -> nn.Module:
        hidden = [nn.Linear(4, widths["a"]), nn.ReLU()]
        if widths["b"]:
            hidden += [nn.Linear(widths["a"], widths["b"]), nn.ReLU()]
        return nn.Sequential(*hidden, nn.Linear(widths["b"] or widths["a"], 3))

    def ignores(widths: Widths) -> nn.Module:
        return two_layers(widths)

    check_builder(custom_objective(leaves_out, iris), {"a": 4, "b": 0}, LARGE_WIDTHS)
    with pytest.raises(ModelError, match="a width of 0 means that the layer is absent, so leave"):
        check_builder(custom_objective(ignores, iris), {"a": 4, "b": 0}, LARGE_WIDTHS)


def test_a_width_that_cannot_vary_alone_is_skipped(iris: Data) -> None:
    def build(widths: Widths) -> nn.Module:
        if widths["a"] % widths["b"]:
            raise ValueError("b must divide a")
        return two_layers(widths)

    check_builder(custom_objective(build, iris), {"a": 4, "b": 4}, {"a": 32, "b": 16})


class Tuple(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(4, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x), x


def first_only(widths: Widths) -> nn.Module:
    return two_layers({"a": widths["a"], "b": 8})


def only_small(widths: Widths) -> nn.Module:
    if widths["a"] > 8 and widths["b"] > 8:
        raise ValueError("too large")
    return two_layers(widths)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        pytest.param(first_only, "ignores 'b': the model is the same for 4 and for 16", id="one"),
        pytest.param(
            lambda _: two_layers(SMALL_WIDTHS), "build(widths) ignores 'a', 'b'", id="all"
        ),
        pytest.param(only_small, "raised ValueError: too large", id="largest"),
        pytest.param(
            lambda w: two_layers(w, 2),
            "gives outputs of shape (2, 2) for 2 samples, data 'iris' has 3 classes",
            id="outputs",
        ),
        pytest.param(
            lambda w: nn.Sequential(nn.Linear(5, w["a"]), nn.Linear(w["a"], w["b"])),
            "make it take samples of shape [4] float32",
            id="inputs",
        ),
        pytest.param(
            lambda w: nn.Sequential(Tuple(w["a"] + w["b"])), "the model returns a tuple", id="tuple"
        ),
        pytest.param(
            lambda w: two_layers(w).requires_grad_(False), "no parameter to train", id="frozen"
        ),
    ],
)
def test_a_builder_that_does_not_fit(
    build: Callable[[Widths], nn.Module], says: str, iris: Data
) -> None:
    with pytest.raises(ModelError) as caught:
        check_builder(custom_objective(build, iris), SMALL_WIDTHS, LARGE_WIDTHS)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left_out", [False, True], ids=["all told", "some left out"])
def test_a_single_logit_cannot_leave_labels_out(left_out: bool, iris: Data) -> None:
    """Binary cross-entropy against -100 would be a number like any other, and wrong."""

    def labelled(split: Split) -> Split:
        labels = (split.inputs > 0).long()
        gaps = (split.inputs > 1) & left_out
        return replace(split, targets=torch.where(gaps, -100, labels))

    labels = replace(
        iris,
        classes=("no", "yes"),
        outputs=4,
        train=labelled(iris.train),
        validation=labelled(iris.validation),
        test=labelled(iris.test),
    )
    single = custom_objective(lambda w: two_layers(w, 4), labels)
    if not left_out:
        check_builder(single, SMALL_WIDTHS, LARGE_WIDTHS)
        return
    says = r"outputs of shape \(2, 2, 4\); a single logit has no way to leave out"
    with pytest.raises(ModelError, match=says):
        check_builder(single, SMALL_WIDTHS, LARGE_WIDTHS)
    both = custom_objective(
        lambda w: nn.Sequential(two_layers(w, 8), nn.Unflatten(1, (2, 4))), labels
    )
    check_builder(both, SMALL_WIDTHS, LARGE_WIDTHS)


class Late(nn.Module):
    """Makes its head when it is first called, as some do instead of a lazy layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.head: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.head is None:
            self.head = nn.Linear(x.shape[1], 3)
        return self.head(x)  # type: ignore[no-any-return]


class Raising(nn.Module):
    """Raises what it is given, on more rows than `rows`."""

    def __init__(self, error: BaseException, rows: int = 0) -> None:
        super().__init__()
        self.layer, self.error, self.rows = nn.Linear(4, 3), error, rows

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.rows:
            raise self.error
        return self.layer(x)  # type: ignore[no-any-return]


ONE_MODEL = two_layers(SMALL_WIDTHS)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        pytest.param(lambda w: Late(w["a"]), "makes the parameter 'head.weight' in its", id="late"),
        pytest.param(lambda _: ONE_MODEL, "a second time: make a fresh module", id="same model"),
        pytest.param(lambda _: Raising(SystemExit(0)), "raised SystemExit: 0", id="exits"),
        pytest.param(lambda _: Raising(SystemExit(3), 2), "raised SystemExit: 3", id="exits late"),
        pytest.param(
            lambda _: Raising(asyncio.CancelledError()), "raised CancelledError", id="cancelled"
        ),
        pytest.param(lambda _: Raising(MemoryError(), 2), "memory ran out", id="memory"),
        pytest.param(lambda _: Raising(ValueError("odd"), 2), "ValueError: odd (at", id="split"),
    ],
)
def test_a_model_with_surprises(build: Callable[[Widths], Any], says: str, iris: Data) -> None:
    with pytest.raises(ModelError) as caught:
        check_builder(custom_objective(build, iris), SMALL_WIDTHS, SMALL_WIDTHS)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


class Scaling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.div_(255))  # type: ignore[no-any-return]


def scaling_loss(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output, target.clamp_(max=0))


def scaling_metric(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(dim=1) == target.fill_(2)).float().mean()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"build": lambda _: Scaling()}, "the model changes its inputs", id="model"),
        pytest.param({"loss": scaling_loss}, "the loss changes its targets", id="loss"),
        pytest.param(
            {"metric": Metric(name="own", direction="maximize", function=scaling_metric)},
            "the metric changes its targets",
            id="metric",
        ),
    ],
)
def test_what_changes_the_data_in_place_is_refused_and_has_not(
    options: dict[str, Any], says: str, iris: Data
) -> None:
    splits = (iris.train, iris.validation)
    before = [(split.inputs.clone(), split.targets.clone()) for split in splits]
    objective = custom_objective(options.pop("build", two_layers), iris, **options)
    with pytest.raises(ModelError, match=says):
        check_builder(objective, SMALL_WIDTHS, SMALL_WIDTHS)
    for split, (inputs, targets) in zip(splits, before, strict=True):
        assert torch.equal(split.inputs, inputs)
        assert torch.equal(split.targets, targets)


def exits(*_: Any) -> Tensor:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        pytest.param(lambda o, t: (o[:, 0] - t) ** 2, "the loss is of shape (2,)", id="vector"),
        pytest.param(lambda *_: None, "the loss is None: it must", id="none"),
        pytest.param(lambda o, t: o @ t, "the loss raised RuntimeError", id="raises"),
        pytest.param(lambda o, _: o.detach().mean(), "the loss has no gradient", id="detached"),
        pytest.param(lambda o, _: o.mean().item(), "the loss is a float: it must", id="float"),
        pytest.param(lambda o, _: (o > 0).sum(), "the loss has no gradient", id="count"),
        pytest.param(exits, "the loss raised SystemExit: 0", id="exits"),
    ],
)
def test_a_loss_that_does_not_fit(loss: Any, says: str, iris: Data) -> None:
    with pytest.raises(ModelError) as caught:
        check_builder(custom_objective(two_layers, iris, loss=loss), SMALL_WIDTHS, LARGE_WIDTHS)
    assert says in str(caught.value)


def test_a_metric_that_gives_no_number_is_found_before_training(iris: Data) -> None:
    metric = Metric(name="own", direction="maximize", function=lambda *_: None)
    with pytest.raises(MetricError, match="returned None"):
        check_builder(custom_objective(two_layers, iris, metric=metric), SMALL_WIDTHS, LARGE_WIDTHS)


def test_several_heads_with_a_loss_and_metric_of_ones_own(iris: Data) -> None:
    objective = custom_objective(
        lambda widths: Tuple(widths["a"] + widths["b"]),
        iris,
        loss=lambda output, target: nn.functional.cross_entropy(output[0], target),
        metric=Metric(
            name="own",
            direction="maximize",
            function=lambda output, target: (output[0].argmax(dim=1) == target).float().mean(),
        ),
    )
    check_builder(objective, SMALL_WIDTHS, LARGE_WIDTHS)


def test_a_sound_model_of_several_inputs_passes() -> None:
    check_builder(batch_objective(), {"a": 4}, {"a": 8})


@pytest.mark.parametrize("missing", ["x", "y"])
def test_samples_with_missing_values_are_no_changed_ones(missing: str) -> None:
    class Filling(TwoInputs):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return super().forward(x.nan_to_num(), mask)

    def masked(output: Tensor, targets: Tensor) -> Tensor:
        known = ~targets.isnan()
        return (output - targets)[known].square().mean()

    def with_missing(row: int) -> dict[str, Any]:
        given = {"x": torch.ones(6), "mask": torch.ones(6), "y": torch.tensor(1.0)}
        if row % 3 == 1:
            given[missing] = torch.full_like(given[missing], torch.nan)
        return given

    metric = Metric(
        name="own", direction="minimize", function=lambda output, y: masked(output, y).item()
    )
    objective = batch_objective(
        lambda widths: Filling(widths["a"]), with_missing, loss=masked, metric=metric
    )
    check_builder(objective, {"a": 4}, {"a": 8})


def changes_targets(output: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.mse_loss(output, targets.zero_())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(
            {"build": lambda widths: nn.Linear(6, widths["a"])},
            "forward() got an unexpected keyword argument 'x' for inputs of shape "
            "x: [2, 6] float32, mask: [2, 6] float32: make it take samples of shape x: [6] float32",
            id="another signature",
        ),
        pytest.param(
            {"build": lambda widths: TwoInputs(widths["a"], "inputs")},
            "the model changes its inputs in place",
            id="changed inputs",
        ),
        pytest.param(
            {"loss": changes_targets}, "the loss changes its targets in place", id="changed targets"
        ),
        pytest.param(
            {"loss": lambda output, targets: nn.functional.cross_entropy(output, targets.long())},
            "and targets of shape [2] float32: make them fit",
            id="a loss that does not fit",
        ),
        pytest.param(
            {"sample": lambda row: {**two_inputs(row), "y": {"a": 1.0, "b": 2.0}}},
            "loss",
            id="several targets without a loss of their own",
        ),
        pytest.param(
            {"build": lambda widths: Named(widths["a"])},
            "the model returns a dict, the built-in loss takes one tensor",
            id="a mapping for a built-in loss",
        ),
        pytest.param(
            {
                "build": lambda widths: Columns(widths["a"]),
                "loss": lambda output, targets: (output - targets).square().mean(),
            },
            "for outputs of shape [8, 2] float32 and targets of shape [8] float32: choose a loss",
            id="columns that fit two rows by chance",
        ),
        pytest.param(
            {"loss": "model"}, 'loss = "model" takes the loss that forward returns', id="no loss"
        ),
    ],
)
def test_a_model_of_several_inputs_that_does_not_fit(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ObjectiveError, match=re.escape(says)):
        check_builder(batch_objective(**options), {"a": 4}, {"a": 8})
