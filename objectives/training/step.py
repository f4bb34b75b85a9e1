"""One training step, which training repeats and the cost counter traces.

Both call `training_step`, so the memory that is predicted is that of the very statements that run:
the batch, one forward pass, the loss, one backward pass, one update.

    step = StepSpec(inputs=(TensorSpec(shape=(31,)),),
                    targets=TensorSpec(shape=(), dtype=torch.int64), loss=cross_entropy)

Entry points: `StepSpec` and `TensorSpec` (the example batch), `batch_specs`,
`make_step_optimizer`, `training_step`, `autocast_context`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..data.streams.batch import Batch, find_tensors, map_tensors
from ..errors import CostError, DataError, describe_type
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
        whole: Whether `shape` is that of the whole batch, however many samples it has: of a table
            that all samples share, say.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    whole: bool = False

    def batch(self, size: int) -> Tensor:
        """Return an uninitialised batch [size, *shape] on the device in force."""
        return torch.empty(self.sizes(size), dtype=self.dtype)

    def zeros(self, size: int) -> Tensor:
        """Return a batch [size, *shape] of zeros, valid as numbers and as indices."""
        return torch.zeros(self.sizes(size), dtype=self.dtype)

    def sizes(self, size: int) -> tuple[int, ...]:
        """Return the shape of a batch of so many samples."""
        return self.shape if self.whole else (size, *self.shape)


Specs = Any
"""Tuples, lists and mappings with `TensorSpec`s where a batch has tensors; whatever else they hold
is handed on as it is."""


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """What one training step works on and how.

    Attributes:
        inputs: What the model is called with: specs of positional arguments, or of keyword
            arguments by their names. An argument may be nested, see `Specs`.
        targets: What the loss compares with, a spec or nested ones; None where the loss gets the
            batch as it was given.
        given: The batch as it was given, where there are no targets; None where that is the inputs.
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
        foreach: Whether an optimizer that is given by its name updates all parameters at once,
            which torch does on a GPU unless told otherwise; then their temporaries live together.
        shared: Whether one spec in several places is one tensor, as in the batch that they were
            read from; else each place has a tensor of its own.
    """

    inputs: tuple[Specs, ...] | Mapping[str, Specs]
    targets: Specs = None
    given: Specs = None
    batch_size: int = 64
    optimizer: str | OptimizerFactory = "adamw"
    loss: LossFunction | None = None
    autocast: torch.dtype | None = None
    device_type: Literal["cpu", "cuda"] = "cpu"
    capability: tuple[int, int] | None = None
    accumulate: int = 1
    foreach: bool = False
    shared: bool = False

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

    def empty(self) -> Batch:
        """Return a whole batch without values, on the device in force."""
        return self._batch(lambda spec: spec.batch(self.batch_size))

    def zeros(self, rows: int) -> Batch:
        """Return a batch of zeros, valid as numbers and as indices, on the device in force."""
        return self._batch(lambda spec: spec.zeros(rows))

    def describe_inputs(self) -> str:
        """Return the shapes and types of a whole batch's inputs, for people."""
        named = self.inputs.items() if isinstance(self.inputs, Mapping) else enumerate(self.inputs)
        return ", ".join(
            f"{name if isinstance(name, str) else ''} {list(spec.sizes(self.batch_size))} "
            f"{str(spec.dtype).removeprefix('torch.')}".strip()
            for name, value in named
            for spec in _specs_in(value)
        )

    def _batch(self, make: Callable[[TensorSpec], Tensor]) -> Batch:
        made: dict[int, Tensor] = {}

        def make_once(spec: TensorSpec) -> Tensor:
            if id(spec) not in made or not self.shared:
                made[id(spec)] = make(spec)
            return made[id(spec)]

        inputs, targets = _fill(self.inputs, make_once), _fill(self.targets, make_once)
        given = inputs if targets is None else (inputs, targets)
        if self.given is not None:
            # What is in both is one tensor: a batch is not there twice.
            given = _fill(
                self.given, lambda spec: made[id(spec)] if id(spec) in made else make(spec)
            )
        elif targets is None and isinstance(inputs, tuple) and len(inputs) == 1:
            (given,) = inputs
        if isinstance(inputs, Mapping):
            return Batch(args=(), kwargs=inputs, targets=targets, given=given)
        return Batch(args=inputs, kwargs={}, targets=targets, given=given)


