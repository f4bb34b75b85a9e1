"""Which calls of a tape are not needed for the same bits.

There are four kinds: copies and aliases that only autograd's bookkeeping needed; views of views,
which are replaced by one view; tensors that are the same in every step (views of weights, index
ranges, a gradient of ones), which are made once; and calls whose results are not used.

Entry point: `optimise`.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .tape import Call, Geometry, Tape, TensorId, tensor_ids_in

_SIZE_ONLY = frozenset(
    getattr(torch.ops.aten, name).default
    for name in ("ones_like", "zeros_like", "full_like", "new_zeros", "new_ones", "new_full")
)
"""Operators whose results depend on a tensor's sizes alone."""

_NEW_EMPTY_STRIDED = torch.ops.aten.new_empty_strided.default
_COPY = torch.ops.aten.copy_.default
_AS_STRIDED = torch.ops.aten.as_strided.default

Aliases = dict[TensorId, TensorId]
"""Tensors to other tensors with the same values."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OptimisedTape:
    """The part of a tape that is needed.

    Attributes:
        inputs: Identities of the step's own arguments.
        output: Identity of its result.
        calls: Calls of every step.
        constants: Tensors that exist before the step.
    """

    inputs: tuple[TensorId, ...]
    output: TensorId
    calls: list[Call]
    constants: dict[TensorId, Tensor]


def optimise(tape: Tape) -> OptimisedTape:
    """Return the part of a tape that is needed."""
    aliases: Aliases = {}
    calls = _remove_copies(tape, aliases)
    copied_memory = {tape.memory_ids[copy] for copy in aliases}
    calls = _remove_aliases(tape, calls, aliases)
    assert tape.output is not None, "a tape is finished before it is read"
    output = _resolve_aliases(tape.output, aliases)
    calls, constants = _hoist_constants(tape, _collapse_views(tape, calls, copied_memory))
    return OptimisedTape(
        inputs=tape.inputs, output=output, calls=_live_calls(calls, output), constants=constants
    )


def _remove_copies(tape: Tape, aliases: Aliases) -> list[Call]:
    """Remove the copies that autograd makes of a gradient which something else holds, too.

    Where neither copy nor original is written again, the original can be used instead.
    """
    write_counts: dict[int, int] = {}
    for call in tape.calls:
        for memory in {tape.memory_ids[tensor_id] for tensor_id in call.mutated}:
            write_counts[memory] = write_counts.get(memory, 0) + 1
    new_tensors = {call.outputs[0] for call in tape.calls if call.operator is _NEW_EMPTY_STRIDED}
    for call in tape.calls:
        if call.operator is not _COPY or call.arguments[0] not in new_tensors:
            continue
        copy, source = call.arguments[:2]
        same_geometry = _without_offset(tape.geometry[copy]) == _without_offset(
            tape.geometry[source]
        )
        written_once = (
            write_counts[tape.memory_ids[copy]] == 1 and tape.memory_ids[source] not in write_counts
        )
        if same_geometry and written_once:
            aliases[copy] = source
    return [call for call in tape.calls if not (call.outputs and call.outputs[0] in aliases)]


def _without_offset(geometry: Geometry) -> Geometry:
    return (*geometry[:3], *geometry[4:])


def _remove_aliases(tape: Tape, calls: list[Call], aliases: Aliases) -> list[Call]:
    """Remove calls that return a tensor that exists: the same elements of the same memory."""
    first_ids: dict[tuple[Any, ...], TensorId] = {}
    remaining: list[Call] = []

    def location(tensor_id: TensorId) -> tuple[Any, ...]:
        return (tape.memory_ids[tensor_id], *tape.geometry[tensor_id])

    for tensor_id in (*tape.inputs, *tape.captured):
        first_ids.setdefault(location(tensor_id), tensor_id)
    for call in calls:
        existing = [first_ids.get(location(tensor_id)) for tensor_id in call.results]
        if not call.mutated and _is_view(tape, call) and None not in existing:
            pairs = zip(call.results, existing, strict=True)
            aliases.update(
                {
                    tensor_id: original
                    for tensor_id, original in pairs
                    if original is not None and original != tensor_id
                }
            )
            continue
        for tensor_id in call.results:
            first_ids.setdefault(location(tensor_id), tensor_id)
        remaining.append(_substitute_aliases(call, aliases))
    return remaining


def _collapse_views(tape: Tape, calls: list[Call], copied_memory: Collection[int]) -> list[Call]:
    """Replace every view by a view of the tensor that owns the memory, without steps between.

    Views of removed copies stay: the originals may have other offsets in their memory.
    """
    owners: dict[int, TensorId] = {}
    for tensor_id in (*tape.inputs, *tape.captured):
        owners.setdefault(tape.memory_ids[tensor_id], tensor_id)
    rewritten = []
    for call in calls:
        rewritten.append(_direct_view(tape, call, owners) if _is_view(tape, call) else call)
        for tensor_id in call.results:
            if tape.memory_ids[tensor_id] not in copied_memory:
                owners.setdefault(tape.memory_ids[tensor_id], tensor_id)
    return rewritten


def _direct_view(tape: Tape, call: Call, owners: dict[int, TensorId]) -> Call:
    """Return the call that makes a view from its owner; the call itself where it is no view."""
    if call.mutated or not call.returns_single:
        return call
    (view,) = call.results
    owner = owners.get(tape.memory_ids[view])
    if owner is None:
        return call
    dtype, shape, strides, offset, *flags = tape.geometry[view]
    if tape.geometry[owner][0] != dtype or tape.geometry[owner][4:] != tuple(flags):
        return call
    arguments = (owner, shape, strides, offset)
    return replace(call, operator=_AS_STRIDED, arguments=arguments, keywords={}, inputs=(owner,))


def _is_view(tape: Tape, call: Call) -> bool:
    """Return whether all results of a call lie in the memory of its arguments."""
    input_memory = {tape.memory_ids[tensor_id] for tensor_id in call.inputs}
    return bool(call.results) and all(
        tape.memory_ids[tensor_id] in input_memory for tensor_id in call.results
    )


def _substitute_aliases(call: Call, aliases: Aliases) -> Call:
    """Return a call with every alias replaced by the tensor that it stands for."""
    arguments = tuple(_resolve_aliases(value, aliases) for value in call.arguments)
    options = {name: _resolve_aliases(value, aliases) for name, value in call.keywords.items()}
    inputs = tuple(tensor_ids_in([arguments, *options.values()]))
    return replace(call, arguments=arguments, keywords=options, inputs=inputs)


def _resolve_aliases(value: Any, aliases: Aliases) -> Any:
    if isinstance(value, TensorId):
        while value in aliases:
            value = aliases[value]
        return value
    return (
        [_resolve_aliases(element, aliases) for element in value]
        if isinstance(value, list)
        else value
    )


def _hoist_constants(tape: Tape, calls: list[Call]) -> tuple[list[Call], dict[TensorId, Tensor]]:
    """Return the remaining calls, and the tensors that are the same in every step.

    Those are captured tensors, views of them, and results that depend on sizes alone and are never
    written to.
    """
    constants = dict(tape.captured)
    written = {tape.memory_ids[tensor_id] for call in calls for tensor_id in call.mutated}
    from_sizes: set[TensorId] = set()
    remaining = []
    for call in calls:
        depends_on_sizes = call.operator in _SIZE_ONLY or from_sizes.issuperset(call.inputs)
        is_constant = depends_on_sizes and not any(
            tape.memory_ids[tensor_id] in written for tensor_id in call.results
        )
        is_constant_view = all(tensor_id in constants for tensor_id in call.inputs) and _is_view(
            tape, call
        )
        if (
            call.mutated
            or call.is_random
            or not call.results
            or not (is_constant or is_constant_view)
        ):
            remaining.append(call)
            continue
        constants.update(_evaluate(tape, call, constants))
        if is_constant:
            from_sizes.update(call.results)
    return remaining, constants


def _evaluate(tape: Tape, call: Call, constants: dict[TensorId, Tensor]) -> dict[TensorId, Tensor]:
    """Return the result of a call that does not depend on the batch's values, but on its sizes."""

    def substitute(value: Any) -> Any:
        if isinstance(value, TensorId):
            return constants[value] if value in constants else _placeholder(tape, value)
        return [substitute(element) for element in value] if isinstance(value, list) else value

    with torch.no_grad():
        result = call.operator(
            *map(substitute, call.arguments),
            **{name: substitute(value) for name, value in call.keywords.items()},
        )
    pairs = zip(call.outputs, [result] if call.returns_single else result, strict=True)
    return {tensor_id: value for tensor_id, value in pairs if tensor_id is not None}


def _placeholder(tape: Tape, tensor_id: TensorId) -> Tensor:
    dtype, shape, strides = tape.geometry[tensor_id][:3]
    return torch.empty_strided(shape, strides, dtype=dtype)


def _live_calls(calls: list[Call], output: TensorId) -> list[Call]:
    """Return the calls whose results are used, or that change a tensor."""
    needed, live = {output}, []
    for call in reversed(calls):
        if call.mutated or call.is_random or needed.intersection(call.results):
            live.append(call)
            needed.update(call.inputs)
    return live[::-1]
