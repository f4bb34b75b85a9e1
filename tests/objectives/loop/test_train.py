"""The proxy training: it learns, is reproducible, and reports its epochs and failures."""

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.arrays.result import read_result
from widthwise.objectives.data.batches import BatchSampler
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.data.input_noise import add_noise
from widthwise.objectives.data.load import load_data, make_dataset
from widthwise.objectives.data.split import take_share
from widthwise.objectives.engines.registry import ENGINES
from widthwise.objectives.errors import MetricError, ModelError
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.metrics import METRICS, Metric
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.randomness import Randomness
from widthwise.objectives.training.check_builder import check_builder
from widthwise.objectives.training.settings import ProxySettings
from widthwise.tests.objectives.engines.equality import family_objective, make_clusters
from widthwise.tests.objectives.loop.together import network
from widthwise.tests.objectives.model.builders import custom_objective

BASE = Path()
WIDTHS = {"a": 16, "b": 8}
SHORT_SETTINGS = ProxySettings(epochs=3, device="cpu", judge_test=True)


@pytest.fixture(scope="module")
def objective(iris: Data) -> ModuleObjective:
    return make_objective(
        family="mlp", options={"dropout": 0.3, "norm": "batch"}, data=iris, base=BASE
    )


def without_seconds(result: TrainingResult) -> TrainingResult:
    return replace(result, seconds=0.0)


# Learning


def test_an_mlp_learns_the_digits() -> None:
    data = load_data("digits", base=Path(), seed=0)
    objective = make_objective(family="mlp", data=data, base=BASE)
    settings = ProxySettings(device="cpu", judge_test=True)
    result = train(objective, {"a": 64, "b": 64}, settings, seed=1)
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


# The test split and the callback


def test_test_rows_influence_no_choice(iris: Data, objective: ModuleObjective) -> None:
    other = replace(iris, test=Split(inputs=-iris.test.inputs, targets=2 - iris.test.targets))
    changed = replace(objective, data=other)
    first, second = (train(each, WIDTHS, SHORT_SETTINGS, seed=0) for each in (objective, changed))
    assert without_seconds(replace(first, test_value=None)) == without_seconds(
        replace(second, test_value=None)
    )


def test_the_test_split_is_judged_only_where_asked(objective: ModuleObjective) -> None:
    asked, unasked = (
        train(objective, WIDTHS, replace(SHORT_SETTINGS, judge_test=judge_test), seed=0)
        for judge_test in (True, False)
    )
    assert asked.test_value is not None
    assert without_seconds(replace(asked, test_value=None)) == without_seconds(unasked)


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

    settings = ProxySettings(epochs=60, learning_rate=0.05, patience=0, device="cpu")
    for build in (lambda _: Flat(), lambda _: nn.Linear(3, 1)):
        result = train(make_objective(build=build, data=data, base=BASE), {}, settings, seed=0)
        assert result.value is not None
        assert result.value > 0.99


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
def test_a_training_is_that_of_a_plain_torch_loop(schedule: Any) -> None:
    """Schedule, decay, noise and a share of the rows, by torch's own optimizer and schedulers."""
    data = make_clusters(rows=50)
    settings = ProxySettings(
        epochs=3, batch_size=16, learning_rate=0.02, weight_decay=0.1, patience=0, device="cpu",
        schedule=schedule, input_noise=0.2, train_share=0.6,
    )  # fmt: skip
    objective = make_objective(build=lambda _: network(5), data=data, base=Path())
    result = train(objective, {}, settings, seed=7)

    part = take_share(data, 0.6).train
    steps = math.ceil(len(part) / 16)
    with Randomness(7, torch.device("cpu")):
        model = network(5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    scheduler = {
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3 * steps),
        "one-cycle": lambda: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.02, total_steps=3 * steps, cycle_momentum=False
        ),
    }[schedule]()
    order, scale, step = BatchSampler(len(part), 16, 7), 0.2 * part.inputs.std(0, correction=0), 0
    losses = []
    for _ in range(3):
        total = 0.0
        for rows in order.batches_until(1.0):
            inputs = add_noise(part.inputs[rows], scale, 7, step)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), part.targets[rows])
            loss.backward()
            optimizer.step()
            step += 1
            if step < 3 * steps:
                scheduler.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(part))
    assert list(result.losses) == pytest.approx(losses, rel=1e-9)
    with torch.no_grad():
        outputs = model(data.validation.inputs)
    loss = nn.functional.cross_entropy(outputs, data.validation.targets)
    assert result.validation_losses[-1] == pytest.approx(float(loss), rel=1e-9)


@pytest.mark.parametrize("engine", ["plain", "replay", "stacked"])
def test_logits_with_the_classes_last_are_those_on_axis_1(engine: str) -> None:
    class NextToken(nn.Module):
        def __init__(self, width: int, *, classes_last: bool) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(5, width), nn.Linear(width, 5)
            self.classes_last = classes_last

        def forward(self, tokens: Tensor) -> Tensor:
            logits: Tensor = self.head(self.embed(tokens))
            return logits if self.classes_last else logits.movedim(-1, 1)

    tokens = np.random.default_rng(0).integers(0, 5, size=(60, 7))
    data = make_dataset(read_result("own", (tokens, (tokens + 1) % 5)), seed=0)
    last, on_axis_1 = (
        custom_objective(lambda widths, last=last: NextToken(widths["a"], classes_last=last), data)
        for last in (True, False)
    )
    check_builder(last, {"a": 4}, {"a": 16})
    trained = train(last, {"a": 16}, SHORT_SETTINGS, seed=0, engine=ENGINES[engine].create())
    expected = train(on_axis_1, {"a": 16}, SHORT_SETTINGS, seed=0)
    # The sums are in the order in which the logits lie in memory.
    assert trained.losses == pytest.approx(expected.losses, rel=1e-5)
    assert (trained.value, trained.test_value) == (expected.value, expected.test_value)
    assert trained.engine == engine
