"""The replay engine: the plain engine's bits, for every module whose step can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from widthwise.objectives.data.batches import BatchSampler
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.engines.base import EngineUnsupported, Member, TrainingSetup
from widthwise.objectives.engines.module_network import ModuleSession
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.replay.engine import ReplayEngine, check_support
from widthwise.objectives.engines.replay.network import ReplayNetwork
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.model.families.activations import ACTIVATIONS
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.settings import Halving, ProxySettings
from widthwise.tests.objectives.engines.equality import (
    CPU,
    assert_equal_results,
    assert_equal_sessions,
    family_objective,
    make_clusters,
)
from widthwise.tests.objectives.engines.replay.modules import (
    CLASSES,
    LENGTH,
    TOKENS,
    NoisyNetwork,
    Recurrent,
    ResidualConvNet,
    Transformer,
    UnregisteredState,
    Unreplayable,
)

SETTINGS = ProxySettings(batch_size=16, patience=2, epochs=4, weight_decay=0.02, judge_test=True)


def members(*widths: Mapping[str, int]) -> list[Member]:
    return [
        Member(widths=widths_, seed=7 + index, learning_rate=3e-3 * (1 + index))
        for index, widths_ in enumerate(widths)
    ]


def custom_objective(
    build: Callable[[Mapping[str, int]], nn.Module], data: Data, **options: Any
) -> ModuleObjective:
    dtype = data.train.inputs.dtype if data.train.inputs.is_floating_point() else torch.float64
    return make_objective(
        build=lambda widths: build(widths).to(dtype), data=data, base=Path(), **options
    )


def token_data(rows: int = 90) -> Data:
    stream = torch.Generator().manual_seed(3)

    def split(rows: int) -> Split:
        inputs = torch.randint(TOKENS, (rows, LENGTH), generator=stream)
        return Split(inputs=inputs, targets=inputs[:, 0] % CLASSES)

    return Data(
        name="words",
        task="classification",
        train=split(rows),
        validation=split(40),
        test=split(30),
        outputs=CLASSES,
    )


def training(objective: ModuleObjective, settings: ProxySettings = SETTINGS) -> TrainingSetup:
    return TrainingSetup(objective=objective, data=objective.data, settings=settings, device=CPU)


def is_replayed(session: ModuleSession[ReplayNetwork], index: int = 0) -> bool:
    """Whether a member's steps are really replayed, those of a full batch and the rest."""
    network = session.network(index)
    return network.unsupported_reason is None and network.is_proven(16) and network.is_proven(10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(
    ("activation", "norm"),
    [(name, ("none", "batch", "layer")[place % 3]) for place, name in enumerate(ACTIVATIONS)],
)
def test_an_mlp_is_the_plain_one_bit_for_bit(activation: str, norm: str, dtype: Any) -> None:
    objective = family_objective(
        "mlp", make_clusters(dtype=dtype), activation=activation, norm=norm, dropout=0.25
    )
    two = members({"a": 9, "b": 5}, {"a": 4, "b": 13})
    assert assert_equal_sessions(ReplayEngine(), objective, two, SETTINGS, tolerance=0.0) == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "sigmoid"])
def test_a_cnn_is_the_plain_one_bit_for_bit(activation: str, dtype: Any) -> None:
    data = make_clusters(shape=(2, 8, 8), dtype=dtype)
    objective = family_objective("cnn", data, activation=activation, dropout=0.25)
    two = members({"a": 5, "b": 12}, {"a": 9, "b": 3})
    assert_equal_sessions(ReplayEngine(), objective, two, SETTINGS, tolerance=0.0)


