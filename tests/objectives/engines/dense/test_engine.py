"""The dense engine: the plain engine's numbers for every perceptron, whatever the others do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.engines.base import Engine, EngineUnsupported, Member, TrainingSetup
from widthwise.objectives.engines.dense.engine import DenseEngine, DenseSession
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.model.families.activations import ACTIVATIONS
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.settings import Halving, ProxySettings
from widthwise.tests.objectives.engines.equality import (
    CPU,
    assert_equal_results,
    assert_equal_sessions,
    family_objective,
    make_clusters,
    train_epochs,
    without_fused_optimizer,
)

DATA = make_clusters()
QUICK_SETTINGS = ProxySettings(batch_size=16, weight_decay=0.05, judge_test=True)


def member(*widths: int, seed: int = 3, rate: float = 1e-2) -> Member:
    named = {f"w{index}": width for index, width in enumerate(widths)}
    return Member(widths=named, seed=seed, learning_rate=rate)


def training(objective: ModuleObjective, **options: Any) -> TrainingSetup:
    chosen = ProxySettings(**{"batch_size": 16, **options})
    return TrainingSetup(objective=objective, data=objective.data, settings=chosen, device=CPU)


def custom_objective(build: Any, data: Data = DATA, loss: Any = None) -> ModuleObjective:
    def in_type(widths: Mapping[str, int]) -> nn.Module:
        model: nn.Module = build(widths)
        return model.to(data.train.inputs.dtype)

    return make_objective(build=in_type, data=data, loss=loss, base=Path())


def regression(*columns: int) -> Data:
    stream = torch.Generator().manual_seed(5)

    def split(rows: int) -> Split:
        inputs = torch.randn(rows, 7, generator=stream, dtype=torch.float64)
        return Split(inputs=inputs, targets=torch.randn(rows, *columns, generator=stream).double())

    return Data(
        name="quantities",
        task="regression",
        train=split(70),
        validation=split(30),
        test=split(20),
        outputs=math.prod(columns),
    )


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_layer_of_the_family_trains_as_in_plain_torch(activation: str, norm: str) -> None:
    objective = family_objective("mlp", DATA, activation=activation, norm=norm, dropout=0.3)
    members = [member(5, 9), member(17, 4, 30, seed=2**63 - 1, rate=1e-3)]
    assert_equal_sessions(DenseEngine(), objective, members, QUICK_SETTINGS)


@settings(deadline=None, max_examples=25)
@given(
    # Layer normalisation of one or two numbers leaves of their gradient little but rounding.
    widths=st.lists(st.integers(4, 150), min_size=1, max_size=4),
    seed=st.integers(0, 2**63 - 1),
    rate=st.floats(1e-4, 0.02),
    decay=st.sampled_from([0.0, 0.1]),
    batch=st.integers(5, 100),
    dropout=st.sampled_from([0.0, 0.1, 0.8]),
    norm=st.sampled_from(["none", "batch", "layer"]),
    activation=st.sampled_from(list(ACTIVATIONS)),
)
def test_any_widths_and_options_train_as_in_plain_torch(
    widths: list[int],
    seed: int,
    rate: float,
    decay: float,
    batch: int,
    dropout: float,
    norm: str,
    activation: str,
) -> None:
    objective = family_objective("mlp", DATA, activation=activation, norm=norm, dropout=dropout)
    chosen = ProxySettings(batch_size=batch, weight_decay=decay)
    single_member = member(*widths, seed=seed, rate=rate)
    assert_equal_sessions(DenseEngine(), objective, [single_member], chosen, epochs=2)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
@pytest.mark.parametrize("columns", [(), (1,), (3,)], ids=str)
def test_regressions(columns: tuple[int, ...], loss: str) -> None:
    data = regression(*columns)
    plain = make_objective(family="mlp", data=data, loss=loss, base=Path())
    objective = replace(plain, builder=lambda widths: plain.builder(widths).double())
    assert_equal_sessions(DenseEngine(), objective, [member(6, 11)], QUICK_SETTINGS)


@pytest.mark.parametrize(
    "layers",
    [
        lambda w: [nn.BatchNorm1d(7), nn.Linear(7, w), nn.ReLU(), nn.BatchNorm1d(w), nn.Tanh()],
        lambda w: [nn.Linear(7, w), nn.LeakyReLU(0.2), nn.ReLU(), nn.ELU(0.5), nn.LayerNorm(w)],
        lambda w: [nn.ReLU(), nn.Linear(7, w), nn.Sequential(nn.Linear(w, w), nn.Dropout(0.4))],
        lambda w: [nn.Dropout(0.2), nn.Linear(7, w, bias=False), nn.Dropout(0.0), nn.Sigmoid()],
    ],
    ids=["norm first", "bends in a row", "nested", "dropout first"],
)
def test_layers_in_any_order(layers: Any) -> None:
    objective = custom_objective(
        lambda widths: nn.Sequential(*layers(widths["w0"]), nn.Linear(widths["w0"], 3))
    )
    assert_equal_sessions(DenseEngine(), objective, [member(12), member(5)], QUICK_SETTINGS)


def test_images_are_flattened() -> None:
    objective = family_objective("mlp", make_clusters(shape=(2, 3, 4)), norm="batch")
    assert_equal_sessions(DenseEngine(), objective, [member(8)], QUICK_SETTINGS)


class PerLayerRates:
    """Initial weights and rates that differ from layer to layer."""

    def initialise(self, model: nn.Module, widths: Mapping[str, int]) -> None:  # noqa: ARG002
        for index, parameter in enumerate(model.parameters()):
            parameter.mul_(1 / (1 + index))

    def learning_rate_factors(self, widths: Mapping[str, int]) -> Mapping[str, float]:  # noqa: ARG002
        return {"1.weight": 0.25, "3.weight": 4.0, "3.bias": 4.0, "5.weight": 0.5}


def test_rates_of_single_parameters() -> None:
    objective = family_objective("mlp", DATA)
    assert_equal_sessions(
        DenseEngine(), objective, [member(8, 6)], QUICK_SETTINGS, parametrisation=PerLayerRates()
    )


def test_results_with_early_stops_rungs_replicas_and_folds() -> None:
    objective = family_objective("mlp", DATA, norm="batch", dropout=0.2)
    candidates = [Candidate(widths={"a": 4 * k, "b": 30 - k}, seed=k) for k in range(1, 6)]
    chosen = ProxySettings(
        epochs=7,
        batch_size=16,
        patience=2,
        learning_rate=0.02,
        replicas=2,
        folds=2,
        rate_factors=(0.3, 1.0),
        halving=Halving(eta=2, first=0.5),
    )
    results = assert_equal_results(DenseEngine(), objective, candidates, chosen)
    assert {result.outcome for result in results if isinstance(result, TrainingResult)} == {
        "complete",
        "pruned",
    }


def test_a_network_that_diverges_harms_no_neighbour() -> None:
    data = make_clusters()
    data.train.inputs[:] *= 1e150
    objective = family_objective("mlp", data)
    separate = train_epochs(DenseEngine(), training(objective), [member(6)], 3)
    members = [member(9, rate=1e160), member(6), member(300, rate=math.inf)]
    joint = train_epochs(DenseEngine(), training(objective), members, 3)
    assert not math.isfinite(joint[1][0][-1])
    assert not math.isfinite(joint[1][2][-1])
    for name, value in separate[0][0].items():
        assert torch.equal(joint[0][1][name], value)


def test_results_of_networks_that_diverge() -> None:
    def build(widths: Mapping[str, int]) -> nn.Module:
        if widths["a"] == 13:
            raise ArithmeticError("unlucky")
        model = nn.Sequential(nn.Linear(7, widths["a"]), nn.ReLU(), nn.Linear(widths["a"], 3))
        with torch.no_grad():
            model[0].weight.mul_(1e308 if widths["a"] == 8 else 1)
        return model

    candidates = [Candidate(widths={"a": width}, seed=2) for width in (5, 8, 13, 21)]
    chosen = ProxySettings(epochs=3, batch_size=16, learning_rate=0.01)
    results, expected = (
        train_together(custom_objective(build), candidates, chosen, device=CPU, engine=engine)
        for engine in (DenseEngine(), PlainEngine())
    )
    for result, plain in zip(results, expected, strict=True):
        assert type(result) is type(plain)
        if isinstance(result, TrainingResult) and isinstance(plain, TrainingResult):
            assert (result.outcome, result.detail, result.value) == (
                plain.outcome,
                plain.detail,
                plain.value,
            )
    assert [getattr(result, "outcome", None) for result in results] == [
        "complete",
        "nan",
        None,
        "complete",
    ]


@pytest.mark.parametrize("engine", [DenseEngine(), PlainEngine()], ids=["dense", "plain"])
def test_a_batch_without_rows_ends_one_member_alone(engine: Engine) -> None:
    session = engine.start(
        training(family_objective("mlp", DATA)), [member(6), member(6), member(6)]
    )
    none, some = torch.empty(0, dtype=torch.int64), torch.arange(16)
    assert session.advance({0: [none], 1: [some], 2: [some, none]}).keys() == {1}
    assert session.failures.keys() == {0, 2}
    assert session.predict([2], DATA.train.inputs) == {}


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        ([3], ValueError),
        (list(range(17)), ValueError),
        ([3, 90], IndexError),
        ([-1, 2], IndexError),
    ],
    ids=["one row", "too many rows", "beyond the end", "below zero"],
)
def test_an_impossible_batch_is_its_members_own_failure(
    batch: list[int], error: type[Exception]
) -> None:
    objective = family_objective("mlp", DATA, norm="batch")
    session = DenseEngine().start(training(objective), [member(6), member(6)])
    assert session.advance({0: [torch.tensor(batch)], 1: [torch.arange(16)]}).keys() == {1}
    assert type(session.failures[0]) is error
    assert session.advance({0: [torch.arange(16)]}) == {}


def test_batches_and_evaluations_of_any_size() -> None:
    objective = family_objective("mlp", make_clusters(rows=700), norm="batch")
    common = training(objective, batch_size=700)
    sessions = [engine.start(common, [member(6)]) for engine in (DenseEngine(), PlainEngine())]
    rows = objective.data.train.inputs
    for size in (16, 9, 700):
        loss, other = (session.advance({0: [torch.arange(size)]})[0] for session in sessions)
        assert loss == pytest.approx(other, abs=1e-12)
        actual, expected = (session.predict([0], rows[:size])[0] for session in sessions)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def test_saved_best_weights_are_restored() -> None:
    session = DenseEngine().start(
        training(family_objective("mlp", DATA, norm="batch")), [member(6)]
    )
    batch = [torch.arange(16)]
    session.advance({0: batch})
    session.save_best([0])
    kept = session.state_dict(0)
    session.advance({0: batch * 3})
    assert int(session.state_dict(0)["2.num_batches_tracked"]) == 4
    session.restore_best([0])
    assert {name: value.tolist() for name, value in session.state_dict(0).items()} == {
        name: value.tolist() for name, value in kept.items()
    }


def freeze_first(model: nn.Module) -> nn.Module:
    next(model.parameters()).requires_grad_(False)
    return model


def tie_weights(model: nn.Sequential) -> nn.Module:
    return nn.Sequential(*model, nn.ReLU(), model[-1])


def with_hook(model: nn.Module) -> nn.Module:
    model.register_forward_hook(lambda *_: None)
    return model


class DoublingOutput(nn.Sequential):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x) * 2


def unsupported_training(kind: str) -> TrainingSetup:
    simple = lambda *layers: custom_objective(lambda _: nn.Sequential(*layers, nn.Linear(7, 3)))  # noqa: E731
    half = make_clusters(dtype=torch.float16)
    strange = replace(DATA, train=replace(DATA.train, targets=DATA.train.targets + 1))
    return {
        "unknown layer": lambda: training(simple(nn.Softplus())),
        "approximate gelu": lambda: training(simple(nn.GELU("tanh"))),
        "frozen": lambda: training(custom_objective(lambda _: freeze_first(nn.Linear(7, 3)))),
        "shared": lambda: training(
            custom_objective(lambda _: tie_weights(nn.Sequential(nn.Linear(7, 7))))
        ),
        "hooks": lambda: training(custom_objective(lambda _: with_hook(nn.Linear(7, 3)))),
        "own forward": lambda: training(
            custom_objective(lambda _: DoublingOutput(nn.Linear(7, 3)))
        ),
        "drops rows": lambda: training(simple(nn.Dropout1d(0.5))),
        "no averages": lambda: training(simple(nn.BatchNorm1d(7, track_running_stats=False))),
        "no gain": lambda: training(simple(nn.LayerNorm(7, elementwise_affine=False))),
        "width": lambda: training(custom_objective(lambda _: nn.Sequential(nn.Linear(6, 3)))),
        "not flat": lambda: training(
            custom_objective(
                lambda _: nn.Sequential(nn.Linear(7, 3), nn.Flatten()), make_clusters(shape=(2, 7))
            )
        ),
        "no weights": lambda: training(custom_objective(lambda _: nn.Sequential(nn.ReLU()))),
        "types": lambda: training(
            make_objective(build=lambda _: nn.Linear(7, 3), data=DATA, base=Path())
        ),
        "half": lambda: training(custom_objective(lambda _: nn.Linear(7, 3), half)),
        "own loss": lambda: training(
            custom_objective(lambda _: nn.Linear(7, 3), loss=lambda output, _: output.sum())
        ),
        "classes": lambda: training(custom_objective(lambda _: nn.Linear(7, 3), strange)),
        "columns": lambda: training(custom_objective(lambda _: nn.Linear(7, 3), regression(2))),
        "parts": lambda: training(simple(), accumulate=2),
        "autocast": lambda: training(simple(), precision="bfloat16"),
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("unknown layer", "'0' \\(Softplus\\) is none"),
        ("approximate gelu", "GELU"),
        ("frozen", "frozen"),
        ("shared", "shares"),
        ("hooks", "hooks"),
        ("own forward", "Doubling"),
        ("drops rows", "drops whole rows"),
        ("no averages", "no moving averages"),
        ("no gain", "no gain"),
        ("width", "takes 6 numbers and gets 7"),
        ("not flat", "not flat"),
        ("no weights", "no linear layer"),
        ("types", "torch.float32 on cpu, the inputs are torch.float64"),
        ("half", "float16"),
        ("own loss", "built-in losses"),
        ("classes", "from 1 to 3, the outputs are 3"),
        ("columns", "2 columns, the outputs are 3"),
        ("parts", "accumulate is 2"),
        ("autocast", "precision"),
    ],
)
def test_what_it_cannot_train_it_refuses(kind: str, says: str) -> None:
    with pytest.raises(EngineUnsupported, match=says):
        DenseEngine().start(unsupported_training(kind), [member(4)])


@pytest.mark.slow  # numba compiles once more, where nothing is on the disk
def test_in_float32_it_is_as_near_to_plain_torch_and_the_truth_as_another_optimizer_of_torch() -> (
    None
):
    members = [member(6, 9), member(33, 20, seed=8), member(64, seed=1)]

    def weights(engine: Any, dtype: torch.dtype, fused: bool = True) -> list[Tensor]:
        objective = family_objective(
            "mlp", make_clusters(rows=320, dtype=dtype), norm="layer", dropout=0.1
        )
        setup = training(objective)
        setup = setup if fused else without_fused_optimizer(setup)
        states = train_epochs(engine, setup, members, 3)[0]
        return [
            torch.cat([value.double().flatten() for value in state.values()]) for state in states
        ]

    fused, dense = weights(PlainEngine(), torch.float32), weights(DenseEngine(), torch.float32)
    truth = weights(PlainEngine(), torch.float64)
    reordered = weights(PlainEngine(), torch.float32, fused=False)
    for actual, plain, other in zip(dense, fused, reordered, strict=True):
        assert (actual - plain).norm() <= 2 * (other - plain).norm()
    exact, actual_value, usual = (torch.cat(tensors) for tensors in (truth, dense, fused))
    assert (actual_value - exact).norm() <= 1.25 * (usual - exact).norm()


def test_a_session_needs_no_members() -> None:
    session = DenseEngine().start(training(family_objective("mlp", DATA)), [])
    assert isinstance(session, DenseSession)
    assert session.advance({}) == {}


@pytest.mark.parametrize("data", [DATA, regression(2)], ids=["classes", "quantities"])
@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_schedules_and_input_noise_are_the_plain_ones(schedule: Any, data: Data) -> None:
    objective = family_objective("mlp", data, norm="batch", dropout=0.2)
    chosen = replace(QUICK_SETTINGS, schedule=schedule, input_noise=0.3, epochs=3)
    assert_equal_sessions(DenseEngine(), objective, [member(5, 9), member(4, seed=8)], chosen)
