"""Objectives: a user's builder, and what `check_builder` finds before a study starts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.arrays import read_result
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.load import load_data, make_dataset
from widthwise.objectives.errors import ImportFailure, MetricError, ModelError
from widthwise.objectives.model.metrics import METRICS, Metric
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.check_builder import check_builder
from widthwise.objectives.training.evaluate import evaluate_metric, predict

BASE = Path()
Widths = Mapping[str, int]


@pytest.fixture(scope="module")
def iris() -> Data:
    return load_data("iris", base=Path(), seed=0)


@pytest.fixture(scope="module")
def diabetes() -> Data:
    return load_data("diabetes", base=Path(), seed=0)


def custom_objective(build: Callable[[Widths], Any], data: Data, **options: Any) -> ModuleObjective:
    return make_objective(build=build, data=data, base=BASE, **options)


def two_layers(widths: Widths, outputs: int = 3) -> nn.Module:
    a, b = widths["a"], widths["b"]
    return nn.Sequential(
        nn.Linear(4, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU(), nn.Linear(b, outputs)
    )


SMALL_WIDTHS, LARGE_WIDTHS = {"a": 4, "b": 4}, {"a": 32, "b": 16}


def test_a_builder_by_reference(tmp_path: Path, iris: Data) -> None:
    (tmp_path / "own_model.py").write_text(
        "from torch import nn\ndef build(widths):\n    return nn.Linear(4, 3)\n"
    )
    objective = make_objective(build="own_model.py:build", data=iris, base=tmp_path)
    assert objective.name == "own_model.py:build"
    assert isinstance(objective.build({}), nn.Linear)
    assert (objective.metric.name, objective.loss_name) == ("accuracy", "cross_entropy")


def test_defaults_for_a_regression(diabetes: Data) -> None:
    objective = make_objective(family="mlp", data=diabetes, base=BASE)
    assert (objective.metric.name, objective.loss_name) == ("r2", "mse")


def test_a_builder_cannot_change_the_candidate(iris: Data) -> None:
    def build(widths: dict[str, int]) -> nn.Module:
        widths["a"] = 1
        return nn.Linear(4, 3)

    widths = {"a": 8}
    make_objective(build=build, data=iris, base=BASE).build(widths)  # type: ignore[arg-type]
    assert widths == {"a": 8}


def raising(widths: Widths) -> nn.Module:
    raise ValueError("heads do not divide")


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (raising, "raising: build(widths) raised ValueError: heads do not divide; the widths were"),
        (lambda widths: widths["z"], "raised KeyError: 'z'; the widths were {'a': 4, 'b': 4}"),
        (lambda _: None, "returned None: it must return a torch.nn.Module"),
        (lambda _: nn.Linear, "returned a type"),
        (lambda _: torch.zeros(3), "returned a Tensor"),
        (lambda: None, "raised TypeError"),
    ],
)
def test_a_builder_that_gives_no_module(build: Callable[..., Any], says: str, iris: Data) -> None:
    with pytest.raises(ModelError) as caught:
        custom_objective(build, iris).build(SMALL_WIDTHS)
    assert says in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_a_builder_raised_is_chained(iris: Data) -> None:
    with pytest.raises(ModelError) as caught:
        custom_objective(raising, iris).build(SMALL_WIDTHS)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_builder_that_runs_out_of_memory_made_no_mistake(iris: Data) -> None:
    def build(widths: Widths) -> nn.Module:
        return nn.Linear(2**40, 2**20)

    with pytest.raises(RuntimeError, match="allocate memory"):
        custom_objective(build, iris).build(SMALL_WIDTHS)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, ModelError, "either `build` or `family`"),
        ({"build": two_layers, "family": "mlp"}, ModelError, "exactly one"),
        ({"build": two_layers, "options": {"norm": "batch"}}, ModelError, "the options norm"),
        ({"family": "cnn"}, ModelError, "takes images"),
        ({"family": "mlp", "options": {"depth": 3}}, ModelError, "no option 'depth'"),
        ({"build": "gone.py:build"}, ImportFailure, "there is no file"),
        (
            {"family": "mlp", "metric": METRICS["r2"]},
            MetricError,
            "is for a regression, data",
        ),
        ({"family": "mlp", "loss": "huber"}, MetricError, "is for a regression"),
    ],
)
def test_an_objective_that_cannot_be(
    options: dict[str, Any], error: type[Exception], says: str, iris: Data
) -> None:
    with pytest.raises(error) as caught:
        make_objective(data=iris, base=BASE, **options)
    assert says in str(caught.value)


# Regression outputs beside targets


@pytest.mark.parametrize("squeeze", [False, True])
def test_a_column_of_outputs_meets_a_row_of_targets(squeeze: bool, diabetes: Data) -> None:
    objective = make_objective(family="mlp", data=diabetes, base=BASE)
    output = torch.randn(diabetes.validation.targets.shape)
    shaped = output if squeeze else output[:, None]
    targets = diabetes.validation.targets
    expected = (output - targets).square().mean()
    torch.testing.assert_close(objective.loss(shaped, targets), expected)
    perfect = targets if squeeze else targets[:, None]
    assert evaluate_metric(objective, perfect, targets) == 1.0


def test_metrics_are_in_the_targets_units(diabetes: Data) -> None:
    objective = make_objective(family="mlp", data=diabetes, metric=METRICS["mae"], base=BASE)
    targets = diabetes.validation.targets
    off_by_one_scale = evaluate_metric(objective, targets[:, None] + 1, targets)
    assert off_by_one_scale == pytest.approx(diabetes.target_scale[0], rel=1e-4)
    assert off_by_one_scale > 10


def test_a_users_metric_sees_units_and_shapes_alike(diabetes: Data) -> None:
    observed: list[tuple[Tensor, Tensor]] = []

    def keep(output: Tensor, target: Tensor) -> float:
        observed.append((output, target))
        return 0.0

    metric = Metric(name="keep", direction="maximize", function=keep)
    objective = make_objective(family="mlp", data=diabetes, metric=metric, base=BASE)
    evaluate_metric(objective, diabetes.test.targets[:, None], diabetes.test.targets)
    output, target = observed[0]
    assert output.shape == target.shape == (len(diabetes.test),)
    assert float(target.min()) >= 25
    torch.testing.assert_close(output, target)


def test_outputs_of_the_users_own_shape_stay_as_they_are(diabetes: Data) -> None:
    def likelihood(output: Tensor, target: Tensor) -> float:
        return float(((output[:, 0] - target) ** 2).mean())

    metric = Metric(name="own", direction="minimize", function=likelihood)
    objective = make_objective(family="mlp", data=diabetes, metric=metric, base=BASE)
    targets = diabetes.validation.targets
    assert evaluate_metric(objective, torch.stack([targets, targets * 0], dim=1), targets) == 0.0


def test_regressions_on_several_columns(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4))
    data = make_dataset(read_result("own", (x, x[:, :2] * 2.5)), seed=0)
    objective = make_objective(family="mlp", data=data, base=BASE)
    check_builder(objective, SMALL_WIDTHS, LARGE_WIDTHS)
    assert evaluate_metric(objective, data.test.targets, data.test.targets) == 1.0


# Evaluation


def test_outputs_are_predicted_in_batches_without_batch_statistics() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 2))
    inputs = torch.randn(10, 3)
    whole = predict(model, inputs, batch_size=100)
    torch.testing.assert_close(predict(model, inputs, batch_size=3), whole)
    assert not whole.requires_grad
    assert whole.shape == (10, 2)


def test_outputs_of_several_heads_are_joined_head_by_head() -> None:
    class Heads(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"a": x, "b": (x[:, :1], [x * 2])}

    outputs = predict(Heads(), torch.arange(12.0).reshape(6, 2), batch_size=4)
    assert outputs["a"].shape == (6, 2)
    assert outputs["b"][0].shape == (6, 1)
    assert torch.equal(outputs["b"][1][0], outputs["a"] * 2)


# Trying an objective out


def test_a_sound_objective_passes_and_leaves_the_streams_alone(iris: Data) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    check_builder(custom_objective(two_layers, iris), SMALL_WIDTHS, LARGE_WIDTHS)
    check_builder(make_objective(family="mlp", data=iris, base=BASE), SMALL_WIDTHS, LARGE_WIDTHS)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_space_of_one_candidate_varies_nothing(iris: Data) -> None:
    check_builder(custom_objective(lambda _: nn.Linear(4, 3), iris), SMALL_WIDTHS, SMALL_WIDTHS)


def test_a_builder_that_reads_values_is_built_in_earnest(iris: Data) -> None:
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


def test_a_width_that_cannot_move_alone_is_passed_over(iris: Data) -> None:
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
            "make it take samples of shape (4,)",
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


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        pytest.param(lambda o, t: (o[:, 0] - t) ** 2, "the loss is of shape (2,)", id="vector"),
        pytest.param(lambda *_: None, "the loss is of shape NoneType", id="none"),
        pytest.param(lambda o, t: o @ t, "the loss raised RuntimeError", id="raises"),
        pytest.param(lambda o, _: o.detach().mean(), "the loss has no gradient", id="detached"),
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
