"""A check of an objective before a study starts.

It finds builders that ignore a width, models that do not fit the data, and metrics that give no
number.

Entry point: `check_builder`.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..bitwise import bitwise_equal, has_bits
from ..data.dataset import Data, Task
from ..data.streams.batch import describe_inputs, describe_shapes
from ..data.streams.samples import first_rows
from ..data.streams.source import BatchData, close_batches
from ..errors import (
    ModelError,
    ObjectiveError,
    describe_error,
    describe_shape,
    describe_type,
)
from ..interrupt import raise_if_interrupt
from ..model.losses import LOSSES, align_to_targets, classes_on_axis_1, has_single_logits
from ..model.metrics import Metric
from ..model.objective import Objective
from ..randomness import Randomness
from ..user_code import is_out_of_memory, user_code_location, user_errors
from .evaluate import BatchEvaluation, evaluate_metric, predict, predict_batch

_SAMPLE_COUNT = 2
_CPU = torch.device("cpu")
_PLAIN_TYPES = (bool, int, float, str)


def check_builder(
    objective: Objective, smallest: Mapping[str, int], largest: Mapping[str, int]
) -> None:
    """Build, run and evaluate the smallest candidate, and vary each width alone.

    A width is used when changing it changes the shape of a parameter or buffer, or a plain
    attribute of a module (the heads of an attention layer change no shape). Variations that the
    builder refuses (heads that do not divide the model's width) are skipped.

    Args:
        objective: What a study is about to search.
        smallest: The smallest candidate of the space.
        largest: The largest one; where it is equal to the smallest, nothing is varied.

    Raises:
        ModelError: The builder raises, ignores a width, has nothing to train, or gives outputs
            that the data and the loss cannot use.
        MetricError: The metric does not return a number.
    """
    with Randomness(0, _CPU), user_errors(lambda error: _unexpected_error(objective, error)):
        _check_widths(objective, smallest, largest)
        model = objective.build(smallest).to(_CPU)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ModelError(
                f"{_objective_name(objective)}: the model for {dict(smallest)} has no parameter to "
                "train: return a module with trainable parameters."
            )
        _check_absent_layers(objective, model, smallest)
        _check_fresh(objective, model, smallest)
        _check_output(objective, model)
        _check_evaluation(objective, model)


def _check_absent_layers(objective: Objective, model: nn.Module, widths: Mapping[str, int]) -> None:
    """Check that a layer of width 0 was left out, and not built without a neuron."""
    absent = [name for name, width in widths.items() if width == 0]
    empty = [name for name, parameter in model.named_parameters() if not parameter.numel()]
    if absent and empty:
        raise ModelError(
            f"{_objective_name(objective)}: the parameter '{empty[0]}' is empty for "
            f"{dict(widths)}: a width of 0 means that the layer is absent, so leave it out of the "
            f"model (if widths['{absent[0]}']: …), or take optional = true from the width."
        )


def _unexpected_error(objective: Objective, error: BaseException) -> ModelError:
    """Return the error for what user code raised in a place that has no sentence of its own."""
    name = _objective_name(objective)
    if is_out_of_memory(error):
        return ModelError(
            f"{name}: memory ran out where the smallest candidate was tried on the validation "
            f"split ({describe_error(error)}): give fewer rows, make the model smaller, or run it "
            "where there is more memory."
        )
    return ModelError(
        f"{name}: trying the smallest candidate raised {describe_error(error)}"
        f"{user_code_location(error)}: make the model take whole splits, as evaluation does."
    )


def _check_fresh(objective: Objective, model: nn.Module, widths: Mapping[str, int]) -> None:
    """Check that a second model shares no weights with the first."""
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    for parameter in objective.build(widths).parameters():
        if id(parameter) in first:
            raise ModelError(
                f"{_objective_name(objective)}: build(widths) returns the parameter "
                f"'{first[id(parameter)]}' a second time: make a fresh module in every call, or "
                "one training would go on with the weights of another."
            )


def _check_widths(
    objective: Objective, smallest: Mapping[str, int], largest: Mapping[str, int]
) -> None:
    varied = [name for name in smallest if smallest[name] != largest[name]]
    if not varied:
        return
    smallest_signature = _architecture_signature(objective, smallest)
    ignored = []
    for name in varied:
        try:
            if (
                _architecture_signature(objective, {**smallest, name: largest[name]})
                == smallest_signature
            ):
                ignored.append(name)
        except ObjectiveError:
            # Changing one width alone may leave the space; only the corners must build.
            continue
    _architecture_signature(objective, largest)
    if ignored:
        raise ModelError(
            f"{_objective_name(objective)}: build(widths) ignores "
            f"{', '.join(map(repr, ignored))}: the model is the same for {smallest[ignored[0]]} "
            f"and for {largest[ignored[0]]}; use every width, or take it out of the space."
        )


def _architecture_signature(objective: Objective, widths: Mapping[str, int]) -> list[Any]:
    """Return what distinguishes two architectures, without allocating them where possible."""
    try:
        with torch.device("meta"):
            module = objective.build(widths)
    except ObjectiveError:
        # Builders that read values (`.item()`) cannot run on the meta device.
        try:
            module = objective.build(widths)
        except BaseException as error:
            raise_if_interrupt(error)
            if is_out_of_memory(error):
                return []  # too large to build, so unlike the smallest
            raise
    tensors = [*module.named_parameters(), *module.named_buffers()]
    shapes: list[Any] = [(name, tuple(tensor.shape)) for name, tensor in tensors]
    attributes = [
        (name, type(child).__name__, _plain_attributes(child))
        for name, child in module.named_modules()
    ]
    return shapes + attributes


def _describe_loss(loss: object) -> str:
    return f"of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else describe_type(loss)


def _plain_attributes(module: nn.Module) -> list[tuple[str, Any]]:
    return [
        (key, value)
        for key, value in vars(module).items()
        if isinstance(value, _PLAIN_TYPES)
        or (
            isinstance(value, tuple | list)
            and all(isinstance(item, _PLAIN_TYPES) for item in value)
        )
    ]


def _check_output(objective: Objective, model: nn.Module) -> None:
    given = first_rows(objective.data, _SAMPLE_COUNT)
    # A copy: whatever changes it in place must not change the data.
    batch = given.map(_copy)
    name = _objective_name(objective)
    parameters = {parameter_name for parameter_name, _ in model.named_parameters()}
    with user_errors(
        lambda error: ModelError(
            f"{name}: the model raised {describe_error(error)} for inputs of shape "
            f"{describe_inputs(given)}: make it take samples of shape "
            f"{describe_inputs(given, skip=1)}."
        ),
        keep_out_of_memory=True,
    ):
        output = batch.call(model.eval())
    _require_unchanged(name, "model", "inputs", batch.inputs, given.inputs)
    made_late = [key for key, _ in model.named_parameters() if key not in parameters]
    if made_late:
        raise ModelError(
            f"{name}: the model makes the parameter '{made_late[0]}' in its first forward pass, "
            "where no optimizer would train it: make it in build(widths), or use nn.LazyLinear "
            "and its like."
        )
    data, compared = objective.data, batch.compared
    if getattr(objective, "loss_name", "") in LOSSES:
        _check_is_tensor(name, output)
        if not isinstance(data, BatchData):
            _check_shape(objective, data, output, compared)
    with user_errors(
        lambda error: ModelError(
            f"{name}: the loss raised {describe_error(error)} for outputs of shape "
            f"{describe_shape(_aligned(data, output, compared))} and targets of shape "
            f"{describe_shapes(given.compared)}: make them fit."
        ),
        keep_out_of_memory=True,
    ):
        loss = objective.loss(output, compared)
    _require_unchanged(name, "loss", "targets", batch.tensors, given.tensors)
    if not isinstance(loss, Tensor) or loss.ndim:
        raise ModelError(
            f"{name}: the loss is {_describe_loss(loss)}: it must be a scalar tensor, the mean "
            "over the batch."
        )
    if not loss.requires_grad:
        raise ModelError(
            f"{name}: the loss has no gradient: compute it from the model's output by torch alone."
        )


def _check_evaluation(objective: Objective, model: nn.Module) -> None:
    """Evaluate a model on the validation split; on the first batch where it comes in batches."""
    data, name = objective.data, _objective_name(objective)
    if isinstance(data, BatchData):
        batches = data.validation.batches(0, 0, 0, 1)
        try:
            given = next(batches)
        finally:
            close_batches(batches)
        metrics = (objective.metric, *objective.reported)
        batch, evaluation = given.map(_copy), BatchEvaluation(objective, metrics)
        output = predict_batch(model, batch)
        with user_errors(partial(_evaluation_error, name, metrics, output, given.compared)):
            evaluation.update(output, batch)
            for index in range(len(metrics)):
                evaluation.metric(index)
        _require_unchanged(name, "metric", "targets", batch.tensors, given.tensors)
        return
    targets = data.validation.targets.clone()
    for metric in (objective.metric, *objective.reported):
        evaluate_metric(objective, predict(model, data.validation.inputs), targets, metric)
        _require_unchanged(name, "metric", "targets", [targets], [data.validation.targets])


def _evaluation_error(
    name: str, metrics: Sequence[Metric], output: Any, compared: Any, error: BaseException
) -> ObjectiveError:
    """Return the error for a loss or metrics that raised on the first validation batch."""
    if is_out_of_memory(error):
        return ModelError(
            f"{name}: memory ran out in loss and metrics of the first validation batch "
            f"({describe_error(error)}): make the batches smaller."
        )
    keys = ", ".join(metric.key for metric in metrics)
    return ModelError(
        f"{name}: the loss or the metric ({keys}) raised {describe_error(error)}"
        f"{user_code_location(error)} for outputs of shape {describe_shapes(output)} and targets "
        f"of shape {describe_shapes(compared)}: choose a loss and a metric for such outputs and "
        "targets, or make the model's outputs fit them."
    )


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _aligned(data: Data | BatchData, output: Any, targets: Any) -> Any:
    """Return an output as the loss gets it."""
    return output if isinstance(data, BatchData) else align_to_targets(output, targets, data.task)


def _require_unchanged(
    name: str, culprit: str, what: str, rows: Iterable[Tensor], given: Iterable[Tensor]
) -> None:
    """Check that rows are still what they were: evaluation hands out the data itself."""
    for present, before in zip(rows, given, strict=True):
        if has_bits(before) and not bitwise_equal(present, before):
            raise ModelError(
                f"{name}: the {culprit} changes its {what} in place, and so the data of every "
                f"later epoch: let it work on a copy, such as {what}.clone()."
            )


def _check_is_tensor(name: str, output: Any) -> None:
    """Check that a built-in loss gets one tensor."""
    if not isinstance(output, Tensor):
        raise ModelError(
            f"{name}: the model returns {describe_type(output)}, the built-in loss takes one "
            "tensor: return one, or give a loss of your own."
        )


def _check_shape(objective: Objective, data: Data, output: Tensor, targets: Tensor) -> None:
    """Check that a built-in loss can set an output against the targets."""
    name = _objective_name(objective)
    fits = _class_shape_fits if data.task == Task.CLASSIFICATION else _quantity_fits
    if not fits(data, output, targets):
        finding, advice = _expected_output(data, targets)
        raise ModelError(
            f"{name}: the model gives outputs of shape {describe_shape(output)} for "
            f"{len(targets)} samples, data '{data.name}' has {finding}: {advice}."
        )


def _quantity_fits(data: Data, output: Tensor, targets: Tensor) -> bool:
    aligned = align_to_targets(output, targets, data.task)
    return isinstance(aligned, Tensor) and aligned.shape == targets.shape


def _class_shape_fits(data: Data, output: Tensor, targets: Tensor) -> bool:
    """Return whether there are logits of all classes for each target, or one for yes or no."""
    classes = data.class_count
    if targets.is_floating_point():  # shares of the classes
        return output.shape == targets.shape
    if has_single_logits(output, targets):
        return classes == 2 and not data.leaves_positions_out
    output = classes_on_axis_1(output, targets)
    return (
        output.ndim == targets.ndim + 1
        and output.shape[1] >= classes
        and (len(output), *output.shape[2:]) == tuple(targets.shape)
    )


def _expected_output(data: Data, targets: Tensor) -> tuple[str, str]:
    """Return what the data has to predict, and what to give for it, in words."""
    rows, positions = len(targets), list(targets.shape[1:])
    if data.task == Task.REGRESSION:
        other = "; where they are classes, set task = 'classification'" if positions else ""
        if len(positions) > 1:
            return f"targets of shape {positions}", f"end the model in outputs of it{other}"
        wanted = (rows, data.outputs)
        return (
            f"{data.outputs} target columns",
            f"end the model in an output of shape {wanted}{other}",
        )
    if targets.is_floating_point():
        return f"shares of {data.outputs} classes", f"give outputs of shape {tuple(targets.shape)}"
    classes = data.class_count
    if not positions:
        return f"{classes} classes", f"end the model in an output of shape ({rows}, {classes})"
    shape = (rows, classes, *positions)
    single = ""
    if classes == 2 and data.leaves_positions_out:
        single = "; a single logit has no way to leave out the positions of -100"
    elif classes == 2:
        single = f", or one logit for each: {(rows, *positions)}"
    return (
        f"{classes} classes at {positions} positions",
        f"give the classes on axis 1 or last, outputs of shape {shape}{single}",
    )


def _objective_name(objective: Objective) -> str:
    return str(getattr(objective, "name", type(objective).__name__))
