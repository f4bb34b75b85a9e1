"""Tracing one candidate: a real training step on tensors that have a shape and no memory.

The model is built and trained for two steps under torch's FakeTensorMode on a fake CPU: every
operator runs its shape rules only. The first step makes the optimizer's state, the second is the
steady one that is counted; then one forward pass in eval mode under no_grad.

What is not counted: the data set (only the mini-batch is), Python's own memory, and kernels'
scratch space. The fused encoder layer is off, so inference memory of an `nn.TransformerEncoder` is
that of the plain path. The workspace of a fused LSTM layer has no shape rule: that one operator is
run for real, alone, and its workspace measured (see `workspace`).

Entry points: `trace`, `Trace`.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)

from ..data.streams.batch import Batch
from ..errors import CostError, describe_error
from ..randomness import Randomness
from ..training.step import (
    StepSpec,
    autocast_context,
    make_step_optimizer,
    tensors_in,
    training_step,
)
from ..user_code import is_tensor_too_large, user_code_location, user_errors
from .chance import OUTCOMES, Chance
from .cuda_allocator import ROUNDING_SLACK
from .cuda_kernels import kernels_in_force
from .fake_model import TENSOR_TOO_LARGE, FakeCPU, ModelFactory, fake_model, sequences_unpacked
from .flops import FlopCounter, fused_encoder_disabled
from .live_bytes import LiveBytes, Timeline, merge_timelines
from .random_state import random_states_counted


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What one traced candidate costs, in whole numbers of the whole batch.

    Attributes:
        parameters: Elements of all parameters, tied ones once.
        trainable_parameters: Those that require a gradient.
        flops: FLOPs of one forward pass in eval mode.
        step_flops: FLOPs of forward pass, loss and backward pass.
        file_size: Bytes of the tensors of the state dict, each storage once.
        training: Memory of the steady training step.
        inference: Memory of the forward pass in eval mode without gradients.
        lower_bound: Whether the training memory leaves something out.
        uncounted: Operations that count 0 FLOPs for want of a formula.
        notes: Sentences on what to know about these figures.
    """

    parameters: int
    trainable_parameters: int
    flops: int
    step_flops: int
    file_size: int
    training: Timeline
    inference: Timeline
    lower_bound: bool
    uncounted: tuple[str, ...]
    notes: tuple[str, ...]


def trace(build: ModelFactory, step: StepSpec) -> Trace:
    """Trace one candidate.

    Args:
        build: Returns a fresh model.
        step: The batch, loss and optimizer.

    Raises:
        ModelError: The builder raised, or returned no module.
        CostError: The step cannot be traced or fails.
    """
    with silence_fake_tensor_warnings(), isolated_torch_state(), fused_encoder_disabled():
        mode = FakeCPU()
        with (
            kernels_in_force(step),
            fake_model(build, step, mode) as (model, notes),
            mode,
            sequences_unpacked(),
            user_errors(lambda error: _trace_error(error, step)),
        ):
            return _trace(model, step, notes, mode)


def _trace(model: nn.Module, step: StepSpec, notes: list[str], mode: FakeCPU) -> Trace:
    batch = step.empty()
    chance = Chance(model)
    mode.draw_number = chance.draw_number
    training = record_steps(model, step, batch, chance)
    model.zero_grad(set_to_none=True)
    model.eval()
    inference = _record_outcomes(chance, lambda: _record_forward(model, step, batch))
    if len(training) > 1 or len(inference) > 1:
        notes.append(
            "the model draws random numbers to decide what it computes: of "
            f"{len(OUTCOMES)} outcomes the costliest is counted."
        )

    operations = {func for record in (*training, *inference) for func in record.memory.operations}
    uncounted = training[0].counter.uncounted(operations)
    if uncounted:
        notes.append(
            f"counted as 0 FLOPs, for want of a formula: {', '.join(uncounted)}; the FLOPs are a "
            "lower bound if these matter."
        )
    on_gpu = step.device_type == "cuda"
    recurrent = on_gpu and any(isinstance(module, nn.RNNBase) for module in model.modules())
    notes += _workspace_notes(mode, recurrent)
    if not on_gpu and torch.ops.aten.convolution.default in operations:
        notes.append(
            "convolutions copy their operands within their kernels: that scratch space is not part "
            "of the memory counted; cost --verify measures it."
        )
    slack = ROUNDING_SLACK if on_gpu else 0
    return Trace(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trainable_parameters=sum(
            parameter.numel() for parameter in model.parameters() if parameter.requires_grad
        ),
        flops=max(record.counter.flops for record in inference),
        step_flops=max(record.counter.flops for record in training),
        file_size=_file_size(model),
        training=merge_timelines([record.memory.timeline(slack) for record in training]),
        inference=merge_timelines([record.memory.timeline(slack) for record in inference]),
        lower_bound=recurrent or mode.workspaces_unknown,
        uncounted=tuple(uncounted),
        notes=tuple(notes),
    )


def _file_size(model: nn.Module) -> int:
    """Return the bytes of the state dict's storages, as `torch.save` writes them."""
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for tensor in tensors_in(model.state_dict(keep_vars=True))
    }
    return sum(storages.values())


