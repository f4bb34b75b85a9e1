"""An objective: what is built from widths, on which data, by which loss and metric.

Entry points: `Objective`, the protocol that training and cost counting ask of it;
`make_objective`, which makes one from a builder or a family; `build_module`; `has_built_in_loss`,
`counts_tokens`.
`training.check_builder` tries one out before a study starts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from ..data.dataset import Data, Task
from ..data.streams.batch import describe_inputs
from ..data.streams.samples import first_rows, has_label_columns, input_shape
from ..data.streams.source import BatchData
from ..errors import MetricError, ModelError, describe_error, describe_type
from ..user_code import load_object, user_errors
from .family_registry import FAMILIES, check_family
from .lazy import has_lazy_layers, materialise_lazy_layers
from .losses import (
    LOSSES,
    LossFunction,
    align_to_targets,
    cross_entropy,
    label_cross_entropy,
    load_loss,
)
from .metric_binding import bind_loss, bind_targets, default_metric
from .metrics import METRICS, Metric

Builder = Callable[[Mapping[str, int]], nn.Module]


class Objective(Protocol):
    """What training and cost counting need."""

    @property
    def data(self) -> Data | BatchData:
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

    def loss(self, output: Any, targets: Any) -> Tensor:
        """Return a scalar, the mean over the batch.

        Args:
            output: The model's.
            targets: Of the batch; the batch as the data gave it, where it has none.
        """
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
    data: Data | BatchData
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
        return self._materialised(build_module(self.name, self.builder, widths))

    def _materialised(self, module: nn.Module) -> nn.Module:
        """Return a model with its lazy layers made, by one forward pass of two rows of zeros.

        They draw their weights from the stream that the builder drew from.
        """
        if not has_lazy_layers(module):
            return module
        # Made here and not taken from the data: on the device that the builder's tensors are on.
        batch = first_rows(self.data, 2).map(_zeros_like)
        with user_errors(
            lambda error: ModelError(
                f"{self.name}: the forward pass that makes the lazy layers raised "
                f"{describe_error(error)} for inputs of shape {describe_inputs(batch)}: make the "
                "model take such samples."
            ),
            keep_out_of_memory=True,
        ):
            materialise_lazy_layers(module, batch)
        return module

    def loss(self, output: Any, targets: Any) -> Tensor:
        """Return the scalar loss of a batch; a regression's output gets its targets' shape."""
        if self.data.task is not None and isinstance(targets, Tensor):
            output = align_to_targets(output, targets, self.data.task)
        return self.loss_function(output, targets)


def _zeros_like(value: Any) -> Any:
    """Return zeros of a tensor's shape and type, on the device in force."""
    return torch.zeros(value.shape, dtype=value.dtype) if isinstance(value, Tensor) else value


def build_module(name: str, builder: Builder, widths: Mapping[str, int]) -> nn.Module:
    """Return what a builder makes of widths.

    Args:
        name: The builder for people.
        builder: `builder(widths)`, user code or a family.
        widths: By name.

    Raises:
        ModelError: It raised, or returned no module. An exception for memory that ran out is passed
            on as it is: it is an outcome of the trial, not a mistake.
    """
    with user_errors(
        lambda error: ModelError(
            f"{name}: build(widths) raised {describe_error(error)}; the widths were "
            f"{dict(widths)}: make it build every candidate of the space."
        ),
        keep_out_of_memory=True,
    ):
        module: Any = builder(dict(widths))
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"{name}: build(widths) returned {describe_type(module)}: it must return a "
            "torch.nn.Module."
        )
    return module


def has_built_in_loss(objective: Objective) -> bool:
    """Return whether the loss is one of `LOSSES`, which draw no random numbers."""
    return isinstance(objective, ModuleObjective) and any(
        objective.loss_function is function for _, function in LOSSES.values()
    )


def counts_tokens(objective: Objective) -> bool:
    """Return whether the loss of a batch is the mean over those class numbers that are not -100."""
    return isinstance(objective, ModuleObjective) and objective.loss_function is cross_entropy


