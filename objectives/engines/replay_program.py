"""A program: a tape turned into a Python function that calls torch's operators one after the other.

What the tape's step did again and again with the same result is done once: views of weights, masks
of fixed shape. What only autograd needed (detached aliases, copies of gradients that nobody else
holds) is left out. Every other operator is called as it was, so the numbers are the same bits.

Entry points: `Program`, `compile_tape`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, final

import torch
from torch import Tensor

from .replay_tape import Call, Slot, Tape, slots_in

_ALIKE = frozenset(
    getattr(torch.ops.aten, name).default
    for name in ("ones_like", "zeros_like", "full_like", "new_zeros", "new_ones", "new_full")
)
"""Operators that look at a tensor's sizes alone."""

_EMPTY = torch.ops.aten.new_empty_strided.default
_COPY = torch.ops.aten.copy_.default

_FUNCTIONS = frozenset(
    "_fused_adamw_ _log_softmax _scaled_dot_product_flash_attention_for_cpu add addmm baddbmm "
    "bitwise_and bitwise_xor bmm cat clone convolution div embedding lt masked_fill mean mm mul "
    "native_batch_norm native_layer_norm neg relu sigmoid sub sum tanh".split()
)
_METHODS = frozenset(
    "__rshift__ add_ bitwise_and_ bitwise_xor_ copy_ expand mul_ permute select t transpose "
    "unsqueeze view".split()
)
"""Operators that torch binds to Python directly, with the same arguments: half the time a call."""


@dataclass(frozen=True)
class Program:
    """A step ready to be repeated.

    Attributes:
        run: `run(inputs, targets)` does the step and returns its loss.
        random: Whether it draws from torch's stream.
    """

    run: Callable[[Tensor, Tensor], Tensor]
    random: bool


def compile_tape(tape: Tape) -> Program:
    """Return the program of a tape."""
    calls, same = _without_aliases(tape, _without_copies(tape))
    output = same.get(tape.output, tape.output)
    values, rest = _hoisted(tape, calls)
    live = _live(rest, output, values)
    writer = _Writer(tape.inputs, values)
    run = writer.function(live, output)
    return Program(run, any(call.random for call in live))


def _without_copies(tape: Tape) -> tuple[list[Call], dict[Slot, Slot]]:
    """Leave out the copies by which autograd keeps a gradient from its other holders.

    In a replay there are none: neither side is written again.
    """
    same: dict[Slot, Slot] = {}
    writes: dict[int, int] = {}
    for call in tape.calls:
        for memory in {tape.memory[slot.number] for slot in call.written}:
            writes[memory] = writes.get(memory, 0) + 1
    fresh = {call.outputs[0] for call in tape.calls if call.operator is _EMPTY}
    for call in tape.calls:
        if call.operator is _COPY and call.arguments[0] in fresh:
            copy, source = call.arguments[:2]
            alike = tape.geometry[copy.number][:3] == tape.geometry[source.number][:3]
            once = writes[tape.memory[copy.number]] == 1
            untouched = tape.memory[source.number] not in writes
            if alike and once and untouched and source not in tape.captured:
                same[copy] = source
    gone = [call for call in tape.calls if call.outputs and call.outputs[0] in same]
    return [call for call in tape.calls if call not in gone], same


def _without_aliases(
    tape: Tape, found: tuple[list[Call], dict[Slot, Slot]]
) -> tuple[list[Call], dict[Slot, Slot]]:
    """Leave out calls that return what there is already: the same elements of the same memory."""
    calls, same = found
    known: dict[tuple[Any, ...], Slot] = {}
    kept: list[Call] = []

    def place(slot: Slot) -> tuple[Any, ...]:
        return (tape.memory[slot.number], *tape.geometry[slot.number])

    for slot in (*tape.inputs, *tape.captured):
        known.setdefault(place(slot), slot)
    for call in calls:
        results = [slot for slot in call.outputs if slot is not None]
        inputs = {tape.memory[slot.number] for slot in call.inputs}
        views = all(tape.memory[slot.number] in inputs for slot in results)
        if results and views and not call.written and all(place(one) in known for one in results):
            same.update({one: known[place(one)] for one in results if known[place(one)] != one})
            continue
        for slot in results:
            known.setdefault(place(slot), slot)
        kept.append(call)
    return [_renamed(call, same) for call in kept], same


def _renamed(call: Call, same: dict[Slot, Slot]) -> Call:
    """Return a call that is given slots by their first name."""
    return replace(
        call,
        arguments=tuple(_mapped(value, same) for value in call.arguments),
        options={name: _mapped(value, same) for name, value in call.options.items()},
    )


def _mapped(value: Any, same: dict[Slot, Slot]) -> Any:
    if isinstance(value, Slot):
        while value in same:
            value = same[value]
        return value
    return [_mapped(one, same) for one in value] if isinstance(value, list) else value


