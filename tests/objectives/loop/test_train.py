"""The proxy training: it learns, is reproducible, stops early, and reports failures."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.arrays import read_result
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.data.load import load_data, make_dataset
from widthwise.objectives.errors import MetricError, ModelError
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.metrics import METRICS, Metric
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.randomness import Randomness
from widthwise.objectives.training.evaluate import evaluate_metric, predict
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.engines.equality import family_objective, make_clusters

BASE = Path()
WIDTHS = {"a": 16, "b": 8}
SHORT_SETTINGS = ProxySettings(epochs=3, device="cpu")


@pytest.fixture(scope="module")
def iris() -> Data:
    return load_data("iris", base=Path(), seed=0)


@pytest.fixture(scope="module")
def objective(iris: Data) -> ModuleObjective:
    return make_objective(
        family="mlp", options={"dropout": 0.3, "norm": "batch"}, data=iris, base=BASE
    )


def without_seconds(result: TrainingResult) -> TrainingResult:
    return replace(result, seconds=0.0)


def scripted(values: list[float], data: Data, direction: Any = "maximize") -> ModuleObjective:
    """Return an objective whose metric follows a script, call by call."""
    remaining = iter(values)
    metric = Metric(name="script", direction=direction, function=lambda *_: next(remaining))
    return make_objective(family="mlp", data=data, metric=metric, base=BASE)


# Learning


def test_an_mlp_learns_the_digits() -> None:
    data = load_data("digits", base=Path(), seed=0)
    objective = make_objective(family="mlp", data=data, base=BASE)
    result = train(objective, {"a": 64, "b": 64}, ProxySettings(device="cpu"), seed=1)
    assert result.outcome == "complete"
    assert result.value is not None
    assert result.value > 0.93
    assert result.test_value is not None
    assert result.test_value > 0.92
    assert result.losses[-1] < result.losses[0] / 10
    assert result.parameters == 65 * 64 + 65 * 64 + 65 * 10
    assert result.device == "cpu"
    assert result.detail is None


def test_a_cnn_learns_the_digits() -> None:
    data = load_data("digits", base=Path(), seed=0, image=True)
    objective = make_objective(family="cnn", data=data, base=BASE)
    settings = ProxySettings(epochs=8, learning_rate=1e-2, device="cpu")
    result = train(objective, {"a": 8, "b": 16}, settings, seed=1)
    assert result.value is not None
    assert result.value > 0.85


def test_an_mlp_learns_a_regression() -> None:
    data = load_data("diabetes", base=Path(), seed=0)
    objective = make_objective(family="mlp", data=data, metric=METRICS["rmse"], base=BASE)
    result = train(objective, {"a": 64, "b": 64}, ProxySettings(device="cpu"), seed=1)
    spread = float(data.in_target_units(data.validation.targets).std())
    assert result.value is not None
    assert 20 < result.value < 0.8 * spread


# Repeating


def test_the_same_seed_gives_the_same_bits_whatever_ran_before(
    objective: ModuleObjective,
) -> None:
    first = train(objective, WIDTHS, SHORT_SETTINGS, seed=7)
    torch.manual_seed(99)
    torch.rand(5)
    random.random()
    np.random.rand(3)
    train(objective, {"a": 5, "b": 3}, SHORT_SETTINGS, seed=1)
    assert without_seconds(train(objective, WIDTHS, SHORT_SETTINGS, seed=7)) == without_seconds(
        first
    )
    assert train(objective, WIDTHS, SHORT_SETTINGS, seed=8).losses != first.losses


def test_models_that_draw_from_numpy_and_random_repeat_too(iris: Data) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            noise = random.gauss(1, 0.1) * np.random.rand()
            return self.layer(x) * noise  # type: ignore[no-any-return]

    objective = make_objective(build=lambda _: Noisy(), data=iris, base=BASE)
    first = train(objective, {}, SHORT_SETTINGS, seed=3)
    np.random.seed(5)
    random.seed(5)
    assert without_seconds(train(objective, {}, SHORT_SETTINGS, seed=3)) == without_seconds(first)


def test_the_callers_random_streams_are_not_changed(objective: ModuleObjective) -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    def seed() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    seed()
    expected = draws(), draws()
    seed()
    between = []
    train(
        objective,
        WIDTHS,
        replace(SHORT_SETTINGS, epochs=1),
        seed=7,
        on_epoch=lambda *_: between.append(draws()),
    )
    assert (between[0], draws()) == expected


def test_what_a_callback_draws_does_not_change_the_training(objective: ModuleObjective) -> None:
    plain = train(objective, WIDTHS, SHORT_SETTINGS, seed=7)
    drawing = train(
        objective, WIDTHS, SHORT_SETTINGS, seed=7, on_epoch=lambda *_: torch.manual_seed(0)
    )
    assert without_seconds(drawing) == without_seconds(plain)


@pytest.mark.parametrize("seed", [0, 2**32, 2**63 - 1])
def test_any_seed_is_accepted(seed: int, objective: ModuleObjective) -> None:
    assert (
        train(objective, WIDTHS, replace(SHORT_SETTINGS, epochs=1), seed=seed).outcome == "complete"
    )


# Stopping


@pytest.mark.parametrize(
    ("direction", "values", "patience", "epochs", "best_epoch", "best"),
    [
        ("maximize", [1, 2, 2, 1, 0, 9], 3, 5, 1, 2.0),
        ("minimize", [5, 4, 4, 5, 6, 0], 3, 5, 1, 4.0),
        ("maximize", [1, 2, 1, 3, 1, 1], 2, 6, 3, 3.0),
        ("maximize", [3, 2, 1, 0, 0, 5], 0, 6, 5, 5.0),
        ("maximize", [3, 2, 1, 0, 0, 5], 1, 2, 0, 3.0),
    ],
    ids=["three without a better", "minimize", "the last epoch", "no patience set", "one"],
)
def test_early_stopping_waits_for_patience(
    direction: str,
    values: list[float],
    patience: int,
    epochs: int,
    best_epoch: int,
    best: float,
    iris: Data,
) -> None:
    objective = scripted([*values[:epochs], 77.0], iris, direction)
    settings = ProxySettings(epochs=6, patience=patience, device="cpu")
    result = train(objective, WIDTHS, settings, seed=0)
    assert result.epochs == len(result.curve) == len(result.losses) == epochs
    assert result.curve == tuple(values[:epochs])
    assert (result.best_epoch, result.value) == (best_epoch, best)
    assert result.test_value == 77.0


def test_the_best_epochs_weights_are_evaluated_on_the_test_split(iris: Data) -> None:
    states: list[dict[str, Tensor]] = []
    modules: list[nn.Module] = []

    def build(widths: Mapping[str, int]) -> nn.Module:
        modules.append(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)))
        return modules[-1]

    def keep(_: int, __: float) -> None:
        states.append({key: value.clone() for key, value in modules[-1].state_dict().items()})

    objective = make_objective(build=build, data=iris, metric=METRICS["cross_entropy"], base=BASE)
    settings = ProxySettings(epochs=40, learning_rate=0.3, patience=5, device="cpu")
    result = train(objective, {}, settings, seed=0, on_epoch=keep)
    assert result.best_epoch is not None
    assert result.best_epoch < result.epochs - 1
    modules[-1].load_state_dict(states[result.best_epoch])
    expected = evaluate_metric(objective, predict(modules[-1], iris.test.inputs), iris.test.targets)
    assert result.test_value == expected
    assert result.value == min(result.curve)


def test_test_rows_influence_no_choice(iris: Data, objective: ModuleObjective) -> None:
    other = replace(iris, test=Split(inputs=-iris.test.inputs, targets=2 - iris.test.targets))
    changed = replace(objective, data=other)
    first, second = (train(each, WIDTHS, SHORT_SETTINGS, seed=0) for each in (objective, changed))
    assert without_seconds(replace(first, test_value=None)) == without_seconds(
        replace(second, test_value=None)
    )


def test_no_test_split_gives_no_test_value(iris: Data) -> None:
    empty = Split(inputs=iris.test.inputs[:0], targets=iris.test.targets[:0])
    objective = make_objective(family="mlp", data=replace(iris, test=empty), base=BASE)
    result = train(objective, WIDTHS, SHORT_SETTINGS, seed=0)
    assert (result.outcome, result.test_value) == ("complete", None)


def test_each_epoch_is_reported(objective: ModuleObjective) -> None:
    recorded: list[tuple[int, float]] = []
    result = train(
        objective,
        WIDTHS,
        SHORT_SETTINGS,
        seed=0,
        on_epoch=lambda k, value: recorded.append((k, value)),
    )
    assert recorded == list(enumerate(result.curve))


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), RuntimeError("drained"), MemoryError("the callback's own")],
    ids=["interrupt", "runtime", "memory"],
)
def test_what_a_callback_raises_propagates_untouched(
    error: BaseException, objective: ModuleObjective
) -> None:
    def stop(_: int, __: float) -> None:
        raise error

    torch.manual_seed(2)
    before = torch.get_rng_state()
    with pytest.raises(type(error)) as caught:
        train(objective, WIDTHS, SHORT_SETTINGS, seed=0, on_epoch=stop)
    assert caught.value is error
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_that_fails_is_not_reported(iris: Data) -> None:
    recorded: list[tuple[int, float]] = []
    objective = scripted([0.5, 0.6, float("nan")], iris)
    result = train(
        objective, WIDTHS, SHORT_SETTINGS, seed=0, on_epoch=lambda *one: recorded.append(one)
    )
    assert result.outcome == "nan"
    assert recorded == [(0, 0.5), (1, 0.6)]


# Batches


@pytest.mark.parametrize(
    ("rows", "batch_size", "sizes"),
    [
        pytest.param(90, 32, [32, 32, 26], id="a shorter last one"),
        pytest.param(90, 89, [89], id="a lone last row is left out"),
        pytest.param(90, 128, [90], id="all at once"),
        pytest.param(90, 90, [90], id="exactly"),
        pytest.param(5, 1, [1, 1, 1, 1, 1], id="singles"),
    ],
)
def test_every_row_is_in_a_batch(rows: int, batch_size: int, sizes: list[int], iris: Data) -> None:
    recorded: list[Tensor] = []

    class Watching(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                recorded.append(x)
            return super().forward(x)

    short = Split(inputs=iris.train.inputs[:rows], targets=iris.train.targets[:rows])
    objective = make_objective(
        build=lambda _: Watching(4, 3), data=replace(iris, train=short), base=BASE
    )
    train(objective, {}, ProxySettings(epochs=2, batch_size=batch_size, device="cpu"), seed=0)
    half = len(recorded) // 2
    assert [len(batch) for batch in recorded] == sizes * 2
    first, second = torch.cat(recorded[:half]), torch.cat(recorded[half:])
    assert not torch.equal(first, second)
    if sum(sizes) == rows:
        assert torch.equal(first.sort(dim=0).values, short.inputs.sort(dim=0).values)


def test_a_lone_last_row_does_not_break_batch_norm(iris: Data) -> None:
    objective = make_objective(family="mlp", options={"norm": "batch"}, data=iris, base=BASE)
    assert len(iris.train) % 89 == 1
    settings = ProxySettings(epochs=2, batch_size=89, device="cpu")
    assert train(objective, WIDTHS, settings, seed=0).outcome == "complete"


def test_the_model_is_in_the_right_mode(iris: Data) -> None:
    modes: list[bool] = []

    class Watching(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            modes.append(self.training)
            return super().forward(x)

    objective = make_objective(build=lambda _: Watching(4, 3), data=iris, base=BASE)
    train(objective, {}, ProxySettings(epochs=2, batch_size=90, device="cpu"), seed=0)
    assert modes == [True, False, True, False, False]


# Parts of a batch, and lower precision


def test_a_training_in_parts_is_the_training_in_whole_batches() -> None:
    objective = family_objective("mlp", make_clusters(rows=41))
    whole, parts = (
        train(
            objective,
            WIDTHS,
            ProxySettings(epochs=3, batch_size=12, accumulate=accumulate, device="cpu"),
            seed=1,
        )
        for accumulate in (1, 5)
    )
    assert parts.losses == pytest.approx(whole.losses, rel=1e-9)
    assert parts.curve == pytest.approx(whole.curve, rel=1e-9)


def test_batch_norm_trains_in_parts_of_a_short_last_batch() -> None:
    """Of 16 rows in 4 parts each has 4; the last 5 rows make 2 parts, not 4 of which 3 are lone."""
    objective = family_objective("mlp", make_clusters(rows=37), norm="batch")
    settings = ProxySettings(epochs=2, batch_size=16, accumulate=4, device="cpu")
    assert train(objective, WIDTHS, settings, seed=1).outcome == "complete"


def test_lower_precision_computes_low_and_keeps_high(iris: Data) -> None:
    models: list[nn.Module] = []
    computed: set[torch.dtype] = set()
    evaluated: set[torch.dtype] = set()

    class Watching(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            computed.add(out.dtype)
            return out

    def build(_: Any) -> nn.Module:
        models.append(nn.Sequential(Watching(4, 16), nn.ReLU(), nn.Linear(16, 3)))
        return models[-1]

    def accuracy(output: Tensor, target: Tensor) -> float:
        evaluated.add(output.dtype)
        return METRICS["accuracy"].function(output, target)  # type: ignore[no-any-return]

    metric = Metric(name="own", direction="maximize", function=accuracy)
    objective = make_objective(build=build, data=iris, metric=metric, base=BASE)
    settings = ProxySettings(epochs=20, learning_rate=0.02, precision="bfloat16", device="cpu")
    first, again = (train(objective, {}, settings, seed=1) for _ in range(2))
    assert computed == {torch.bfloat16}
    assert evaluated == {torch.float32}
    assert {parameter.dtype for parameter in models[-1].parameters()} == {torch.float32}
    assert first.value is not None
    assert first.value > 0.8
    assert without_seconds(first) == without_seconds(again)
    full = train(objective, {}, replace(settings, precision="float32"), seed=1)
    assert full.losses != first.losses
    assert full.losses == pytest.approx(first.losses, rel=0.1)


# What went wrong


def test_a_nan_loss_is_an_outcome(iris: Data) -> None:
    calls = []

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        calls.append(1)
        return output.mean() * (float("nan") if len(calls) > 4 else 1.0)

    objective = make_objective(family="mlp", data=iris, loss=loss, base=BASE)
    result = train(objective, WIDTHS, replace(SHORT_SETTINGS, batch_size=45), seed=0)
    assert result.outcome == "nan"
    assert result.detail == "the training loss became nan in epoch 2"
    assert (result.value, result.test_value, result.best_epoch) == (None, None, None)
    assert (result.epochs, len(result.curve), len(result.losses)) == (2, 2, 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_nan_metric_is_an_outcome(value: float, iris: Data) -> None:
    result = train(scripted([0.5, value], iris), WIDTHS, SHORT_SETTINGS, seed=0)
    assert result.outcome == "nan"
    assert result.detail == f"the validation script became {value} in epoch 1"
    assert result.curve == (0.5,)


def test_a_real_divergence_is_an_outcome(iris: Data) -> None:
    settings = ProxySettings(epochs=50, learning_rate=1e30, patience=0, device="cpu")
    result = train(make_objective(family="mlp", data=iris, base=BASE), WIDTHS, settings, seed=0)
    assert result.outcome == "nan"


def raise_out_of_memory(_: Any) -> nn.Module:
    return nn.Linear(2**40, 2**20)


class OutOfMemoryLayer(nn.Linear):
    def forward(self, _: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nand more")


@pytest.mark.parametrize(
    ("build", "parameters", "says"),
    [
        pytest.param(raise_out_of_memory, 0, "memory ran out while it was built", id="building"),
        pytest.param(
            lambda _: OutOfMemoryLayer(4, 3), 15, "memory ran out in epoch 0", id="training"
        ),
    ],
)
def test_running_out_of_memory_is_an_outcome(
    build: Callable[[Any], nn.Module], parameters: int, says: str, iris: Data
) -> None:
    objective = make_objective(build=build, data=iris, base=BASE)
    result = train(objective, {}, SHORT_SETTINGS, seed=0)
    assert result.outcome == "out_of_memory"
    assert result.detail is not None
    assert says in result.detail
    assert "\n" not in result.detail
    assert (result.parameters, result.value, result.epochs) == (parameters, None, 0)


def test_other_exceptions_propagate(iris: Data) -> None:
    objective = make_objective(build=lambda _: nn.Linear(5, 3), data=iris, base=BASE)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(objective, {}, SHORT_SETTINGS, seed=0)


def test_a_builder_that_raises_is_the_users(iris: Data) -> None:
    objective = make_objective(build=lambda widths: widths["z"], data=iris, base=BASE)
    with pytest.raises(ModelError, match="raised KeyError: 'z'"):
        train(objective, {"a": 1}, SHORT_SETTINGS, seed=0)


def test_a_metric_that_gives_no_number_is_the_users(iris: Data) -> None:
    metric = Metric(name="own", direction="maximize", function=lambda *_: None)
    objective = make_objective(family="mlp", data=iris, metric=metric, base=BASE)
    with pytest.raises(MetricError, match="metric own returned None"):
        train(objective, WIDTHS, SHORT_SETTINGS, seed=0)


# Devices and the optimizer


def test_frozen_parameters_stay(iris: Data) -> None:
    kept: list[nn.Linear] = []

    def build(_: Any) -> nn.Module:
        kept.append(nn.Linear(4, 4).requires_grad_(False))
        return nn.Sequential(kept[-1], nn.Linear(4, 3))

    objective = make_objective(build=build, data=iris, base=BASE)
    result = train(objective, {}, SHORT_SETTINGS, seed=0)
    assert result.parameters == 20 + 15
    with torch.random.fork_rng(devices=[]), Randomness(0, torch.device("cpu")):
        assert torch.equal(nn.Linear(4, 4).weight, kept[-1].weight)


def test_a_users_regression_trains_with_flat_outputs() -> None:
    x = np.random.default_rng(0).normal(size=(200, 3))
    data = make_dataset(read_result("own", (x, x @ [1.0, -2.0, 0.5])), seed=0)

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)[:, 0]  # type: ignore[no-any-return]

    settings = ProxySettings(epochs=30, learning_rate=0.1, device="cpu")
    for build in (lambda _: Flat(), lambda _: nn.Linear(3, 1)):
        result = train(make_objective(build=build, data=data, base=BASE), {}, settings, seed=0)
        assert result.value is not None
        assert result.value > 0.99
