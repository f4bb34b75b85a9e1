"""What a tape can do without, so that the rest gives the same bits.

Four kinds of calls: copies and aliases that only autograd's bookkeeping needed; views of views,
each of which is taken in one go; tensors that are the same in every step (views of weights, numbers
of places, a gradient of ones), which are made once; and what nothing comes of.

Entry point: `reduced`.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .tape import Call, Geometry, Slot, Tape, slots_in

_ALIKE = frozenset(
    getattr(torch.ops.aten, name).default
    for name in ("ones_like", "zeros_like", "full_like", "new_zeros", "new_ones", "new_full")
)
"""Operators that look at a tensor's sizes alone."""

_EMPTY = torch.ops.aten.new_empty_strided.default
_COPY = torch.ops.aten.copy_.default
_AS_STRIDED = torch.ops.aten.as_strided.default

Names = dict[Slot, Slot]
"""Slots to others that hold the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reduced:
    """What is left of a tape.

    Attributes:
        inputs: Slots of the step's own arguments.
        output: Slot of its result.
        calls: What every step must call.
        fixed: Tensors that are there before.
    """

    inputs: tuple[Slot, ...]
    output: Slot
    calls: list[Call]
    fixed: dict[Slot, Tensor]


def reduced(tape: Tape) -> Reduced:
    """Return what is left of a tape."""
    names: Names = {}
    calls = _without_copies(tape, names)
    copied = {tape.memory[copy] for copy in names}
    calls = _without_aliases(tape, calls, names)
    assert tape.output is not None, "a tape is finished before it is read"
    output = _named(tape.output, names)
    calls, fixed = _hoisted(tape, _without_detours(tape, calls, copied))
    return Reduced(inputs=tape.inputs, output=output, calls=_live(calls, output), fixed=fixed)


def _without_copies(tape: Tape, names: Names) -> list[Call]:
    """Leave out the copies by which autograd keeps a gradient from its other holders.

    Where neither side is written again, as when the optimizer alone reads it, the original serves.
    """
    writes: dict[int, int] = {}
    for call in tape.calls:
        for memory in {tape.memory[slot] for slot in call.written}:
            writes[memory] = writes.get(memory, 0) + 1
    fresh = {call.outputs[0] for call in tape.calls if call.operator is _EMPTY}
    for call in tape.calls:
        if call.operator is not _COPY or call.arguments[0] not in fresh:
            continue
        copy, source = call.arguments[:2]
        alike = _apart_from_offset(tape.geometry[copy]) == _apart_from_offset(tape.geometry[source])
        settled = writes[tape.memory[copy]] == 1 and tape.memory[source] not in writes
        if alike and settled:
            names[copy] = source
    return [call for call in tape.calls if not (call.outputs and call.outputs[0] in names)]


def _apart_from_offset(geometry: Geometry) -> Geometry:
    return (*geometry[:3], *geometry[4:])


def _without_aliases(tape: Tape, calls: list[Call], names: Names) -> list[Call]:
    """Leave out calls that return what there is already: the same elements of the same memory."""
    known: dict[tuple[Any, ...], Slot] = {}
    kept: list[Call] = []

    def place(slot: Slot) -> tuple[Any, ...]:
        return (tape.memory[slot], *tape.geometry[slot])

    for slot in (*tape.inputs, *tape.captured):
        known.setdefault(place(slot), slot)
    for call in calls:
        there = [known.get(place(slot)) for slot in call.results]
        if not call.written and _is_view(tape, call) and None not in there:
            pairs = zip(call.results, there, strict=True)
            names.update({slot: old for slot, old in pairs if old is not None and old != slot})
            continue
        for slot in call.results:
            known.setdefault(place(slot), slot)
        kept.append(_renamed(call, names))
    return kept


def _without_detours(tape: Tape, calls: list[Call], copied: Collection[int]) -> list[Call]:
    """Take every view of the tensor whose memory it is; what it came by is then of no use.

    Views of copies that were left out stay: their originals may lie elsewhere in their memory.
    """
    owners: dict[int, Slot] = {}
    for slot in (*tape.inputs, *tape.captured):
        owners.setdefault(tape.memory[slot], slot)
    kept = []
    for call in calls:
        kept.append(_in_one_go(tape, call, owners) if _is_view(tape, call) else call)
        for slot in call.results:
            if tape.memory[slot] not in copied:
                owners.setdefault(tape.memory[slot], slot)
    return kept


def _in_one_go(tape: Tape, call: Call, owners: dict[int, Slot]) -> Call:
    """Return the view of an owner that a call returns; the call itself where it is no mere view."""
    if call.written or not call.single:
        return call
    (view,) = call.results
    owner = owners.get(tape.memory[view])
    if owner is None:
        return call
    dtype, shape, strides, offset, *bits = tape.geometry[view]
    if tape.geometry[owner][0] != dtype or tape.geometry[owner][4:] != tuple(bits):
        return call
    arguments = (owner, shape, strides, offset)
    return replace(call, operator=_AS_STRIDED, arguments=arguments, options={}, inputs=(owner,))


def _is_view(tape: Tape, call: Call) -> bool:
    """Whether all that a call returned lies in memory that it was given."""
    given = {tape.memory[slot] for slot in call.inputs}
    return bool(call.results) and all(tape.memory[slot] in given for slot in call.results)


def _renamed(call: Call, names: Names) -> Call:
    """Return a call that is given every tensor by its first name."""
    arguments = tuple(_named(value, names) for value in call.arguments)
    options = {name: _named(value, names) for name, value in call.options.items()}
    inputs = tuple(slots_in([arguments, *options.values()]))
    return replace(call, arguments=arguments, options=options, inputs=inputs)


def _named(value: Any, names: Names) -> Any:
    if isinstance(value, Slot):
        while value in names:
            value = names[value]
        return value
    return [_named(one, names) for one in value] if isinstance(value, list) else value


def _hoisted(tape: Tape, calls: list[Call]) -> tuple[list[Call], dict[Slot, Tensor]]:
    """Return the calls that are left, and the tensors that are the same in every step.

    Those are what was captured, views of it, and what is made of sizes alone and never written.
    """
    fixed = dict(tape.captured)
    written = {tape.memory[slot] for call in calls for slot in call.written}
    constant: set[Slot] = set()
    rest = []
    for call in calls:
        of_sizes = call.operator in _ALIKE or constant.issuperset(call.inputs)
        is_constant = of_sizes and not any(tape.memory[slot] in written for slot in call.results)
        is_fixed_view = all(slot in fixed for slot in call.inputs) and _is_view(tape, call)
        if call.written or call.random or not call.results or not (is_constant or is_fixed_view):
            rest.append(call)
            continue
        fixed.update(_evaluated(tape, call, fixed))
        if is_constant:
            constant.update(call.results)
    return rest, fixed


def _evaluated(tape: Tape, call: Call, fixed: dict[Slot, Tensor]) -> dict[Slot, Tensor]:
    """Return what a call gives whatever the batch; of a tensor of the batch only sizes count."""

    def filled(value: Any) -> Any:
        if isinstance(value, Slot):
            return fixed[value] if value in fixed else _stand_in(tape, value)
        return [filled(one) for one in value] if isinstance(value, list) else value

    with torch.no_grad():
        found = call.operator(
            *map(filled, call.arguments),
            **{name: filled(value) for name, value in call.options.items()},
        )
    pairs = zip(call.outputs, [found] if call.single else found, strict=True)
    return {slot: value for slot, value in pairs if slot is not None}


def _stand_in(tape: Tape, slot: Slot) -> Tensor:
    dtype, shape, strides = tape.geometry[slot][:3]
    return torch.empty_strided(shape, strides, dtype=dtype)


def _live(calls: list[Call], output: Slot) -> list[Call]:
    """Return the calls that something comes of."""
    needed, kept = {output}, []
    for call in reversed(calls):
        if call.written or call.random or needed.intersection(call.results):
            kept.append(call)
            needed.update(call.inputs)
    return kept[::-1]
