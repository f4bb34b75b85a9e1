"""A program: a Python function, generated from a tape, that calls the step's operators in order.

Entry points: `ReplayProgram`, `compile_tape`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, final

from torch import Tensor

from .operators import fastest_callable
from .optimize import OptimisedTape, optimise
from .tape import Call, Tape, TensorId, tensor_ids_in


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayProgram:
    """A training step as a function.

    Attributes:
        run: `run(inputs, targets)` does the step and returns its loss; the arguments have the
            shapes and strides of the recorded ones.
        mutated: Tensors that the step changes in place.
        source: The function's code.
    """

    run: Callable[[Tensor, Tensor], Tensor]
    mutated: tuple[Tensor, ...]
    source: str


def compile_tape(tape: Tape) -> ReplayProgram:
    """Return the program of a tape."""
    return _CodeWriter(optimise(tape), tape).write()


@final
class _CodeWriter:
    """Writes a program as Python; constants are default arguments, the fastest to read.

    So networks of one structure have the same source, which is compiled once.
    """

    def __init__(self, optimised: OptimisedTape, tape: Tape) -> None:
        self._optimised, self._tape = optimised, tape
        self._constants: list[Any] = []
        self._constant_names: dict[Any, str] = {}

    def write(self) -> ReplayProgram:
        """Return the program; every tensor is deleted after its last use."""
        calls, output = self._optimised.calls, self._optimised.output
        last_use = {
            tensor_id: index for index, call in enumerate(calls) for tensor_id in call.inputs
        }
        last_use[output] = len(calls)
        deletions: dict[int, list[str]] = {}
        for tensor_id, index in last_use.items():
            if tensor_id not in self._optimised.constants:
                deletions.setdefault(index, []).append(f"v{tensor_id}")
        lines = []
        for index, call in enumerate(calls):
            lines.append(self._call_line(call, last_use))
            if index in deletions:
                lines.append(f"del {', '.join(deletions[index])}")
        lines.append(f"return {self._expression(output)}")
        parameters = [f"v{tensor_id}" for tensor_id in self._optimised.inputs]
        parameters += [f"c{position}" for position in range(len(self._constants))]
        source = f"def step({', '.join(parameters)}):\n" + "".join(
            f"    {line}\n" for line in lines
        )
        run = FunctionType(_compile_source(source), {}, "step", tuple(self._constants))
        mutated_ids = {
            tensor_id
            for call in calls
            for tensor_id in call.mutated
            if tensor_id in self._optimised.constants
        }
        mutated = tuple(self._optimised.constants[tensor_id] for tensor_id in sorted(mutated_ids))
        return ReplayProgram(run=run, mutated=mutated, source=source)

    def _call_line(self, call: Call, last_use: dict[TensorId, int]) -> str:
        operation = fastest_callable(call, self._tape.geometry, self._optimised.constants)
        function = self._constant(operation, key=call)
        arguments = [self._expression(value) for value in call.arguments]
        arguments += [f"{name}={self._expression(value)}" for name, value in call.keywords.items()]
        invocation = f"{function}({', '.join(arguments)})"
        targets = [
            f"v{tensor_id}" if tensor_id in last_use and tensor_id not in call.mutated else "_"
            for tensor_id in call.outputs
        ]
        if all(name == "_" for name in targets):
            return invocation
        return f"{', '.join(targets)}{'' if call.returns_single else ','} = {invocation}"

    def _expression(self, value: Any) -> str:
        """Return the source of an argument: a variable, a list with variables, or a constant."""
        if isinstance(value, TensorId):
            constants = self._optimised.constants
            return (
                self._constant(constants[value], key=value) if value in constants else f"v{value}"
            )
        if isinstance(value, list) and any(True for _ in tensor_ids_in(value)):
            if all(tensor_id in self._optimised.constants for tensor_id in tensor_ids_in(value)):
                return self._constant(
                    [self._optimised.constants.get(element, element) for element in value], key=None
                )
            return f"[{', '.join(map(self._expression, value))}]"
        return self._constant(value, key=None)

    def _constant(self, value: Any, *, key: Any) -> str:
        """Return the name of a constant; values with the same key share a name."""
        if key in self._constant_names:
            return self._constant_names[key]
        self._constants.append(value)
        name = f"c{len(self._constants) - 1}"
        if key is not None:
            self._constant_names[key] = name
        return name


@lru_cache(maxsize=64)
def _compile_source(source: str) -> CodeType:
    """Return the code of a function definition."""
    module = compile(source, "<replay>", "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))
