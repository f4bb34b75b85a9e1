"""A tape: the operators that one training step called, below autograd, in order.

The recorder runs during a real step: it records the operators of forward pass, backward pass and
update, with this network's sizes. Tensors become identities; those that the step did not make
(weights, statistics, the optimizer's state) are captured, and a replay works on them in place.

Entry points: `Recorder`, `Tape`, `Call`, `TensorId`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

Geometry = tuple[Any, ...]
"""Type, sizes, strides, offset and conjugation: where a tensor's elements lie in its memory."""


class TensorId(int):
    """A tensor of the step, numbered by first appearance."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """A call of an operator.

    Attributes:
        operator: An overload, such as `aten.addmm.default`.
        arguments: Positional arguments, with identities in place of tensors, also inside lists.
        keywords: Keyword arguments, likewise.
        outputs: Identities of the results; None for a result that is no tensor.
        returns_single: Whether it returns a single value and not a sequence.
        inputs: Identities among the arguments.
        mutated: Identities among the arguments that it changes in place.
        is_random: Whether it draws from torch's random stream.
    """

    operator: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    outputs: tuple[TensorId | None, ...]
    returns_single: bool
    inputs: tuple[TensorId, ...]
    mutated: tuple[TensorId, ...]
    is_random: bool

    @property
    def results(self) -> list[TensorId]:
        """The identities of the tensors that it returned."""
        return [tensor_id for tensor_id in self.outputs if tensor_id is not None]


@dataclass(kw_only=True, eq=False)
class Tape:
    """The recording of a step.

    Attributes:
        inputs: Identities of the step's own arguments.
        output: Identity of its result.
        calls: Its calls, in order.
        captured: Tensors that existed before the step, by identity.
        memory_ids: For each tensor_id, a number shared by the tensor_ids that share memory.
        geometry: For each tensor, where in that memory it lies.
    """

    inputs: tuple[TensorId, ...] = ()
    output: TensorId | None = None
    calls: list[Call] = field(default_factory=list)
    captured: dict[TensorId, Tensor] = field(default_factory=dict)
    memory_ids: list[int] = field(default_factory=list)
    geometry: list[Geometry] = field(default_factory=list)


@final
class Recorder(TorchDispatchMode):
    """Records every operator that is called inside `with`, without any effect on them.

    Attributes:
        tape: The recording.
        unsupported_reason: Why the recording cannot be replayed; None as long as it can.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        """Begin an empty tape.

        Args:
            inputs: The step's own arguments, in whose place a replay has others.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.tape = Tape()
        self.unsupported_reason: str | None = None
        self._ids: Any = WeakTensorKeyDictionary()
        self._captured_memory_ids: dict[int, int] = {}
        self.tape.inputs = tuple(self._identify(tensor, {}) for tensor in inputs)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: nothing is compiled here, and True would import the compiler, a second."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the operator and record it."""
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        if self.unsupported_reason is None and func.namespace != "profiler":
            try:
                self._record(func, args, kwargs, outputs)
            except NotImplementedError:  # a sparse tensor has no single memory
                self.unsupported_reason = f"{func} works on tensors that are not dense"
        return outputs

    def finish(self, output: Tensor) -> Tape:
        """Return the tape of a step that gave this output."""
        if output in self._ids:
            self.tape.output = self._ids[output]
        elif self.unsupported_reason is None:
            self.unsupported_reason = "the loss does not come from an operator"
        return self.tape

    def _record(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any
    ) -> None:
        info = _operator_info(operator)
        if info.reads_values:
            self.unsupported_reason = f"{operator} reads values: the step depends on the data"
            return
        memory_ids: dict[int, int] = {}
        arguments = tuple(self._to_tensor_ids(value, memory_ids) for value in args)
        keywords = {name: self._to_tensor_ids(value, memory_ids) for name, value in kwargs.items()}
        mutated = [arguments[index] for index in info.mutated if index < len(arguments)]
        mutated += [keywords[name] for name in info.mutated_keywords if name in keywords]
        returns_single = not isinstance(outputs, tuple | list)
        self.tape.calls.append(
            Call(
                operator=operator,
                arguments=arguments,
                keywords=keywords,
                outputs=tuple(
                    self._identify(value, memory_ids) if isinstance(value, Tensor) else None
                    for value in ([outputs] if returns_single else outputs)
                ),
                returns_single=returns_single,
                inputs=tuple(tensor_ids_in([arguments, *keywords.values()])),
                mutated=tuple(tensor_ids_in(mutated)),
                is_random=info.is_random,
            )
        )

    def _to_tensor_ids(self, value: Any, memory_ids: dict[int, int]) -> Any:
        """Return an argument with identities in place of tensors, whose memories are recorded."""
        if isinstance(value, Tensor):
            tensor_id = self._ids.get(value)
            storage = _storage_id(value)
            if tensor_id is None:
                tensor_id = self._identify(value, self._captured_memory_ids)
                self._captured_memory_ids[storage] = self.tape.memory_ids[tensor_id]
                self.tape.captured[tensor_id] = (
                    value  # kept alive, so that its memory is not reused
                )
            memory_ids[storage] = self.tape.memory_ids[tensor_id]
            return tensor_id
        if isinstance(value, tuple | list):
            return [self._to_tensor_ids(element, memory_ids) for element in value]
        return value

    def _identify(self, tensor: Tensor, memory_ids: dict[int, int]) -> TensorId:
        """Return the identity of a tensor, a new one where it has none.

        Args:
            tensor: An operator's argument or result.
            memory_ids: Memory to its number in the tape, of tensors it may share memory with.
        """
        existing: TensorId | None = self._ids.get(tensor)
        if existing is not None:
            return existing
        tensor_id = TensorId(len(self.tape.memory_ids))
        self.tape.memory_ids.append(memory_ids.get(_storage_id(tensor), tensor_id))
        self.tape.geometry.append(_geometry(tensor))
        self._ids[tensor] = tensor_id
        return tensor_id


def tensor_ids_in(value: Any) -> Iterator[TensorId]:
    """Yield the tensors in an argument, by identity."""
    if isinstance(value, TensorId):
        yield value
    elif isinstance(value, tuple | list):
        for element in value:
            yield from tensor_ids_in(element)


@dataclass(frozen=True, kw_only=True)
class _OperatorInfo:
    """Facts about an operator, from its schema."""

    reads_values: bool
    is_random: bool
    mutated: tuple[int, ...]
    mutated_keywords: tuple[str, ...]


@lru_cache(maxsize=4096)
def _operator_info(operator: Any) -> _OperatorInfo:
    tags = operator.tags
    mutated = [
        (index, argument)
        for index, argument in enumerate(operator._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return _OperatorInfo(
        reads_values=torch.Tag.data_dependent_output in tags
        or torch.Tag.dynamic_output_shape in tags,
        is_random=torch.Tag.nondeterministic_seeded in tags,
        mutated=tuple(index for index, argument in mutated if not argument.kwarg_only),
        mutated_keywords=tuple(argument.name for _, argument in mutated),
    )


def _storage_id(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _geometry(tensor: Tensor) -> Geometry:
    return (
        tensor.dtype,
        tuple(tensor.shape),
        tensor.stride(),
        tensor.storage_offset(),
        tensor.is_conj(),
        tensor.is_neg(),
    )