def _hoisted(tape: Tape, calls: list[Call]) -> tuple[dict[Slot, Tensor], list[Call]]:
    """Return the tensors that are the same in every step, and the calls that are left.

    Those are what was captured, views of it, and what is made of sizes alone and never written.
    """
    values = dict(tape.captured)
    written = {tape.memory[slot.number] for call in calls for slot in call.written}
    constant: set[Slot] = set()
    rest = []
    for call in calls:
        inputs = list(call.inputs)
        results = [slot for slot in call.outputs if slot is not None]
        memories = {tape.memory[slot.number] for slot in inputs}
        known = all(slot in values for slot in inputs)
        view = known and all(tape.memory[slot.number] in memories for slot in results)
        made = call.operator in _ALIKE or all(slot in constant for slot in inputs)
        free = not any(tape.memory[slot.number] in written for slot in results)
        if call.written or call.random or not results or not (view or (made and free)):
            rest.append(call)
            continue
        values.update(_evaluated(call, values, tape))
        if made and free:
            constant.update(results)
    return values, rest


def _evaluated(call: Call, values: dict[Slot, Tensor], tape: Tape) -> dict[Slot, Tensor]:
    """Return what a call gives, whatever the batch."""

    def filled(value: Any) -> Any:
        if isinstance(value, Slot):
            return values[value] if value in values else _stand_in(tape, value)
        return [filled(one) for one in value] if isinstance(value, list) else value

    with torch.no_grad():
        found = call.operator(
            *(filled(value) for value in call.arguments),
            **{name: filled(value) for name, value in call.options.items()},
        )
    results = [found] if call.single else found
    pairs = zip(call.outputs, results, strict=True)
    return {slot: value for slot, value in pairs if slot is not None}


def _stand_in(tape: Tape, slot: Slot) -> Tensor:
    """Return a tensor of the same sizes, for operators that look at nothing else."""
    dtype, shape, strides = tape.geometry[slot.number][:3]
    return torch.empty_strided(shape, strides, dtype=dtype)


def _live(calls: list[Call], output: Slot, values: dict[Slot, Tensor]) -> list[Call]:
    """Return the calls that something comes of."""
    needed, kept = {output}, []
    for call in reversed(calls):
        if call.written or call.random or needed.intersection(call.outputs):
            kept.append(call)
            needed.update(call.inputs)
    return kept[::-1]


@final
class _Writer:
    """Writes a program as Python; everything fixed is a default argument, the fastest to reach.

    So networks of one structure have the same text, which is compiled once.
    """

    def __init__(self, inputs: tuple[Slot, ...], values: dict[Slot, Tensor]) -> None:
        self._inputs, self._values = inputs, values
        self._fixed: list[Any] = []
        self._known: dict[Any, str] = {}

    def function(self, calls: list[Call], output: Slot) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the function of these calls."""
        last = {slot: place for place, call in enumerate(calls) for slot in call.inputs}
        last[output] = len(calls)
        ends: dict[int, list[str]] = {}
        for slot, place in last.items():
            if slot not in self._values:
                ends.setdefault(place, []).append(_variable(slot))
        lines = []
        for place, call in enumerate(calls):
            lines.append(self._line(call, last))
            if place in ends:
                lines.append(f"del {', '.join(ends[place])}")
        lines.append(f"return {self._argument(output)}")
        inputs = [_variable(slot) for slot in self._inputs]
        parameters = ", ".join(inputs + [f"c{n}" for n in range(len(self._fixed))])
        text = f"def step({parameters}):\n" + "".join(f"    {line}\n" for line in lines)
        return FunctionType(_compiled(text), {}, "step", tuple(self._fixed))

    def _line(self, call: Call, last: dict[Slot, int]) -> str:
        function = self._constant(id(call.operator), _fast(call.operator))
        arguments = [self._argument(value) for value in call.arguments]
        arguments += [f"{name}={self._argument(value)}" for name, value in call.options.items()]
        applied = f"{function}({', '.join(arguments)})"
        fresh = [
            _variable(slot) if slot in last and slot not in call.written else "_"
            for slot in call.outputs
        ]
        if all(name == "_" for name in fresh):
            return applied
        return f"{', '.join(fresh)}{'' if call.single else ','} = {applied}"

    def _argument(self, value: Any) -> str:
        """Return how an argument is written: a variable, a list of such, or a constant."""
        if isinstance(value, Slot):
            return self._tensor(value)
        if isinstance(value, list) and any(slots_in(value)):
            if all(slot in self._values for slot in slots_in(value)):
                return self._constant(None, [self._values.get(one, one) for one in value])
            return f"[{', '.join(self._argument(one) for one in value)}]"
        return self._constant(None, value)

    def _tensor(self, slot: Slot) -> str:
        return self._constant(slot, self._values[slot]) if slot in self._values else _variable(slot)

    def _constant(self, key: Any, value: Any) -> str:
        """Return the name of a fixed value; one with a key has the same name everywhere."""
        if key is None or key not in self._known:
            self._fixed.append(value)
            name = f"c{len(self._fixed) - 1}"
            if key is None:
                return name
            self._known[key] = name
        return self._known[key]


def _variable(slot: Slot) -> str:
    return f"v{slot.number}"


def _fast(operator: Any) -> Callable[..., Any]:
    """Return the quickest way to call an operator."""
    name = operator._schema.name.removeprefix("aten::")
    if name in _FUNCTIONS:
        return getattr(torch, name)  # type: ignore[no-any-return]
    if name in _METHODS:
        return getattr(Tensor, name)  # type: ignore[no-any-return]
    return operator  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _compiled(text: str) -> CodeType:
    """Return the code of a function definition."""
    module = compile(text, "<replay>", "exec")
    return next(one for one in module.co_consts if isinstance(one, CodeType))
