"""Checks that an engine gives the plain engine's weights, losses and results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from widthwise.objectives.data.batches import BatchSampler
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.engines.base import Engine, Member, TrainingSetup
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.parametrisation.standard import Parametrisation
from widthwise.objectives.training.optimizer import make_adamw
from widthwise.objectives.training.settings import ProxySettings

CPU = torch.device("cpu")


def make_clusters(
    *, rows: int = 90, shape: tuple[int, ...] = (7,), classes: int = 3, dtype: Any = torch.float64
) -> Data:
    """Noisy clusters that a network can learn, in float64 unless asked otherwise."""
    stream = torch.Generator().manual_seed(11)
    centres = torch.randn(classes, *shape, generator=stream, dtype=torch.float64)

    def split(rows: int) -> Split:
        targets = torch.randint(classes, (rows,), generator=stream)
        noise = torch.randn(rows, *shape, generator=stream, dtype=torch.float64)
        return Split(inputs=(centres[targets] + noise).to(dtype), targets=targets)

    return Data(
        name="generated",
        task="classification",
        train=split(rows),
        validation=split(40),
        test=split(30),
        outputs=classes,
    )


def family_objective(name: str, data: Data, **options: Any) -> ModuleObjective:
    """A built-in family in the data's precision."""
    single_precision = make_objective(family=name, options=options, data=data, base=Path())
    return replace(
        single_precision,
        builder=lambda widths: single_precision.builder(widths).to(data.train.inputs.dtype),
    )


class _OtherOptimizer(TrainingSetup):
    """A setup whose optimizer is torch's other implementation of AdamW."""

    def optimizer(self, model: nn.Module, member: Member) -> torch.optim.AdamW:
        return make_adamw(
            model,
            member.learning_rate,
            self.settings.weight_decay,
            self.learning_rate_factors(member),
            fused=False,
        )


def without_fused_optimizer(setup: TrainingSetup) -> TrainingSetup:
    """The same, but for the order in which the optimizer computes."""
    return _OtherOptimizer(
        objective=setup.objective, data=setup.data, settings=setup.settings, device=setup.device
    )


def train_epochs(
    engine: Engine,
    training: TrainingSetup,
    members: Sequence[Member],
    epochs: int,
) -> tuple[list[dict[str, Tensor]], list[list[float]], list[Any]]:
    """Weights, losses and validation outputs of every member after some epochs."""
    session = engine.start(training, members)
    indices = list(range(len(members)))
    orders = [
        BatchSampler(len(training.data.train), training.settings.batch_size, member.seed)
        for member in members
    ]
    losses: list[list[float]] = [[] for _ in members]
    for _ in range(epochs):
        epoch_losses = session.advance(
            {index: orders[index].batches_until(1.0) for index in indices}
        )
        for index in indices:
            assert index in epoch_losses, session.failures[index]
            losses[index].append(epoch_losses[index])
    outputs = session.predict(indices, training.data.validation.inputs)
    return (
        [session.state_dict(index) for index in indices],
        losses,
        [outputs[index] for index in indices],
    )


def assert_equal_sessions(
    engine: Engine,
    objective: ModuleObjective,
    members: Sequence[Member],
    settings: ProxySettings,
    *,
    epochs: int = 3,
    tolerance: float = 1e-9,
    parametrisation: Parametrisation | None = None,
) -> float:
    """Every weight, buffer, loss and output as with the plain engine; returns the largest error."""
    training = TrainingSetup(
        objective=objective,
        data=objective.data,
        settings=settings,
        device=CPU,
        parametrisation=parametrisation,
    )
    expected = train_epochs(PlainEngine(), training, members, epochs)
    actual = train_epochs(engine, training, members, epochs)
    largest_error = 0.0
    for state, expected_state in zip(actual[0], expected[0], strict=True):
        assert state.keys() == expected_state.keys()
        for name, value in expected_state.items():
            assert state[name].shape == value.shape, name
            assert state[name].dtype == value.dtype, name
            error = float((state[name] - value).abs().max()) if value.numel() else 0.0
            assert error <= tolerance, f"{name}: {error}"
            largest_error = max(largest_error, error)
    for member_losses, expected_losses in zip(actual[1], expected[1], strict=True):
        for loss, expected_value in zip(member_losses, expected_losses, strict=True):
            assert math.isclose(loss, expected_value, abs_tol=max(tolerance, 1e-15))
    for output, expected_value in zip(actual[2], expected[2], strict=True):
        assert float((output - expected_value).abs().max()) <= tolerance
    return largest_error


def assert_equal_results(
    engine: Engine,
    objective: ModuleObjective,
    candidates: Sequence[Candidate],
    settings: ProxySettings,
    *,
    parametrisation: Parametrisation | None = None,
    earlier: Mapping[float, Sequence[float]] | None = None,
) -> list[TrainingResult | Exception | None]:
    """Curves, early stops, prunings and test values as with the plain engine."""

    def train_with(with_engine: Engine) -> list[TrainingResult | Exception | None]:
        return train_together(
            objective,
            candidates,
            settings,
            device=CPU,
            engine=with_engine,
            parametrisation=parametrisation,
            other_rung_scores=earlier,
        )

    actual, expected = train_with(engine), train_with(PlainEngine())
    for result, expected_result in zip(actual, expected, strict=True):
        if not isinstance(expected_result, TrainingResult):
            assert type(result) is type(expected_result)
            continue
        assert isinstance(result, TrainingResult)
        assert result.engine == engine.name
        for name in ("outcome", "best_epoch", "epochs", "parameters", "learning_rate", "detail"):
            assert getattr(result, name) == getattr(expected_result, name), name
        for name in ("curve", "losses"):
            torch.testing.assert_close(
                torch.tensor(getattr(result, name)),
                torch.tensor(getattr(expected_result, name)),
                equal_nan=True,
            )
        for name in ("value", "score", "test_value"):
            assert getattr(result, name) == getattr(expected_result, name), name
    return actual
