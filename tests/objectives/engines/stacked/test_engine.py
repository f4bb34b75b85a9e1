"""The stacked engine: the plain engine's numbers, and no member is harmed by another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.engines.base import EngineUnsupported
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.stacked.engine import StackedEngine, probe_failure
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.model.families.activations import ACTIVATIONS
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
from widthwise.tests.objectives.engines.stacked.stacks import (
    FLAT,
    IMAGES,
    SHORT_SETTINGS,
    members,
    single_stack_engine,
    training,
    with_builder,
)

# Equality


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_every_family_trains_as_in_the_plain_engine(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(("mlp", "mlp", "cnn")))
    options: dict[str, Any] = {
        "activation": data.draw(st.sampled_from(tuple(ACTIVATIONS))),
        "dropout": data.draw(st.sampled_from((0.0, 0.3))),
    }
    if name == "mlp":
        options["norm"] = data.draw(st.sampled_from(("none", "batch", "layer")))
    depth = data.draw(st.integers(1, 3))
    # The norm of one number is a constant, its gradients are all rounding, which Adam enlarges.
    least = 3 if options.get("norm") == "layer" else 1
    width = st.tuples(*[st.integers(least, 12)] * depth)
    batch = members(
        *data.draw(st.lists(width, min_size=1, max_size=4)),
        rates=tuple(data.draw(st.lists(st.floats(1e-4, 0.03), min_size=1, max_size=3))),
    )
    proxy = ProxySettings(
        batch_size=data.draw(st.sampled_from((16, 90))),
        weight_decay=data.draw(st.sampled_from((0.0, 0.1))),
        eval_batch=data.draw(st.sampled_from((7, 1024))),
    )
    overhead = data.draw(st.sampled_from((0.0, 1e4, math.inf)))
    objective = family_objective(name, FLAT if name == "mlp" else IMAGES, **options)
    assert_equal_sessions(StackedEngine(overhead), objective, batch, proxy, epochs=2)


class PerWidthRates:
    """A parametrisation with a factor on some rates, by width."""

    def initialise(self, model: nn.Module, widths: Mapping[str, int]) -> None:
        for parameter in model.parameters():
            parameter.mul_(1 + 1 / widths["a"])

    def learning_rate_factors(self, widths: Mapping[str, int]) -> Mapping[str, float]:
        return {"1.weight": 8 / widths["a"], "3.bias": 0.5}


def test_rates_and_decays_of_each_parameter_are_kept() -> None:
    objective = family_objective("mlp", FLAT)
    batch = members((4, 9), (8, 3), (5, 5))
    assert_equal_sessions(
        single_stack_engine(), objective, batch, SHORT_SETTINGS, parametrisation=PerWidthRates()
    )


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_schedules_and_input_noise_are_the_plain_ones(schedule: Any, decay: float) -> None:
    objective = family_objective("mlp", FLAT, norm="batch", dropout=0.2)
    batch = members((4, 9), (8, 3), (5, 5))
    chosen = replace(
        SHORT_SETTINGS, schedule=schedule, input_noise=0.3, weight_decay=decay, epochs=3
    )
    assert_equal_sessions(
        single_stack_engine(), objective, batch, chosen, parametrisation=PerWidthRates()
    )


def test_members_that_part_keep_to_the_schedule() -> None:
    objective = family_objective("mlp", FLAT)
    candidates = [Candidate(widths={"a": n, "b": 14 - n}, seed=n) for n in (3, 5, 8, 12)]
    proxy = ProxySettings(
        epochs=12, patience=1, batch_size=20, learning_rate=0.05, replicas=2, schedule="cosine"
    )
    results = assert_equal_results(single_stack_engine(), objective, candidates, proxy)
    epochs = {result.epochs for result in results if isinstance(result, TrainingResult)}
    assert len(epochs) > 1, "no candidate stopped early: the test shows nothing"


def test_a_regression_of_one_column_has_its_loss_in_the_targets_shape() -> None:
    split = Split(inputs=FLAT.train.inputs, targets=FLAT.train.inputs[:, 0] ** 2)
    data = Data(name="r", task="regression", train=split, validation=split, test=split, outputs=1)
    assert_equal_sessions(
        single_stack_engine(),
        family_objective("mlp", data),
        members((4, 9), (8, 3)),
        SHORT_SETTINGS,
    )


@pytest.mark.parametrize("halving", [None, Halving(eta=2, first=0.5)], ids=["all", "halving"])
def test_early_stopping_rungs_and_replicas_have_the_same_results(halving: Halving | None) -> None:
    objective = family_objective("mlp", FLAT, norm="batch", dropout=0.2)
    candidates = [Candidate(widths={"a": n, "b": 14 - n}, seed=n) for n in (3, 5, 8, 12)]
    proxy = ProxySettings(
        epochs=12, patience=1, batch_size=20, learning_rate=0.05, replicas=2, halving=halving
    )
    results = assert_equal_results(single_stack_engine(), objective, candidates, proxy)
    epochs = {result.epochs for result in results if isinstance(result, TrainingResult)}
    assert len(epochs) > 1, "no candidate stopped early: the test shows nothing"


def test_in_float32_it_is_as_near_to_the_truth_as_the_plain_engine() -> None:
    batch = members((40, 9), (8, 33), (25, 25), (16, 16))
    proxy = ProxySettings(batch_size=16, weight_decay=0.1)

    def after(engine: Any, data: Data, fused: bool = True) -> list[dict[str, Tensor]]:
        setup = training(family_objective("mlp", data), proxy)
        setup = setup if fused else without_fused_optimizer(setup)
        return train_epochs(engine, setup, batch, 4)[0]

    def distance(some: list[dict[str, Tensor]], others: list[dict[str, Tensor]]) -> float:
        return math.sqrt(
            sum(
                float((item[name].double() - other[name].double()).square().sum())
                for item, other in zip(some, others, strict=True)
                for name in item
            )
        )

    single = make_clusters(dtype=torch.float32)
    truth = after(PlainEngine(), to_double(single))
    plain, actual = after(PlainEngine(), single), after(single_stack_engine(), single)
    reordered = after(PlainEngine(), single, fused=False)
    assert distance(actual, truth) <= 1.5 * distance(plain, truth)
    assert distance(actual, plain) <= 2 * distance(reordered, plain)


def to_double(data: Data) -> Data:
    def split(source: Split) -> Split:
        return Split(inputs=source.inputs.double(), targets=source.targets)

    return replace(
        data,
        train=split(data.train),
        validation=split(data.validation),
        test=split(data.test),
    )


# What a session does


def test_members_may_go_at_their_own_pace() -> None:
    objective = family_objective("mlp", FLAT, norm="batch", dropout=0.3)
    steps: list[dict[int, list[Tensor]]] = [
        {0: [torch.arange(16)], 1: [torch.arange(16)], 2: [torch.arange(16)]},
        {1: [torch.arange(20, 30), torch.arange(40, 56)]},
        {0: [torch.arange(15)], 1: [torch.arange(15)], 2: [torch.arange(20, 35)]},
    ]
    sessions = [
        engine.start(training(objective), members((4, 9), (8, 3), (5, 5)))
        for engine in (single_stack_engine(), PlainEngine())
    ]
    for batches in steps:
        actual, expected = (session.advance(batches) for session in sessions)
        assert actual.keys() == expected.keys()
        assert all(math.isclose(actual[n], expected[n], rel_tol=1e-12) for n in actual)
    for index in range(3):
        assert_same(sessions[0].state_dict(index), sessions[1].state_dict(index))


def test_members_save_restore_and_leave_each_by_itself() -> None:
    objective = family_objective("mlp", FLAT, norm="batch")
    session = single_stack_engine().start(training(objective), members((4, 9), (8, 3), (5, 5)))
    rows = [torch.arange(16)]
    first = [session.state_dict(n) for n in range(3)]
    session.save_best([0, 1, 2])
    session.advance({0: rows, 1: rows, 2: rows})
    second = [session.state_dict(n) for n in range(3)]
    session.save_best([1])
    session.advance({0: rows, 1: rows, 2: rows})
    third = session.state_dict(2)
    session.drop([0])
    session.restore_best([1])
    assert_same(session.state_dict(1), second[1])
    assert_same(session.state_dict(2), third)
    session.restore_best([2])
    assert_same(session.state_dict(2), first[2])
    assert list(session.predict([2], FLAT.validation.inputs)) == [2]
    session.drop([1, 2])
    assert session.predict([], FLAT.validation.inputs) == {}


def assert_same(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, expected_tensor in expected.items():
        torch.testing.assert_close(actual[name], expected_tensor, rtol=1e-9, atol=1e-9)


def test_it_counts_the_networks_own_parameters() -> None:
    objective = family_objective("mlp", FLAT, norm="batch")
    sessions = [
        engine.start(training(objective), members((4, 9), (8, 3)))
        for engine in (single_stack_engine(), PlainEngine())
    ]
    assert [sessions[0].parameter_count(n) for n in (0, 1)] == [
        sessions[1].parameter_count(n) for n in (0, 1)
    ]
    assert sessions[0].peak_memory(0) is None


# Neighbours


def test_a_diverging_member_harms_no_neighbour() -> None:
    objective = family_objective("mlp", FLAT, norm="layer", dropout=0.3)
    batch = members((4, 9), (8, 3), (5, 5), rates=(0.01, 1e200, 0.003))
    proxy = training(objective)
    separate = [train_epochs(PlainEngine(), proxy, [batch[n]], 3)[0][0] for n in (0, 2)]
    states, losses, _ = train_epochs(single_stack_engine(), proxy, batch, 3)
    assert not math.isfinite(losses[1][-1])
    assert_same(states[0], separate[0])
    assert_same(states[2], separate[1])


def test_rows_of_nan_end_their_member_alone() -> None:
    inputs = FLAT.train.inputs.clone()
    inputs[0] = math.nan
    data = replace(FLAT, train=Split(inputs=inputs, targets=FLAT.train.targets))
    sessions = [
        engine.start(training(family_objective("mlp", data, norm="batch")), members((4, 9), (8, 3)))
        for engine in (single_stack_engine(), PlainEngine())
    ]
    batches = {0: [torch.arange(16)], 1: [torch.arange(16, 32)]}
    actual, expected = (session.advance(batches) for session in sessions)
    assert math.isnan(actual[0])
    assert actual[1] == pytest.approx(expected[1], abs=1e-12)
    assert_same(sessions[0].state_dict(1), sessions[1].state_dict(1))


@pytest.mark.parametrize("empty", [[], [torch.arange(0)]], ids=["no batch", "no row"])
def test_an_empty_batch_ends_its_member_alone(empty: list[Tensor]) -> None:
    objective = family_objective("mlp", FLAT, norm="batch")
    sessions = [
        engine.start(training(objective), members((4, 9), (8, 3), (5, 5)))
        for engine in (single_stack_engine(), PlainEngine())
    ]
    batches = {0: [torch.arange(16)], 1: empty, 2: [torch.arange(16)]}
    actual, expected = (session.advance(batches) for session in sessions)
    assert actual.keys() == expected.keys() == {0, 2}
    failure = sessions[0].failures[1]
    again = sessions[0].advance({0: [torch.arange(16, 32)], 1: empty, 2: [torch.arange(50, 66)]})
    sessions[1].advance({0: [torch.arange(16, 32)], 2: [torch.arange(50, 66)]})
    assert again.keys() == {0, 2}
    assert sessions[0].predict([1], FLAT.validation.inputs) == {}
    assert sessions[0].failures == {1: failure}
    for index in (0, 2):
        assert_same(sessions[0].state_dict(index), sessions[1].state_dict(index))


def test_a_member_that_cannot_be_built_has_failed_with_what_was_raised() -> None:
    def refuse(model: nn.Module, widths: Mapping[str, int]) -> nn.Module:
        if widths["a"] == 6:
            raise ValueError("no six")
        return model

    objective = with_builder(family_objective("mlp", FLAT), refuse)
    session = single_stack_engine().start(training(objective), members((4, 9), (6, 3), (8, 3)))
    losses = session.advance({n: [torch.arange(16)] for n in range(3)})
    assert losses.keys() == {0, 2}
    assert "no six" in str(session.failures[1])
    assert [session.parameter_count(n) > 0 for n in range(3)] == [True, False, True]
    session.drop([1])


def test_a_member_that_needs_too_much_memory_is_found_by_training_each_alone() -> None:
    class Hungry(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.width = width

        def forward(self, x: Tensor) -> Tensor:
            if self.training and self.width > 6:
                raise torch.OutOfMemoryError("out of memory")
            return x

    objective = with_builder(
        family_objective("mlp", FLAT),
        lambda model, widths: nn.Sequential(Hungry(widths["a"]), model),
    )
    candidates = [Candidate(widths={"a": n, "b": 3}, seed=n) for n in (4, 8, 5)]
    results = train_together(
        objective, candidates, SHORT_SETTINGS, device=CPU, engine=single_stack_engine()
    )
    outcomes = [result.outcome for result in results if isinstance(result, TrainingResult)]
    assert outcomes == ["complete", "out_of_memory", "complete"]


# The probe


def test_networks_of_one_structure_are_probed_once() -> None:
    probes = []

    def probe(*arguments: Any) -> str | None:
        probes.append(arguments)
        return probe_failure(*arguments)

    engine, objective = single_stack_engine(probe=probe), family_objective("mlp", FLAT)
    engine.start(training(objective), members((4, 9), (8, 3)))
    engine.start(training(objective), members((5, 9), (3, 2)))
    assert len(probes) == 1
    engine.start(training(objective), members((5, 9), (5, 2)))  # other widths are padded
    assert len(probes) == 2
    engine.start(training(family_objective("mlp", FLAT)), members((4, 9), (8, 3)))
    assert len(probes) == 3


# What it refuses


@pytest.mark.parametrize(
    ("proxy", "sentence"),
    [
        (replace(SHORT_SETTINGS, precision="bfloat16"), "bfloat16"),
        (replace(SHORT_SETTINGS, accumulate=2), "accumulate is 2"),
    ],
    ids=["autocast", "accumulate"],
)
def test_settings_that_it_does_not_know_are_refused(proxy: ProxySettings, sentence: str) -> None:
    with pytest.raises(EngineUnsupported, match=sentence):
        single_stack_engine().start(training(family_objective("mlp", FLAT), proxy), members((4, 9)))


def test_weights_of_low_precision_are_refused() -> None:
    objective = family_objective("mlp", make_clusters(dtype=torch.bfloat16))
    with pytest.raises(EngineUnsupported, match="bfloat16"):
        single_stack_engine().start(training(objective), members((4, 9)))


def test_the_plain_engine_trains_what_it_refuses() -> None:
    def centred(model: nn.Module, widths: Mapping[str, int]) -> nn.Module:
        return nn.Sequential(model[:2], nn.Softmax(-1), model[2:])

    objective = with_builder(family_objective("mlp", FLAT), centred)
    candidates = [Candidate(widths={"a": n}, seed=n) for n in (4, 8)]
    results = train_together(
        objective, candidates, SHORT_SETTINGS, device=CPU, engine=single_stack_engine()
    )
    for result in results:
        assert isinstance(result, TrainingResult)
        assert result.outcome == "complete"
        assert result.engine.startswith("plain (stacked: ")
