"""A program: a tape turned into a Python function that calls torch's operators one after the other.

Entry points: `Program`, `compile_tape`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, final

from torch import Tensor

from .operators import quickest
from .optimize import Reduced, reduced
from .tape import Call, Slot, Tape, slots_in


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A step ready to be repeated.

    Attributes:
        run: `run(inputs, targets)` does the step and returns its loss; the arguments lie in their
            memory as the recorded ones did.
        changed: What it changes.
        text: Its code.
    """

    run: Callable[[Tensor, Tensor], Tensor]
    changed: tuple[Tensor, ...]
    text: str


def compile_tape(tape: Tape) -> Program:
    """Return the program of a tape."""
    return _Writer(reduced(tape), tape).program()


@final
class _Writer:
    """Writes a program as Python; everything fixed is a default argument, the fastest to reach.

    So networks of one structure have the same text, which is compiled once.
    """

    def __init__(self, step: Reduced, tape: Tape) -> None:
        self._step, self._tape = step, tape
        self._arguments: list[Any] = []
        self._names: dict[Any, str] = {}

    def program(self) -> Program:
        """Return the program; every tensor is let go after its last use."""
        calls, output = self._step.calls, self._step.output
        last = {slot: place for place, call in enumerate(calls) for slot in call.inputs}
        last[output] = len(calls)
        ends: dict[int, list[str]] = {}
        for slot, place in last.items():
            if slot not in self._step.fixed:
                ends.setdefault(place, []).append(f"v{slot}")
        lines = []
        for place, call in enumerate(calls):
            lines.append(self._line(call, last))
            if place in ends:
                lines.append(f"del {', '.join(ends[place])}")
        lines.append(f"return {self._written(output)}")
        parameters = [f"v{slot}" for slot in self._step.inputs]
        parameters += [f"c{number}" for number in range(len(self._arguments))]
        text = f"def step({', '.join(parameters)}):\n" + "".join(f"    {line}\n" for line in lines)
        run = FunctionType(_compiled(text), {}, "step", tuple(self._arguments))
        written = {slot for call in calls for slot in call.written if slot in self._step.fixed}
        changed = tuple(self._step.fixed[slot] for slot in sorted(written))
        return Program(run=run, changed=changed, text=text)

    def _line(self, call: Call, last: dict[Slot, int]) -> str:
        quick = quickest(call, self._tape.geometry, self._step.fixed)
        function = self._constant(quick, key=call)
        arguments = [self._written(value) for value in call.arguments]
        arguments += [f"{name}={self._written(value)}" for name, value in call.options.items()]
        applied = f"{function}({', '.join(arguments)})"
        new = [
            f"v{slot}" if slot in last and slot not in call.written else "_"
            for slot in call.outputs
        ]
        if all(name == "_" for name in new):
            return applied
        return f"{', '.join(new)}{'' if call.single else ','} = {applied}"

    def _written(self, value: Any) -> str:
        """Return how an argument is written: a variable, a list with variables, or a constant."""
        if isinstance(value, Slot):
            fixed = self._step.fixed
            return self._constant(fixed[value], key=value) if value in fixed else f"v{value}"
        if isinstance(value, list) and any(True for _ in slots_in(value)):
            if all(slot in self._step.fixed for slot in slots_in(value)):
                return self._constant([self._step.fixed.get(one, one) for one in value], key=None)
            return f"[{', '.join(map(self._written, value))}]"
        return self._constant(value, key=None)

    def _constant(self, value: Any, *, key: Any) -> str:
        """Return the name of a fixed value; with a key, the same name whenever it comes."""
        if key in self._names:
            return self._names[key]
        self._arguments.append(value)
        name = f"c{len(self._arguments) - 1}"
        if key is not None:
            self._names[key] = name
        return name


@lru_cache(maxsize=64)
def _compiled(text: str) -> CodeType:
    """Return the code of a function definition."""
    module = compile(text, "<replay>", "exec")
    return next(one for one in module.co_consts if isinstance(one, CodeType))
