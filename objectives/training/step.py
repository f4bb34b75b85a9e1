"""One training step, which training repeats and the cost counter traces.

Both call `training_step`, so the memory that is predicted is that of the very statements that run:
the batch, one forward pass, the loss, one backward pass, one update.

    step = StepSpec(inputs=(TensorSpec(shape=(31,)),),
                    targets=TensorSpec(shape=(), dtype=torch.int64), loss=cross_entropy)

Entry points: `StepSpec` and `TensorSpec` (the example batch), `make_step_optimizer`,
`training_step`, `autocast_context`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import CostError, describe_type
from ..model.losses import LossFunction

OptimizerFactory = Callable[[nn.Module], torch.optim.Optimizer]
"""`(model) -> optimizer over its trainable parameters`."""

_OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}

_AUTOCAST_DTYPES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One tensor of a batch.

    Attributes:
        shape: Sizes of one sample, without the batch dimension.
        dtype: Element type.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def batch(self, size: int) -> Tensor:
        """Return an uninitialised batch [size, *shape] on the device in force."""
        return torch.empty((size, *self.shape), dtype=self.dtype)

    def zeros(self, size: int) -> Tensor:
        """Return a batch [size, *shape] of zeros, valid as numbers and as indices."""
        return torch.zeros((size, *self.shape), dtype=self.dtype)


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """What one training step works on and how.

    Attributes:
        inputs: What the model is called with, one spec an argument.
        targets: What the loss compares with; None where the loss takes None for them.
        batch_size: Samples a step.
        optimizer: "adamw", "adam" or "sgd" (torch's defaults, one parameter at a time), or a
            function of the model that returns the optimizer really used.
        loss: `(output, targets) -> scalar`; None for the sum of the means of all floating-point
            outputs, which reaches every output without knowing the task.
        autocast: Type that torch.autocast computes the forward pass and the loss in
            (torch.bfloat16 or torch.float16); None for no autocast.
        device_type: Where training will run. For "cuda" memory is what torch's allocator is
            expected to hold (see `trace.cuda_allocator`); the trace itself runs on a fake CPU.
        capability: Compute capability of the GPU, such as (9, 0); None assumes the newest, whose
            workspace is largest. Only for "cuda".
        accumulate: Parts that a batch is divided into, whose gradients are summed.
    """

    inputs: tuple[TensorSpec, ...]
    targets: TensorSpec | None = None
    batch_size: int = 64
    optimizer: str | OptimizerFactory = "adamw"
    loss: LossFunction | None = None
    autocast: torch.dtype | None = None
    device_type: Literal["cpu", "cuda"] = "cpu"
    capability: tuple[int, int] | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise CostError(f"the batch size is {self.batch_size}: it must be at least 1.")
        if not 1 <= self.accumulate <= self.batch_size:
            raise CostError(
                f"a batch of {self.batch_size} cannot be passed through in {self.accumulate} "
                "parts: accumulate must be between 1 and the batch size."
            )
        if isinstance(self.optimizer, str) and self.optimizer not in _OPTIMIZERS:
            raise CostError(
                f"the optimizer is '{self.optimizer}': choose one of {', '.join(_OPTIMIZERS)}, "
                "or pass a function of the model that returns one."
            )
        if self.autocast is not None and self.autocast not in _AUTOCAST_DTYPES:
            raise CostError(
                f"autocast is {self.autocast}: it must be torch.bfloat16, torch.float16 or None."
            )
        if self.device_type not in ("cpu", "cuda"):
            raise CostError(f"the device type is '{self.device_type}': it must be 'cpu' or 'cuda'.")


def make_step_optimizer(
    optimizer: str | OptimizerFactory, model: nn.Module
) -> torch.optim.Optimizer | None:
    """Return the optimizer over a model's trainable parameters, None when there are none."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        return None
    if isinstance(optimizer, str):
        # foreach keeps temporaries of all parameters alive at once; torch's choice depends on the
        # device, and the peak must not.
        return _OPTIMIZERS[optimizer](parameters, lr=1e-3, foreach=False)  # type: ignore[call-arg]
    return optimizer(model)


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    loss: LossFunction | None,
    inputs: Sequence[Tensor],
    targets: Tensor | None,
    autocast: torch.dtype | None = None,
    accumulate: int = 1,
) -> Tensor:
    """Make one update and return the loss of the batch, detached.

    The output is not kept: the loss holds what it needs of it. Without a trainable parameter only
    the forward pass runs. Autocast, where a type is given, covers forward pass and loss only. With
    `accumulate` the batch passes through in so many parts of (almost) equal size, and the loss is
    their mean, weighed by their rows.
    """
    if optimizer is not None:
        optimizer.zero_grad(set_to_none=True)
    total: Tensor | None = None
    for part, part_targets, weight in _split_batch(inputs, targets, accumulate):
        with autocast_context(autocast, part):
            value = (loss or sum_of_output_means)(model(*part), part_targets)
        if weight != 1:
            value = value * weight
        if value.requires_grad:
            value.backward()  # type: ignore[no-untyped-call]
        # Detached at once: the graph of a part is not kept beside the next one's.
        value = value.detach()
        total = value if total is None else total + value
    if optimizer is not None:
        optimizer.step()
    assert total is not None, "a batch has rows"
    return total


def _split_batch(
    inputs: Sequence[Tensor], targets: Tensor | None, accumulate: int
) -> Iterator[tuple[Sequence[Tensor], Tensor | None, float]]:
    """Yield the parts of a batch with their share of its rows."""
    if accumulate == 1:
        yield inputs, targets, 1.0
        return
    rows = len(inputs[0])
    target_parts: Sequence[Tensor | None] = [None] * accumulate
    if targets is not None:
        target_parts = torch.tensor_split(targets, accumulate)
    input_parts = zip(*(torch.tensor_split(tensor, accumulate) for tensor in inputs), strict=True)
    for part, part_targets in zip(input_parts, target_parts, strict=True):
        if len(part[0]):
            yield part, part_targets, len(part[0]) / rows


def autocast_context(
    autocast: torch.dtype | None, inputs: Sequence[Tensor]
) -> AbstractContextManager[object]:
    """Return torch.autocast on the device of the inputs, or nothing where no type is given."""
    if autocast is None:
        return nullcontext()
    return torch.autocast(inputs[0].device.type if inputs else "cpu", dtype=autocast)


def sum_of_output_means(output: Any, _: Any = None) -> Tensor:
    """Return the sum of the means of all floating-point tensors in an output.

    Raises:
        CostError: There is none.
    """
    means = [tensor.mean() for tensor in tensors_in(output) if tensor.is_floating_point()]
    if not means:
        raise CostError(
            f"the model returned {describe_type(output)}, which holds no floating-point tensor: "
            "return at least one, or pass a loss that makes one."
        )
    total = means[0]
    for mean in means[1:]:
        total = total + mean
    return total


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested tuples, lists, mappings and plain objects, each path once."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tensors_in(item)
    elif hasattr(value, "__dict__") and not isinstance(value, type | nn.Module):
        yield from tensors_in(vars(value))
