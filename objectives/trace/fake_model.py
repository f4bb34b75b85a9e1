"""Models without memory: any builder run on fake tensors, which have a shape and no elements.

The builder runs under torch's FakeTensorMode. Wherever it puts its tensors, they land on the fake
CPU; constants from numpy, seeds, initialisers and `.to(…)` work as they do for real. A builder that
must read values (`torch.linspace(…).tolist()`), or has lazy layers, is called again for real and
its tensors are made fake afterwards. What a builder hands in from outside comes back untouched.

    mode = FakeCPU()
    with fake_model(build, step, mode) as (model, notes), mode:
        step.empty().call(model)

Entry points: `FakeCPU`, `fake_model`, `sequences_unpacked`; `builder_error` and `require_module`,
for builders that run for real.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.modules import transformer
from torch.utils._python_dispatch import _disable_current_modes

from ..errors import CostError, ModelError, ObjectiveError, describe_error, describe_type
from ..interrupt import raise_if_interrupt
from ..model.lazy import has_lazy_layers, materialise_lazy_layers
from ..training.step import StepSpec
from ..user_code import is_tensor_too_large, root_cause, user_code_location, user_errors
from .shape_rules import KERNEL_RESULTS
from .workspace import WORKSPACE_POSITIONS, workspace_bytes

ModelFactory = Callable[[], nn.Module]

TENSOR_TOO_LARGE = "a tensor would hold more than 2**63 bytes: lower the upper ends of the widths."

_CPU = torch.device("cpu")


_DRAWS: dict[Any, Callable[[float, Sequence[Any]], float]] = {
    torch.ops.aten.rand.default: lambda number, _: number,
    torch.ops.aten.rand_like.default: lambda number, _: number,
    torch.ops.aten.uniform_.default: lambda number, args: _between(number, *(args[1:] or (0, 1))),
    torch.ops.aten.bernoulli.p: lambda number, args: float(number < args[1]),
    torch.ops.aten.bernoulli_.float: lambda number, args: float(
        number < (args[1] if len(args) > 1 else 0.5)
    ),
    torch.ops.aten.randint.default: lambda number, args: int(number * args[0]),
    torch.ops.aten.randint.low: lambda number, args: int(_between(number, args[0], args[1])),
}
"""Operators that draw: from a number in [0, 1) and the arguments to the value."""


def _between(number: float, low: float, high: float = 1.0) -> float:
    return low + number * (high - low)


@final
class FakeCPU(FakeTensorMode):  # type: ignore[no-untyped-call]
    """A fake mode with one device, that real tensors may enter.

    Attributes:
        workspaces_measured: Whether an operator was run for real to learn its workspace.
        workspaces_unknown: Whether one was too large for that.
        draw_number: Returns the value in [0, 1) of a single number that torch draws, which has a
            value then and may be branched on; None for no value.
    """

    draw_number: Callable[[], float] | None = None

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.workspaces_measured = False
        self.workspaces_unknown = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "FakeCPU":
        """Return itself: tensors of a copied mode would not mix (pytorch issue 104465).

        `nn.TransformerEncoder` copies its layers, for one.
        """
        return self

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, object] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("device") not in (None, _CPU):
            kwargs = {**kwargs, "device": _CPU}
        result: Any = super().__torch_dispatch__(func, types, args, kwargs)
        if func in _DRAWS and self.draw_number is not None and result.numel() == 1:
            self._give_value(result, _DRAWS[func](self.draw_number(), args))
        if func in WORKSPACE_POSITIONS:
            return self._with_workspace(func, args, result)
        if func in KERNEL_RESULTS:
            with self:
                return KERNEL_RESULTS[func](args, result)
        return result

    def _give_value(self, tensor: FakeTensor, value: float) -> None:
        """Let a tensor of one element have a value, that branches may read."""
        with _disable_current_modes():
            tensor.constant = torch.full(tensor.shape, value, dtype=tensor.dtype)

    def _with_workspace(self, func: Any, args: Any, result: Any) -> Any:
        """Return an operator's result with the workspace that its shape rule leaves empty."""
        if not torch.is_grad_enabled():
            return result
        size = workspace_bytes(func, args)
        if size is None:
            self.workspaces_unknown = True
            return result
        self.workspaces_measured = True
        with self:
            workspace = torch.empty(size, dtype=torch.uint8)
        position = WORKSPACE_POSITIONS[func]
        return (*result[:position], workspace, *result[position + 1 :])


@contextmanager
def fake_model(
    build: ModelFactory, step: StepSpec, mode: FakeCPU
) -> Iterator[tuple[nn.Module, list[str]]]:
    """Give the model with fake tensors only, and sentences on how it came about.

    Args:
        build: Returns a fresh model.
        step: What the model is called with; lazy layers learn their shapes from it.
        mode: Where the tensors live.

    Raises:
        ModelError: The builder raised, or returned no module.
    """
    notes: list[str] = []
    try:
        with mode, _patched_for_builders(mode):
            model = build()
    except BaseException as error:
        raise_if_interrupt(error)
        if not isinstance(root_cause(error), RuntimeError) or is_tensor_too_large(
            root_cause(error)
        ):
            raise builder_error(error) from error
        model = _build_real(build, step)  # torch refuses fake tensors by a RuntimeError
        notes.append(
            "the builder does not run on tensors without memory: each candidate is built for real "
            "before it is counted."
        )
    with _fake_tensors_swapped_in(require_module(model), mode), _square_masks_causal():
        yield model, notes


