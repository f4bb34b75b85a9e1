"""What a study trains by the user's own function, in place of a model, data and a loss.

Entry points: `OwnTraining`, `load_own_training`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, final

from torch import Tensor, nn

from ..errors import MetricError, TrainingError
from ..model.metrics import METRICS, Direction, Metric
from ..model.objective import build_module
from ..training.step import TensorSpec
from ..user_code import load_object

TrainFunction = Callable[..., Any]
"""`train(widths, trial) -> a number, a mapping, None after reports, or a generator of them`."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class OwnTraining:
    """A training of the user's own.

    Attributes:
        name: The function for people: its reference.
        function: `train(widths, trial)`.
        metric: What it reports; its values come from the function alone.
        model_name: The builder for people; None where there is none.
        builder: `build(widths)`, for the costs; None where there is none.
        inputs: What the builder's model is called with, one sample each; None where it is not said.
    """

    name: str
    function: TrainFunction
    metric: Metric
    model_name: str | None = None
    builder: Callable[[Mapping[str, int]], nn.Module] | None = None
    inputs: tuple[TensorSpec, ...] | None = None

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """Return a model for the widths, whose costs are counted.

        Raises:
            ModelError: The builder raised, or returned no module.
        """
        assert self.builder is not None, "nothing is counted without a builder"
        return build_module(str(self.model_name), self.builder, widths)


def load_own_training(
    reference: str,
    base: Path,
    *,
    metric: str | None,
    direction: Direction | None,
    build: str | Callable[[Mapping[str, int]], nn.Module] | None = None,
    inputs: tuple[TensorSpec, ...] | None = None,
) -> OwnTraining:
    """Return the training that a spec names.

    Args:
        reference: Of the function.
        base: Folder that references are relative to.
        metric: Name of what it reports; None for "value".
        direction: Whether more or less of it is better; None where the name says so.
        build: A builder for the costs, or a reference to one; None where there is none.
        inputs: What its model is called with.

    Raises:
        ImportFailure: A reference leads nowhere.
        TrainingError: The function does not take widths and a trial.
        MetricError: It is not known which of two values is better.
    """
    function = load_object(reference, base)
    _check_signature(function, reference)
    return OwnTraining(
        name=reference,
        function=function,
        metric=reported_metric(metric, direction),
        model_name=build if isinstance(build, str) else getattr(build, "__name__", None),
        builder=load_object(build, base) if isinstance(build, str) else build,
        inputs=inputs,
    )


def reported_metric(name: str | None, direction: Direction | None) -> Metric:
    """Return the metric that a training reports.

    Raises:
        MetricError: It is not known which of two values is better.
    """
    known = METRICS.get(name or "")
    if known is not None and direction not in (None, known.direction):
        raise MetricError(
            f"metric '{name}' is to {known.direction}, not to {direction}: drop the direction."
        )
    resolved = direction or (known.direction if known is not None else None)
    if resolved is None:
        what = "of what train gives" if name is None else f"of '{name}'"
        raise MetricError(
            f'it is not known whether more or less {what} is better: set direction = "maximize" '
            'or "minimize", or a metric that is known, such as metric = "accuracy".'
        )
    return Metric(name=name or "value", direction=resolved, function=_never_called)


def _never_called(output: Any, target: Tensor) -> NoReturn:
    del output, target
    raise MetricError("the values of this metric are reported by the user's own training.")


def _check_signature(function: TrainFunction, reference: str) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # of a callable that does not tell
    try:
        signature.bind({}, None)
    except TypeError:
        raise TrainingError(
            f"{reference} takes {signature}: expected train(widths, trial), two arguments."
        ) from None
