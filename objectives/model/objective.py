"""An objective: what is built from widths, on which data, by which loss and metric.

Entry points: `Objective`, the protocol that training and cost counting ask of it;
`make_objective`, which makes one from a builder or a family; `has_built_in_loss`.
`training.check_builder` tries one out before a study starts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from ..data.dataset import Data
from ..errors import MetricError, ModelError, describe_dtype, describe_error, describe_type
from ..user_code import load_object, user_errors
from .family_registry import check_family
from .lazy import has_lazy_layers, materialise_lazy_layers
from .losses import LOSSES, LossFunction, align_to_targets, load_loss
from .metrics import METRICS, Metric, bind_loss, default_metric

Builder = Callable[[Mapping[str, int]], nn.Module]


class Objective(Protocol):
    """What training and cost counting need."""

    @property
    def data(self) -> Data:
        """Return the splits and the task."""
        ...

    @property
    def metric(self) -> Metric:
        """Return the metric of the validation split."""
        ...

    @property
    def reported(self) -> Sequence[Metric]:
        """Return the metrics that are recorded beside it."""
        ...

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """Return a fresh model, initialised from torch's global stream; raises ModelError."""
        ...

    def loss(self, output: Any, targets: Tensor) -> Tensor:
        """Return a scalar, the mean over the batch."""
        ...


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ModuleObjective:
    """An objective around a function that builds a module.

    Attributes:
        name: The builder for people: a reference or "family 'mlp'".
        builder: `builder(widths)`, user code or a family.
        data: The splits.
        metric: Of the validation split.
        loss_name: Of the loss, for people.
        loss_function: `(output, targets) -> scalar tensor`.
        reported: Further metrics of the validation split, which are recorded and decide nothing.
    """

    name: str
    builder: Builder
    data: Data
    metric: Metric
    loss_name: str
    loss_function: LossFunction
    reported: tuple[Metric, ...] = ()

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """Return a fresh model for the widths.

        Raises:
            ModelError: The builder raised, or returned no module. An exception for memory that ran
                out is passed on as it is: it is an outcome of the trial, not a mistake.
        """
        with user_errors(
            lambda error: ModelError(
                f"{self.name}: build(widths) raised {describe_error(error)}; the widths were "
                f"{dict(widths)}: make it build every candidate of the space."
            ),
            keep_out_of_memory=True,
        ):
            module: Any = self.builder(dict(widths))
        if not isinstance(module, nn.Module):
            raise ModelError(
                f"{self.name}: build(widths) returned {describe_type(module)}: it must return a "
                "torch.nn.Module."
            )
        return self._materialised(module)

    def _materialised(self, module: nn.Module) -> nn.Module:
        """Return a model with its lazy layers made, by one forward pass of two rows of zeros.

        They draw their weights from the stream that the builder drew from.
        """
        if not has_lazy_layers(module):
            return module
        train = self.data.train.inputs
        # Made here and not taken from the data: on the device that the builder's tensors are on.
        rows = torch.zeros((2, *self.data.input_shape), dtype=train.dtype)
        with user_errors(
            lambda error: ModelError(
                f"{self.name}: the forward pass that makes the lazy layers raised "
                f"{describe_error(error)} for inputs of shape {tuple(rows.shape)} "
                f"{describe_dtype(rows.dtype)}: make the model take such samples."
            ),
            keep_out_of_memory=True,
        ):
            materialise_lazy_layers(module, (rows,))
        return module

    def loss(self, output: Any, targets: Tensor) -> Tensor:
        """Return the scalar loss of a batch; a regression's output gets its targets' shape."""
        return self.loss_function(align_to_targets(output, targets, self.data.task), targets)


def has_built_in_loss(objective: Objective) -> bool:
    """Return whether the loss is one of `LOSSES`, which draw no random numbers."""
    return isinstance(objective, ModuleObjective) and any(
        objective.loss_function is function for _, function in LOSSES.values()
    )


def make_objective(
    *,
    build: str | Builder | None = None,
    family: str | None = None,
    options: Mapping[str, Any] | None = None,
    data: Data,
    metric: Metric | None = None,
    reported: Sequence[Metric] = (),
    loss: str | LossFunction | None = None,
    base: Path,
) -> ModuleObjective:
    """Return the objective of a study.

    Args:
        build: A builder, or a reference to one; or
        family: the name of a built-in family,
        options: with its options.
        data: The splits.
        metric: None for accuracy or r2, by task.
        reported: Metrics to record beside it.
        loss: A name, a reference or a function; None for cross-entropy or squared error, by task.
        base: The folder of the spec.

    Raises:
        ModelError: Neither or both of build and family, or a family that cannot.
        MetricError: A metric or loss that does not fit the task.
        ImportFailure: A reference that leads nowhere.
    """
    if (build is None) == (family is None):
        raise ModelError("a model needs either `build` or `family`: give exactly one of them.")
    for one in [*([] if metric is None else [metric]), *reported]:
        _check_task(one, data)
    name, builder = _resolve_builder(build, family, options or {}, data, base)
    loss_name, loss_function = load_loss(loss, data.task, base)
    return ModuleObjective(
        name=name,
        builder=builder,
        data=data,
        metric=bind_loss(metric or default_metric(data.task), loss_name, loss_function),
        loss_name=loss_name,
        loss_function=loss_function,
        reported=tuple(bind_loss(one, loss_name, loss_function) for one in reported),
    )


def _check_task(metric: Metric, data: Data) -> None:
    """Check that a metric is for the task of the data."""
    if metric.task not in (None, data.task):
        suitable = ", ".join(name for name, builtin in METRICS.items() if builtin.task == data.task)
        raise MetricError(
            f"metric '{metric.name}' is for a {metric.task}, data '{data.name}' is a {data.task}: "
            f"choose one of {suitable}."
        )


def _resolve_builder(
    build: str | Builder | None,
    family: str | None,
    options: Mapping[str, Any],
    data: Data,
    base: Path,
) -> tuple[str, Builder]:
    if family is not None:
        family_spec = check_family(family, options, data.input_shape)

        def build_from_family(widths: Mapping[str, int]) -> nn.Module:
            return family_spec.build(
                widths, input_shape=data.input_shape, outputs=data.outputs, **options
            )

        return f"family '{family}'", build_from_family
    assert build is not None
    if options:
        raise ModelError(
            f"the options {', '.join(options)} belong to a family, the model is your own "
            "`build`: drop them, or read them inside build."
        )
    if isinstance(build, str):
        return build, load_object(build, base)
    return getattr(build, "__name__", type(build).__name__), build