def batch_specs(batch: Batch) -> dict[str, Specs]:
    """Return the specs of a batch like another: `inputs`, `targets`, `given`, `shared` of a step.

    What is one tensor there, such as labels that go into the forward, too, is one spec. A tensor
    without a first axis of as many entries as the batch has rows is the whole batch's.
    """
    rows, known = batch.rows, dict[int, TensorSpec]()

    def spec_of(tensor: Any) -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        if id(tensor) not in known:
            by_row = tensor.ndim > 0 and len(tensor) == rows
            shape = tuple(tensor.shape[1:] if by_row else tensor.shape)
            known[id(tensor)] = TensorSpec(shape=shape, dtype=tensor.dtype, whole=not by_row)
        return known[id(tensor)]

    return {
        "inputs": map_tensors(spec_of, batch.kwargs or batch.args),
        "targets": map_tensors(spec_of, batch.targets),
        "given": map_tensors(spec_of, batch.given) if batch.targets is None else None,
        "shared": True,
    }


def _fill(specs: Specs, make: Callable[[TensorSpec], Tensor]) -> Any:
    """Return a structure with tensors in the place of its specs."""
    if isinstance(specs, TensorSpec):
        return make(specs)
    if isinstance(specs, Mapping):
        return {key: _fill(value, make) for key, value in specs.items()}
    if isinstance(specs, tuple | list):
        values = [_fill(value, make) for value in specs]
        if hasattr(specs, "_fields"):
            return type(specs)(*values)
        return type(specs)(values)
    return specs


def _specs_in(specs: Specs) -> Iterator[TensorSpec]:
    """Yield the specs of a structure."""
    if isinstance(specs, TensorSpec):
        yield specs
    elif isinstance(specs, Mapping | tuple | list):
        for value in specs.values() if isinstance(specs, Mapping) else specs:
            yield from _specs_in(value)


def make_step_optimizer(
    optimizer: str | OptimizerFactory, model: nn.Module, *, foreach: bool = False
) -> torch.optim.Optimizer | None:
    """Return the optimizer over a model's trainable parameters, None when there are none."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        return None
    if isinstance(optimizer, str):
        # foreach keeps temporaries of all parameters alive at once; torch's choice depends on the
        # device, and the peak must not.
        make = _OPTIMIZERS[optimizer]
        return make(parameters, lr=1e-3, foreach=foreach)  # type: ignore[call-arg]
    return optimizer(model)


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    loss: LossFunction | None,
    batch: Batch,
    autocast: torch.dtype | None = None,
    accumulate: int = 1,
) -> Tensor:
    """Make one update and return the loss of the batch, detached.

    The output is not kept: the loss holds what it needs of it. Without a trainable parameter only
    the forward pass runs. Autocast, where a type is given, covers forward pass and loss only. With
    `accumulate` the batch passes through in so many parts of (almost) equal size, and the loss is
    their mean, weighed by their rows. A loss without targets gets the batch as it was given.
    """
    if optimizer is not None:
        optimizer.zero_grad(set_to_none=True)
    total: Tensor | None = None
    for part, weight in _split_batch(batch, accumulate):
        with autocast_context(autocast, part):
            value = (loss or sum_of_output_means)(part.call(model), part.compared)
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


def _split_batch(batch: Batch, accumulate: int) -> Iterator[tuple[Batch, float]]:
    """Yield the parts of a batch with their share of its rows.

    Raises:
        DataError: Something in it is no tensor, and moves as one: a packed sequence, a graph.
    """
    if accumulate == 1:
        yield batch, 1.0
        return
    for value in find_tensors((batch.args, batch.kwargs, batch.compared)):
        if not isinstance(value, Tensor):
            raise DataError(
                f"a batch holds {describe_type(value)}, which cannot be divided into {accumulate} "
                "parts: leave accumulate out."
            )
    rows = batch.rows
    size, larger = divmod(rows, accumulate)
    start = 0
    for part in range(accumulate):
        stop = start + size + (part < larger)
        if stop > start:
            yield batch.select(slice(start, stop)), (stop - start) / rows
        start = stop


def autocast_context(autocast: torch.dtype | None, batch: Batch) -> AbstractContextManager[object]:
    """Return torch.autocast on the device of a batch, or nothing where no type is given."""
    if autocast is None:
        return nullcontext()
    first = next(batch.tensors, None)
    return torch.autocast("cpu" if first is None else first.device.type, dtype=autocast)


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
