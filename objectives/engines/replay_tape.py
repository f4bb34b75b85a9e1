"""A tape: the operators that one training step called, below autograd, in their order.

The recorder watches a real step: what it notes is what the plain loop did, forward, backward and
update, with this network's sizes. Tensors become slots; those that the step did not make itself
(weights, statistics, the optimizer's state) are captured, and a replay works on them in place.

Entry points: `Recorder`, `Tape`, `Call`, `Slot`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

Geometry = tuple[Any, ...]
"""Type, sizes, strides, offset and conjugation: where in its memory a tensor's elements lie."""


@dataclass(frozen=True)
class Slot:
    """A tensor of the step, by the order of its appearance."""

    number: int


@dataclass(frozen=True, kw_only=True)
class Call:
    """One operator's call.

    Attributes:
        operator: An overload, such as `aten.addmm.default`.
        arguments: By position; slots in place of tensors, also inside lists.
        options: By keyword, likewise.
        outputs: The slots of what it returned, None where that was no tensor.
        single: Whether it returned one thing and not a sequence.
        written: Slots that it changed in place.
    """

    operator: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    outputs: tuple[Slot | None, ...]
    single: bool
    written: tuple[Slot, ...]

    @property
    def inputs(self) -> Iterator[Slot]:
        """The slots that it was given."""
        yield from slots_in(self.arguments)
        yield from slots_in(tuple(self.options.values()))

    @property
    def random(self) -> bool:
        """Whether it draws from torch's stream."""
        return torch.Tag.nondeterministic_seeded in self.operator.tags


@dataclass(kw_only=True)
class Tape:
    """What a step did.

    Attributes:
        inputs: Slots of the step's own arguments.
        output: Slot of its result.
        calls: Its operators.
        captured: Tensors that it found.
        memory: For each slot, a number shared by the slots that share memory.
        geometry: For each slot, where in that memory it lies.
    """

    inputs: tuple[Slot, ...] = ()
    output: Slot = Slot(-1)
    calls: list[Call] = field(default_factory=list)
    captured: dict[Slot, Tensor] = field(default_factory=dict)
    memory: list[int] = field(default_factory=list)
    geometry: list[Geometry] = field(default_factory=list)


@final
class Recorder(TorchDispatchMode):
    """Notes every operator called inside `with`; it changes nothing of what they do.

    Attributes:
        tape: What was noted.
        refusal: Why the tape is no use; None as long as it is some.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        """Make ready.

        Args:
            inputs: The step's own arguments: a replay is given others.
        """
        super().__init__()
        self.tape = Tape()
        self.refusal: str | None = None
        self._slots: Any = WeakTensorKeyDictionary()
        self._found: dict[int, int] = {}
        self.tape.inputs = tuple(self._slot_of_new(tensor, {}) for tensor in inputs)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,  # noqa: ARG002
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the operator and note it."""
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        if self.refusal is None and func.namespace != "profiler":
            try:
                self._note(func, args, kwargs, outputs)
            except NotImplementedError:  # tensors without plain memory: sparse ones, say
                self.refusal = f"{func} works on tensors that are not dense"
        return outputs

    def finish(self, output: Tensor) -> Tape:
        """Return the tape of a step that gave this output."""
        if output not in self._slots:
            self.refusal = self.refusal or "the loss does not come from an operator"
        else:
            self.tape.output = self._slots[output]
        return self.tape

    def _note(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any
    ) -> None:
        if {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & {*operator.tags}:
            self.refusal = f"{operator} reads values: the step depends on the data"
            return
        arguments = tuple(self._named(value) for value in args)
        options = {name: self._named(value) for name, value in kwargs.items()}
        memories = {
            _memory(tensor): self.tape.memory[self._slots[tensor].number]
            for tensor in _tensors_in((args, tuple(kwargs.values())))
        }
        single = not isinstance(outputs, tuple | list)
        self.tape.calls.append(
            Call(
                operator=operator,
                arguments=arguments,
                options=options,
                outputs=tuple(
                    self._slot_of_new(value, memories) if isinstance(value, Tensor) else None
                    for value in ([outputs] if single else outputs)
                ),
                single=single,
                written=_written(operator, arguments, options),
            )
        )

    def _named(self, value: Any) -> Any:
        """Return an argument with slots in place of tensors."""
        if isinstance(value, Tensor):
            if value not in self._slots:
                slot = self._slot_of_new(value, self._found)
                self._found[_memory(value)] = self.tape.memory[slot.number]
                self.tape.captured[slot] = value  # held: so its memory is never another's
            return self._slots[value]
        if isinstance(value, tuple | list):
            return [self._named(one) for one in value]
        return value

    def _slot_of_new(self, tensor: Tensor, memories: dict[int, int]) -> Slot:
        """Return a tensor's slot, a new one where it has none.

        Args:
            tensor: What an operator returned, or found.
            memories: Memory to its number in the tape, of what it may share memory with.
        """
        known: Slot | None = self._slots.get(tensor)
        if known is not None:
            return known
        slot = Slot(len(self.tape.memory))
        self.tape.memory.append(memories.get(_memory(tensor), slot.number))
        self.tape.geometry.append(_geometry(tensor))
        self._slots[tensor] = slot
        return slot


def slots_in(value: Any) -> Iterator[Slot]:
    """Yield the slots in an argument."""
    if isinstance(value, Slot):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from slots_in(one)


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _tensors_in(one)


def _written(operator: Any, arguments: Sequence[Any], options: dict[str, Any]) -> tuple[Slot, ...]:
    """Return what the operator's schema says that it changes."""
    found: list[Slot] = []
    for place, argument in enumerate(operator._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = arguments[place] if place < len(arguments) else options.get(argument.name)
            found.extend(slots_in(given))
    return tuple(found)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _geometry(tensor: Tensor) -> Geometry:
    return (
        tensor.dtype,
        tuple(tensor.shape),
        tensor.stride(),
        tensor.storage_offset(),
        tensor.is_conj(),
        tensor.is_neg(),
    )
