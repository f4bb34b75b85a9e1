"""Live bytes: what all tensors hold together, operation by operation, and where the peak lies.

A tensor's storage is counted once however many views share it, from the operation that returns it
until its last owner lets go. After every operation that made a new storage the sum is noted; the
sequence of these sums is the *timeline*, and its maximum the peak. In between only releases
happen, so no higher value is missed.

What is counted are tensors. Scratch space that a kernel takes and returns within one operation is
not visible here; on the CPU it belongs to oneDNN and is not part of the figure. The workspace that
a fused recurrent layer keeps for the backward pass is a tensor, and counted (see `workspace`).

Entry points: `LiveBytes` (the recorder), `Timeline` (what it saw), `Breakdown` (the peak's parts).
"""

import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .in_place import InPlaceRules
from .workspace import workspace_tensors

MemoryKind = Literal[
    "parameters", "buffers", "gradients", "optimizer", "batch", "activations", "workspace"
]


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """The parts of a peak, in bytes; they sum to it.

    Attributes:
        parameters: Parameters, tied ones once.
        buffers: Buffers and other tensors that the modules hold.
        gradients: Gradients of the parameters that exist at that moment.
        optimizer: State of the optimizer.
        batch: Inputs and targets of the mini-batch.
        activations: All else: what the backward pass keeps, its own gradients, temporaries.
        workspace: What kernels keep beside their results, and on a GPU what the allocator adds.
    """

    parameters: int
    buffers: int
    gradients: int
    optimizer: int
    batch: int
    activations: int
    workspace: int

    def as_dict(self) -> dict[str, int]:
        """Return the parts by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What one traced step held.

    Attributes:
        live: Live bytes, first before the step, then after each operation that made a storage.
        breakdown: The parts at the (first) peak.
        largest_tensor: Bytes of the largest storage.
    """

    live: tuple[int, ...]
    breakdown: Breakdown
    largest_tensor: int

    @property
    def peak(self) -> int:
        """Most bytes alive at once."""
        return max(self.live)


def merge_timelines(timelines: Sequence[Timeline]) -> Timeline:
    """Return one timeline of several runs, one after the other: its peak is the greatest."""
    return Timeline(
        live=tuple(value for timeline in timelines for value in timeline.live),
        breakdown=max(timelines, key=lambda timeline: timeline.peak).breakdown,
        largest_tensor=max(timeline.largest_tensor for timeline in timelines),
    )


@dataclass(slots=True)
class _Storage:
    size: int
    kind: MemoryKind
    allocated_at: int
    freed_at: int | None = None