@settings(deadline=None, max_examples=8)
@given(
    widths=st.lists(
        st.fixed_dictionaries({"a": st.integers(1, 40), "b": st.integers(1, 40)}),
        min_size=1,
        max_size=3,
    ),
    name=st.sampled_from(["mlp", "cnn"]),
    activation=st.sampled_from(list(ACTIVATIONS)),
    norm=st.sampled_from(["none", "batch", "layer"]),
    dropout=st.sampled_from([0.0, 0.1, 0.6]),
    decay=st.sampled_from([0.0, 0.1]),
    batch=st.sampled_from([7, 16, 90, 200]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_any_widths_and_options_give_the_plain_weights(
    widths: list[dict[str, int]],
    name: str,
    activation: str,
    norm: str,
    dropout: float,
    decay: float,
    batch: int,
    dtype: Any,
) -> None:
    data = make_clusters(shape=(7,) if name == "mlp" else (1, 6, 6), dtype=dtype)
    options = {"norm": norm} if name == "mlp" else {}
    objective = family_objective(name, data, activation=activation, dropout=dropout, **options)
    settings = ProxySettings(batch_size=batch, weight_decay=decay)
    assert_equal_sessions(
        ReplayEngine(), objective, members(*widths), settings, epochs=4, tolerance=0.0
    )


CUSTOM_MODULES: dict[str, tuple[Any, Data, list[dict[str, int]]]] = {
    "transformer": (
        Transformer,
        token_data(),
        [{"size": 4, "heads": 2, "hidden": 9}, {"size": 3, "heads": 4, "hidden": 16}],
    ),
    "lstm": (
        partial(Recurrent, features=4),
        make_clusters(shape=(5, 4)),
        [{"size": 3}, {"size": 8}],
    ),
    "residual cnn": (ResidualConvNet, make_clusters(shape=(1, 6, 6)), [{"size": 2}, {"size": 5}]),
    "functional dropout and noise": (
        partial(NoisyNetwork, features=7),
        make_clusters(),
        [{"a": 6}, {"a": 11}],
    ),
    "a tensor that is no buffer": (
        partial(UnregisteredState, features=7),
        make_clusters(),
        [{"a": 6}, {"a": 11}],
    ),
}


@pytest.mark.parametrize("name", CUSTOM_MODULES)
def test_a_users_module_is_replayed_bit_for_bit(name: str) -> None:
    build, data, widths = CUSTOM_MODULES[name]
    objective, two = custom_objective(build, data), members(*widths)
    assert_equal_sessions(ReplayEngine(), objective, two, SETTINGS, epochs=4, tolerance=0.0)
    session = ReplayEngine().start(training(objective), two)
    order = BatchSampler(90, 16, 1)
    for _ in range(3):
        session.advance(dict.fromkeys((0, 1), order.batches_until(1.0)))
    assert is_replayed(session, 0)
    assert is_replayed(session, 1)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_regression_is_the_plain_one(loss: str, outputs: int) -> None:
    classes = make_clusters()
    shape = (slice(None),) if outputs == 1 else (slice(None), slice(2))

    def split(source: Split) -> Split:
        return Split(
            inputs=source.inputs,
            targets=source.inputs.sin().cumsum(1)[shape][..., -1:].squeeze(-1)
            if outputs == 1
            else source.inputs.sin()[:, :2],
        )

    data = replace(
        classes,
        task="regression",
        train=split(classes.train),
        validation=split(classes.validation),
        test=split(classes.test),
        outputs=outputs,
    )
    plain_objective = make_objective(family="mlp", data=data, loss=loss, base=Path())
    objective = replace(
        plain_objective, builder=lambda widths: plain_objective.builder(widths).double()
    )
    assert_equal_sessions(
        ReplayEngine(), objective, members({"a": 6}, {"a": 9}), SETTINGS, tolerance=0.0
    )


@pytest.mark.parametrize(
    "options",
    [{"precision": "bfloat16"}, {"accumulate": 3}, {"precision": "bfloat16", "accumulate": 2}],
    ids=str,
)
def test_autocast_and_accumulation_are_replayed_too(options: dict[str, Any]) -> None:
    objective = family_objective(
        "mlp", make_clusters(dtype=torch.float32), norm="layer", dropout=0.2
    )
    settings = replace(SETTINGS, **options)
    two = members({"a": 6, "b": 9}, {"a": 12, "b": 3})
    assert_equal_sessions(ReplayEngine(), objective, two, settings, tolerance=0.0)
    session = ReplayEngine().start(training(objective, settings), two)
    order = BatchSampler(90, 16, 1)
    for _ in range(3):
        session.advance({0: order.batches_until(1.0)})
    assert is_replayed(session)


class HalvedRates:
    """Rates by width, as a parametrisation gives them."""

    def initialise(self, model: nn.Module, _: Mapping[str, int]) -> None:
        for parameter in model.parameters():
            parameter.mul_(0.5)

    def learning_rate_factors(self, widths: Mapping[str, int]) -> Mapping[str, float]:
        return {"1.weight": 1.0, "3.weight": 4 / widths["a"]}


def test_rates_of_single_parameters_are_kept() -> None:
    objective = family_objective("mlp", make_clusters())
    two = members({"a": 6, "b": 9}, {"a": 12, "b": 3})
    assert_equal_sessions(
        ReplayEngine(), objective, two, SETTINGS, tolerance=0.0, parametrisation=HalvedRates()
    )


def test_results_are_the_plain_ones() -> None:
    objective = family_objective("mlp", make_clusters(rows=200), norm="batch", dropout=0.1)
    candidates = [
        Candidate(widths={"a": 3 + 5 * index, "b": 4 + 3 * index}, seed=index) for index in range(5)
    ]
    settings = replace(
        SETTINGS, epochs=6, patience=1, replicas=2, folds=2, halving=Halving(eta=2, first=0.5)
    )
    results = assert_equal_results(ReplayEngine(), objective, candidates, settings)
    assert {getattr(result, "outcome", None) for result in results} == {"complete", "pruned"}


def test_a_member_restores_its_best_weights_and_continues_from_them() -> None:
    objective = family_objective("mlp", make_clusters(), norm="batch")
    states = []
    for engine in (PlainEngine(), ReplayEngine()):
        session = engine.start(training(objective), members({"a": 5, "b": 4}))
        order = BatchSampler(90, 16, 1)
        for epoch in range(5):
            session.advance({0: order.batches_until(1.0)})
            if epoch == 2:
                session.save_best([0])
            if epoch == 3:
                session.restore_best([0])
        states.append(session.state_dict(0))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


class Exploding(nn.Module):
    """A network that returns NaN, or raises, from some width on."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        if widths["a"] == 13:
            raise ValueError("thirteen")
        self.a = widths["a"]
        self.inner = nn.Sequential(nn.Linear(7, widths["a"]), nn.Tanh(), nn.Linear(widths["a"], 3))

    def forward(self, x: Tensor) -> Tensor:
        if self.a == 14 and len(x) == 10:
            raise MemoryError("out of memory")
        return self.inner(x) / (0.0 if self.a == 15 else 1.0)


def test_no_member_harms_its_neighbours() -> None:
    objective = custom_objective(Exploding, make_clusters())
    candidates = [Candidate(widths={"a": width}, seed=1) for width in (5, 13, 14, 15, 8)]
    results, plain = (
        train_together(objective, candidates, SETTINGS, device=CPU, engine=engine)
        for engine in (ReplayEngine(), PlainEngine())
    )
    assert [getattr(result, "outcome", type(result).__name__) for result in results] == [
        "complete",
        "ModelError",
        "out_of_memory",
        "nan",
        "complete",
    ]
    for result, expected_result in zip(results, plain, strict=True):
        assert type(result) is type(expected_result)
        for name in ("outcome", "score", "curve", "test_value", "detail"):
            assert getattr(result, name, None) == getattr(expected_result, name, None), name


def test_an_empty_batch_harms_no_neighbour() -> None:
    objective = family_objective("mlp", make_clusters())
    collected = []
    for engine in (PlainEngine(), ReplayEngine()):
        session = engine.start(training(objective), members(*[{"a": 5, "b": 4}] * 3))
        order = BatchSampler(90, 16, 1)
        for _ in range(4):
            batches = order.batches_until(1.0)
            losses = session.advance({0: batches, 1: [*batches, batches[0][:0]], 2: batches})
        collected.append(
            (losses, str(session.failures[1]), session.state_dict(0), session.state_dict(2))
        )
    assert collected[0][:2] == collected[1][:2]
    for state, other in zip(collected[0][2:], collected[1][2:], strict=True):
        assert all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize(
    "way",
    ["branching", "listing", "leaving", "counting", "cooling", "rolling", "replacing", "picking"],
)
def test_a_step_that_cannot_be_repeated_is_refused(way: str) -> None:
    objective = custom_objective(partial(Unreplayable, features=7, way=way), make_clusters())
    with pytest.raises(EngineUnsupported, match=r"reads values|changes more|plain step's numbers"):
        ReplayEngine().start(training(objective), members({"a": 6}))
    candidates = [Candidate(widths={"a": width}, seed=2) for width in (4, 7)]
    results = train_together(objective, candidates, SETTINGS, device=CPU, engine=ReplayEngine())
    plain = train_together(objective, candidates, SETTINGS, device=CPU)
    for result, expected_result in zip(results, plain, strict=True):
        assert result.engine.startswith("plain (replay: ")
        assert result.losses == expected_result.losses


def test_a_member_whose_steps_cannot_be_repeated_is_trained_plainly() -> None:
    def build(widths: Mapping[str, int]) -> nn.Module:
        return Unreplayable(widths, 7, "counting" if widths["a"] > 5 else "bending")

    objective, two = custom_objective(build, make_clusters()), members({"a": 4}, {"a": 6})
    assert_equal_sessions(ReplayEngine(), objective, two, SETTINGS, epochs=4, tolerance=0.0)
    session = ReplayEngine().start(training(objective), two)
    order = BatchSampler(90, 16, 1)
    for _ in range(3):
        session.advance(dict.fromkeys((0, 1), order.batches_until(1.0)))
    assert is_replayed(session, 0)
    assert "more than parameters" in session.network(1).unsupported_reason


def test_a_session_of_which_no_member_can_be_built_starts() -> None:
    session = ReplayEngine().start(
        training(custom_objective(Exploding, make_clusters())), members({"a": 13})
    )
    assert session.advance({0: [torch.arange(4)]}) == {}
    assert "thirteen" in str(session.failures[0])


def test_only_a_cpu_is_supported() -> None:
    unsupported = replace(
        training(family_objective("mlp", make_clusters())), device=torch.device("meta")
    )
    with pytest.raises(EngineUnsupported, match="not on meta"):
        ReplayEngine().start(unsupported, members({"a": 4}))


def test_support_of_a_structure_is_checked_once() -> None:
    checked: list[ReplayNetwork] = []

    def check(setup: TrainingSetup, network: ReplayNetwork) -> str | None:
        checked.append(network)
        return check_support(setup, network)

    engine, objective = ReplayEngine(check), family_objective("mlp", make_clusters())
    for width in (4, 5, 6):
        engine.start(training(objective), members({"a": width}))
    engine.start(training(objective), members({"a": 4, "b": 4}))
    assert len(checked) == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_schedules_and_input_noise_are_replayed_bit_for_bit(schedule: Any, dtype: Any) -> None:
    objective = family_objective("mlp", make_clusters(dtype=dtype), norm="batch", dropout=0.3)
    chosen = replace(SETTINGS, schedule=schedule, input_noise=0.3)
    assert_equal_sessions(
        ReplayEngine(), objective, members({"a": 6, "b": 5}), chosen, epochs=4, tolerance=0.0
    )
    setup = training(objective, chosen)
    session = ReplayEngine().start(setup, members({"a": 6}))
    order = BatchSampler(len(setup.data.train), chosen.batch_size, 7)
    for _ in range(4):
        session.advance({0: order.batches_until(1.0)})
    assert is_replayed(session)


def test_a_schedule_that_the_optimizer_reads_as_a_number_is_not_replayed() -> None:
    """Over a long training two steps have almost the same rate, and would prove each other."""

    def build(widths: Mapping[str, int]) -> nn.Module:
        model = nn.Sequential(nn.Linear(7, widths["a"]), nn.ReLU(), nn.Linear(widths["a"], 3))
        model[0].weight = nn.Parameter(model[0].weight.detach().t().contiguous().t())
        return model

    objective = custom_objective(build, make_clusters(dtype=torch.float32))
    chosen = replace(SETTINGS, schedule="cosine", epochs=100_000)
    with pytest.raises(EngineUnsupported):
        ReplayEngine().start(training(objective, chosen), members({"a": 6}))