@contextmanager
def _patched_for_builders(mode: FakeCPU) -> Iterator[None]:
    """Let what builders commonly do succeed on fake tensors.

    `Module.to` swaps parameters, which torch refuses while the mode's memo points to them;
    `trunc_normal_` draws until all values are within bounds, and here there are no values.
    """
    original_swap = torch.utils.swap_tensors

    def swap_without_memo(first: Tensor, second: Tensor) -> None:
        mode.fake_tensor_converter.meta_converter.tensor_memo.clear()
        original_swap(first, second)  # type: ignore[no-untyped-call]

    def leave_unchanged(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
        return tensor

    with (
        _patched_attribute(torch.utils, "swap_tensors", swap_without_memo),
        _patched_attribute(nn.init, "_no_grad_trunc_normal_", leave_unchanged),
    ):
        yield


@contextmanager
def sequences_unpacked() -> Iterator[None]:
    """Let Hugging Face's Transformers take a batch for whole sequences, as it does for real.

    It looks into the positions for several sequences packed into one, and cannot where they have no
    values; then it builds a mask, and repeats keys and values, that no real step needs.
    """
    masking = sys.modules.get("transformers.masking_utils")
    name = "find_packed_sequence_indices"
    if masking is None or not hasattr(masking, name):
        yield
        return
    with _patched_attribute(masking, name, lambda position_ids: None):  # noqa: ARG005
        yield


@contextmanager
def _square_masks_causal() -> Iterator[None]:
    """Let torch's Transformers take a mask of length × length for the causal one.

    They compare it with that one, and here it has no values. What stands in a mask changes neither
    FLOPs nor parameters; one of this shape that is not causal is kept, for real, where a causal one
    may not be.
    """

    def is_causal_mask(
        mask: Tensor | None, is_causal: bool | None = None, size: int | None = None
    ) -> bool:
        if is_causal is not None or mask is None:
            return is_causal is True
        length = mask.size(-2) if size is None else size
        return tuple(mask.shape) == (length, length)

    with _patched_attribute(transformer, "_detect_is_causal_mask", is_causal_mask):
        yield


@contextmanager
def _patched_attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _build_real(build: ModelFactory, step: StepSpec) -> nn.Module:
    with user_errors(builder_error):
        model = require_module(build())
        if has_lazy_layers(model):
            materialise_lazy_layers(model, step.zeros(2))
    return model


def builder_error(error: BaseException) -> ObjectiveError:
    """Return the sentence for a builder that raised."""
    if is_tensor_too_large(root_cause(error)):
        return CostError(TENSOR_TOO_LARGE)
    if isinstance(error, ObjectiveError):
        return error
    return ModelError(
        f"the builder raised {describe_error(error)}"
        f"{user_code_location(error)}; it must return a torch.nn.Module for every candidate of the "
        "space."
    )


def require_module(model: object) -> nn.Module:
    """Return what a builder returned, if it is a module.

    Raises:
        ModelError: It is none.
    """
    if isinstance(model, nn.Module):
        return model
    raise ModelError(
        f"the builder returned {describe_type(model)}, expected a torch.nn.Module: return the "
        "model itself."
    )


@contextmanager
def _fake_tensors_swapped_in(model: nn.Module, mode: FakeCPU) -> Iterator[None]:
    """Replace a model's real tensors by fake ones inside; shared ones stay shared."""
    undo: list[tuple[dict[str, Any], str, Tensor]] = []
    training = [(module, module.training) for module in model.modules()]
    fakes: dict[int, Tensor] = {}
    for module in model.modules():
        containers: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, vars(module))
        for container in containers:
            for name, tensor in list(container.items()):
                if isinstance(tensor, Tensor) and not isinstance(tensor, FakeTensor):
                    undo.append((container, name, tensor))
                    if id(tensor) not in fakes:
                        fakes[id(tensor)] = _to_fake(tensor, mode)
                    container[name] = fakes[id(tensor)]
    try:
        yield
    finally:
        for container, name, tensor in undo:
            container[name] = tensor
        if undo:
            for module, was_training in training:
                module.training = was_training


def _to_fake(tensor: Tensor, mode: FakeCPU) -> Tensor:
    fake: Tensor = mode.from_tensor(tensor)
    if fake.device == _CPU:
        return fake
    with mode, torch.no_grad():
        moved = fake.to(_CPU)
        parameter = isinstance(tensor, nn.Parameter)
        return nn.Parameter(moved, tensor.requires_grad) if parameter else moved