@final
class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records inside `with` how many bytes of tensors are alive.

        recorder = LiveBytes()
        recorder.track(model.parameters(), "parameters")
        with recorder:
            ...
        recorder.relabel(gradients, "gradients")
        recorder.timeline().peak

    Attributes:
        operations: Operator overloads seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: set[Any] = set()
        self._storages: list[_Storage] = []
        self._alive: dict[int, tuple[weakref.ref[Any], _Storage]] = {}
        self._live = 0
        self._storage_count = 0
        self._samples: list[tuple[int, int]] = []
        self._in_place = InPlaceRules()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing of torch's stands between an operator's caller and this class

    def track(self, tensors: Iterable[Tensor], kind: MemoryKind) -> None:
        """Count tensors that exist before the step."""
        for tensor in tensors:
            self._track_tensor(tensor, kind)

    def relabel(self, tensors: Iterable[Tensor], kind: MemoryKind) -> None:
        """Name the kind of tensors that the step made and that are still alive."""
        for tensor in tensors:
            if tensor.layout is torch.sparse_coo:
                continue
            entry = self._alive.get(tensor.untyped_storage()._cdata)
            if entry is not None:
                entry[1].kind = kind

    def note_allocation(self, tensor: Tensor) -> None:
        """Count a tensor that the step made without an operator, as of now."""
        self._track_tensor(tensor, "activations")
        self._samples.append((self._live, self._storage_count))

    def timeline(self, slack: int = 0) -> Timeline:
        """Return what was seen; call it once the step is over.

        Args:
            slack: Bytes that each storage occupies beside its own.
        """
        samples = tuple(live + slack * count for live, count in self._samples)
        peak_index = samples.index(max(samples))
        parts = dict.fromkeys(Breakdown.__annotations__, 0)
        parts["workspace"] = slack * self._samples[peak_index][1]
        for storage in self._storages:
            if storage.allocated_at <= peak_index and (
                storage.freed_at is None or storage.freed_at > peak_index
            ):
                parts[storage.kind] += storage.size
        return Timeline(
            live=samples,
            breakdown=Breakdown(**parts),
            largest_tensor=max((storage.size for storage in self._storages), default=0),
        )

    def __enter__(self) -> "LiveBytes":
        self._samples.append((self._live, self._storage_count))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.namespace in ("prim", "profiler"):
            if func is torch.ops.prim.device.default:
                self._in_place.note_device_query(args[0])
            return func(*args, **(kwargs or {}))
        self.operations.add(func)
        numbers_size = _numbers_bytes(func, args)
        caller = sys._getframe(1)
        overwritten = self._in_place.overwritten(func, args, caller)
        if overwritten is not None:
            return torch.ops.aten.detach.default(overwritten)
        result = func(*args, **(kwargs or {}))
        self._in_place.note_result(func, result, caller)
        live_before = self._live
        # Arguments that no operation made: those of torch.from_numpy, say.
        for tensor in _flatten_tensors(args):
            self._track_tensor(tensor, "activations")
        for tensor in workspace_tensors(func, result):
            self._track_tensor(tensor, "workspace")
        for tensor in _flatten_tensors((result,)):
            self._track_tensor(tensor, "activations")
        if numbers_size:
            self._note_temporary(numbers_size)
        elif self._live > live_before:
            self._samples.append((self._live, self._storage_count))
        return result

    def _note_temporary(self, size: int) -> None:
        """Count a storage that only the operator at hand needs."""
        at = len(self._samples)
        self._storages.append(
            _Storage(size=size, kind="activations", allocated_at=at, freed_at=at + 1)
        )
        self._samples.append((self._live + size, self._storage_count + 1))

    def _track_tensor(self, tensor: Tensor, kind: MemoryKind) -> None:
        if tensor.layout is torch.sparse_coo:  # the gradient of a sparse embedding
            self._track_tensor(tensor._indices(), kind)
            self._track_tensor(tensor._values(), kind)
            return
        storage = tensor.untyped_storage()
        address = storage._cdata
        size = storage.nbytes()
        entry = self._alive.get(address)
        if entry is None:
            record = _Storage(size=size, kind=kind, allocated_at=len(self._samples))
            self._storages.append(record)
            reference = weakref.ref(storage, lambda _: self._free(address))
            self._alive[address] = (reference, record)
            self._resize(size, 0)
        elif entry[1].size != size:  # resized in place
            self._resize(size, entry[1].size)
            entry[1].size = size

    def _resize(self, size: int, old_size: int) -> None:
        self._live += size - old_size
        self._storage_count += (size > 0) - (old_size > 0)  # nothing is allocated for no bytes

    def _free(self, address: int) -> None:
        _, record = self._alive.pop(address)
        record.freed_at = len(self._samples)
        self._resize(0, record.size)


def _numbers_bytes(func: Any, args: Sequence[Any]) -> int:
    """Return the bytes of the tensors that Python's numbers become where an operator wants tensors.

    `x * 2` is a product of two tensors; the second holds one number of 8 bytes, 16 if complex.
    """
    return sum(
        16 if isinstance(args[position], complex) else 8
        for position in _tensor_positions(func)
        if position < len(args) and isinstance(args[position], int | float | complex)
    )


@cache
def _tensor_positions(func: Any) -> tuple[int, ...]:
    return tuple(
        position
        for position, argument in enumerate(func._schema.arguments)
        if isinstance(argument.type, torch.TensorType)
    )


def _flatten_tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _flatten_tensors(value)