def _workspace_notes(mode: FakeCPU, recurrent_on_gpu: bool) -> Iterator[str]:
    if recurrent_on_gpu:
        yield (
            "a recurrent layer reserves space in cuDNN that is not known here: the training memory "
            "is a lower bound; measure one real step on the GPU."
        )
    if mode.workspaces_unknown:
        yield (
            "a fused recurrent layer is too large to be run for its workspace: the training memory "
            "is a lower bound."
        )
    elif mode.workspaces_measured:
        yield (
            "calibrated: the workspace of each fused recurrent layer was measured on this machine "
            "by running that layer alone."
        )


@dataclass(frozen=True, kw_only=True)
class _Record:
    """What was seen of one run."""

    memory: LiveBytes
    counter: FlopCounter

    def costs_the_same(self, other: "_Record") -> bool:
        """Return whether another run took the same memory at all times, and as many FLOPs."""
        return (
            self.counter.flops == other.counter.flops
            and self.memory.timeline().live == other.memory.timeline().live
        )


def record_steps(
    model: nn.Module,
    step: StepSpec,
    batch: Batch,
    chance: Chance,
) -> list[_Record]:
    """Train and record a steady step; several of them where the model decides by chance.

    The first step makes the optimizer's state and is not recorded.

    Args:
        model: Of fake tensors.
        step: The loss and optimizer.
        batch: Of fake tensors, too.
        chance: The random streams that the model may draw from.
    """
    model.train()
    optimizer = make_step_optimizer(step.optimizer, model, foreach=step.foreach)

    def run_step() -> None:
        training_step(model, optimizer, step.loss, batch, step.autocast, step.accumulate)

    def record_step() -> _Record:
        record = _Record(memory=LiveBytes(), counter=FlopCounter())
        _track_model(record.memory, model)
        if optimizer is not None:
            record.memory.track(tensors_in(list(optimizer.state.values())), "optimizer")
            optimizer.zero_grad(set_to_none=True)
        record.memory.track(batch.tensors, "batch")
        with record.counter, record.memory, random_states_counted(record.memory):
            run_step()
        record.memory.relabel(
            [parameter.grad for parameter in model.parameters() if parameter.grad is not None],
            "gradients",
        )
        return record

    with chance.watched():
        run_step()
    if chance.was_used:
        # In a steady state every layer has been trained before, and has its optimizer state.
        for outcome in OUTCOMES:
            chance.force(outcome)
            run_step()
    return _record_outcomes(chance, record_step)


def _record_outcomes(chance: Chance, record: Callable[[], _Record]) -> list[_Record]:
    """Record a run; once for each outcome if the model draws and they differ."""
    with chance.watched():
        records = [record()]
    if chance.was_used:
        records = []
        for outcome in OUTCOMES:
            chance.force(outcome)
            records.append(record())
        if all(other.costs_the_same(records[0]) for other in records):
            records = records[:1]
    chance.was_used = False
    return records


def _record_forward(model: nn.Module, step: StepSpec, batch: Batch) -> _Record:
    """Record a forward pass in eval mode without gradients."""
    record = _Record(memory=LiveBytes(), counter=FlopCounter())
    _track_model(record.memory, model)
    record.memory.track(batch.inputs, "batch")
    with (
        record.counter,
        record.memory,
        random_states_counted(record.memory),
        torch.no_grad(),
        autocast_context(step.autocast, batch),
    ):
        batch.call(model)
    return record


def _track_model(memory: LiveBytes, model: nn.Module) -> None:
    memory.track(model.parameters(), "parameters")
    memory.track(_non_parameter_tensors(model), "buffers")


def _non_parameter_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Yield buffers, and plain tensors that modules keep as attributes."""
    for module in model.modules():
        yield from (buffer for buffer in module._buffers.values() if buffer is not None)
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from tensors_in(value)


@contextmanager
def silence_fake_tensor_warnings() -> Iterator[None]:
    """Keep torch's warnings and error logs about fake tensors from the user."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    disabled = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled


@contextmanager
def isolated_torch_state() -> Iterator[None]:
    """Run eagerly and with gradients whatever the caller set; leave random streams as they were."""
    with (
        Randomness(0, torch.device("cpu")),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.compiler.set_stance("force_eager"),
    ):
        yield


def _trace_error(error: BaseException, step: StepSpec) -> CostError:
    """Return the sentence for a step that could not be traced."""
    location = user_code_location(error)
    if is_tensor_too_large(error):
        return CostError(TENSOR_TOO_LARGE)
    if isinstance(error, DataDependentOutputException | DynamicOutputShapeException):
        return CostError(
            f"the model's work depends on the data{location}: it reads a value or a number of "
            f"elements from a tensor ({error.func}), so its costs are not fixed before training; "
            "use torch.where or masks of fixed shape in place of .item(), `if tensor` and "
            "boolean indexing, or give the costs as a function of the widths."
        )
    if isinstance(error, UnsupportedOperatorException):
        return CostError(
            f"the operator {error.func} has no shape rule{location}, so its costs cannot be "
            "counted without running it: register one with torch.library.register_fake, replace "
            "it, or give the costs as a function of the widths."
        )
    return CostError(
        f"one training step on inputs of shape {step.describe_inputs()} raised "
        f"{describe_error(error)}{location}; the model must take these inputs, the loss its "
        "output, and neither may read values (.item(), .numpy()); where they must, give the costs "
        "as a function of the widths."
    )