def make_objective(
    *,
    build: str | Builder | None = None,
    family: str | None = None,
    options: Mapping[str, Any] | None = None,
    data: Data | BatchData,
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
        metric: None for accuracy or r2, by task; for the loss where neither is known.
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
    targets = data.example.targets if isinstance(data, BatchData) else None
    if loss_function is cross_entropy and has_label_columns(targets):
        loss_function = label_cross_entropy  # floating 0 and 1 would be taken for shares
    if metric is None:
        metric = default_metric(data.task, loss_name, targets, loss_function)

    def aligned_loss(output: Any, given: Any) -> Tensor:
        if isinstance(given, Tensor):
            output = align_to_targets(output, given, Task.REGRESSION)
        return loss_function(output, given)

    # As `ModuleObjective.loss` has it: a column of outputs would be broadcast to a row of targets.
    validation_loss = aligned_loss if data.task == Task.REGRESSION else loss_function

    def bound(one: Metric) -> Metric:
        one = bind_loss(one, loss_name, validation_loss)
        return bind_targets(one, targets) if data.task == Task.CLASSIFICATION else one

    return ModuleObjective(
        name=name,
        builder=builder,
        data=data,
        metric=bound(metric),
        loss_name=loss_name,
        loss_function=loss_function,
        reported=tuple(bound(one) for one in reported),
    )


def _check_task(metric: Metric, data: Data | BatchData) -> None:
    """Check that a metric is for the task of the data, where that is known."""
    if data.task is not None and metric.task not in (None, data.task):
        suitable = ", ".join(name for name, builtin in METRICS.items() if builtin.task == data.task)
        raise MetricError(
            f"metric '{metric.name}' is for a {metric.task}, data '{data.name}' is a {data.task}: "
            f"choose one of {suitable}."
        )


def _resolve_builder(
    build: str | Builder | None,
    family: str | None,
    options: Mapping[str, Any],
    data: Data | BatchData,
    base: Path,
) -> tuple[str, Builder]:
    if family is not None:
        family_spec = check_family(family, options, input_shape(data))
        facts = family_facts(family, data)

        def build_from_family(widths: Mapping[str, int]) -> nn.Module:
            return family_spec.build(widths, **facts, **options)

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


def family_facts(family: str, data: Data | BatchData) -> dict[str, Any]:
    """Return what the builder of a family is told of the data, by keyword.

    Raises:
        ModelError: The data is none that a family takes.
    """
    shape, outputs = input_shape(data), data.outputs
    if shape is None or outputs is None:
        raise ModelError(
            f"family '{family}' takes one tensor and gives an output for each class or "
            f"quantity, and data '{data.name}' has "
            f"{'several inputs' if shape is None else 'targets that do not say how many'}: "
            "write a model of your own, as `build`."
        )
    facts: dict[str, Any] = {"input_shape": shape, "outputs": outputs}
    return facts | _sequence_facts(family, data) if FAMILIES[family].reads_sequences else facts


def _sequence_facts(family: str, data: Data | BatchData) -> dict[str, Any]:
    """Return what a family of sequences is told of its data: the token ids and what has a class.

    Raises:
        ModelError: A table, or token ids that come in batches, of which nobody knows how many there
            are.
    """
    if isinstance(data, Data) and data.has_columns:
        raise ModelError(
            f"family '{family}' takes sequences, and data '{data.name}' is a table of columns, "
            "which are no steps: choose family 'mlp', or return arrays of shape [rows, steps] or "
            "[rows, steps, features] from a function."
        )
    if isinstance(data, BatchData):
        inputs, targets = data.example.args[0], data.example.targets
        if not inputs.is_floating_point():
            raise ModelError(
                f"family '{family}' has to know how many token ids there are, and data "
                f"'{data.name}' comes in batches: return arrays, or write a model of your own, as "
                "`build`."
            )
        vocabulary = None
    else:
        splits = [split.inputs for split in (data.train, data.validation, data.test) if len(split)]
        targets = data.train.targets
        vocabulary = None
        if not splits[0].is_floating_point():
            vocabulary = 1 + max(int(inputs.max()) for inputs in splits)
            if (least := min(int(inputs.min()) for inputs in splits)) < 0:
                raise ModelError(
                    f"family '{family}' takes whole numbers for token ids, and data '{data.name}' "
                    f"has {least}: number tokens from 0, or give numbers as fractions."
                )
    per_step = (
        data.task == Task.CLASSIFICATION
        and isinstance(targets, Tensor)
        and not targets.is_floating_point()
        and not has_label_columns(targets)
        and targets.shape[1:] == (input_shape(data) or ())[:1]
    )
    return {"vocabulary": vocabulary, "per_step": per_step}
