"""What every engine must show: the plain engine's weights, losses and verdicts, one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from widthwise.objectives.data.batches import Order
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.engines.base import Engine, Member, Training
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.loop.loop import Candidate, train_together
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.parametrisation.standard import Parametrisation
from widthwise.objectives.training.settings import ProxySettings, TrainingResult

CPU = torch.device("cpu")


def generated(
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


def family(name: str, data: Data, **options: Any) -> ModuleObjective:
    """A built-in family in the data's precision."""
    plain = make_objective(family=name, options=options, data=data, base=Path())
    return replace(plain, builder=lambda widths: plain.builder(widths).to(data.train.inputs.dtype))


def weights_after(
    engine: Engine,
    training: Training,
    members: Sequence[Member],
    epochs: int,
) -> tuple[list[dict[str, Tensor]], list[list[float]], list[Any]]:
    """Weights, losses and validation outputs of every member after some epochs."""
    team = engine.start(training, members)
    places = list(range(len(members)))
    orders = [
        Order(len(training.data.train), training.settings.batch_size, one.seed) for one in members
    ]
    losses: list[list[float]] = [[] for _ in members]
    for _ in range(epochs):
        found = team.advance({place: orders[place].until(1.0) for place in places})
        for place in places:
            loss = found[place]
            assert isinstance(loss, float), loss
            losses[place].append(loss)
    outputs = team.predict(places, training.data.validation.inputs)
    return [team.state(place) for place in places], losses, [outputs[place] for place in places]


def assert_equal_teams(
    engine: Engine,
    objective: ModuleObjective,
    members: Sequence[Member],
    settings: ProxySettings,
    *,
    epochs: int = 3,
    tolerance: float = 1e-9,
    scaling: Parametrisation | None = None,
) -> float:
    """Every weight, buffer, loss and output as with the plain engine; returns the largest error."""
    training = Training(
        objective=objective, data=objective.data, settings=settings, device=CPU, scaling=scaling
    )
    expected = weights_after(PlainEngine(), training, members, epochs)
    found = weights_after(engine, training, members, epochs)
    worst = 0.0
    for mine, plain in zip(found[0], expected[0], strict=True):
        assert mine.keys() == plain.keys()
        for name, value in plain.items():
            assert mine[name].shape == value.shape, name
            assert mine[name].dtype == value.dtype, name
            error = float((mine[name] - value).abs().max()) if value.numel() else 0.0
            assert error <= tolerance, f"{name}: {error}"
            worst = max(worst, error)
    for mine_losses, plain_losses in zip(found[1], expected[1], strict=True):
        for one, other in zip(mine_losses, plain_losses, strict=True):
            assert math.isclose(one, other, abs_tol=max(tolerance, 1e-15))
    for output, other in zip(found[2], expected[2], strict=True):
        assert float((output - other).abs().max()) <= tolerance
    return worst


def assert_equal_results(
    engine: Engine,
    objective: ModuleObjective,
    candidates: Sequence[Candidate],
    settings: ProxySettings,
    *,
    scaling: Parametrisation | None = None,
    earlier: Mapping[float, Sequence[float]] | None = None,
) -> list[TrainingResult | Exception | None]:
    """The whole way: curves, early stops, prunings and test values as with the plain engine."""

    def run(with_engine: Engine) -> list[TrainingResult | Exception | None]:
        return train_together(
            objective,
            candidates,
            settings,
            device=CPU,
            engine=with_engine,
            scaling=scaling,
            earlier=earlier,
        )

    found, expected = run(engine), run(PlainEngine())
    for mine, plain in zip(found, expected, strict=True):
        if not isinstance(plain, TrainingResult):
            assert type(mine) is type(plain)
            continue
        assert isinstance(mine, TrainingResult)
        assert mine.engine == engine.name
        for name in ("outcome", "best_epoch", "epochs", "parameters", "learning_rate", "detail"):
            assert getattr(mine, name) == getattr(plain, name), name
        for name in ("curve", "losses"):
            torch.testing.assert_close(
                torch.tensor(getattr(mine, name)),
                torch.tensor(getattr(plain, name)),
                equal_nan=True,
            )
        for name in ("value", "score", "test_value"):
            assert getattr(mine, name) == getattr(plain, name), name
    return found
