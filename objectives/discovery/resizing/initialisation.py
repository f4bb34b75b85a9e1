"""How a model's parameters are initialised: recorded while it is built, repeated at another size.

A parameter is filled by a function of `torch.nn.init`, or by methods of its tensor such as
`normal_` and `mul_`. What filled it last is repeated on the parameter of another size, so that a
Kaiming initialisation has the new fan-in and a fixed standard deviation stays. What the layer's own
`reset_parameters` did, that does again. A parameter that nothing of this filled (made from
`torch.randn(…)`, copied, or of a model that was built elsewhere) is drawn like the old one: a
constant stays one, else from the uniform or normal distribution of its mean and standard deviation.

    with InitialisationRecorder() as recorder:
        model = make_model()
    recorder.recipes_of(model)                    # by id of the parameter, to be applied

Entry points: `InitialisationRecorder`, `Recipe`, `draw_like`.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FILLS = frozenset(
    {"normal_", "uniform_", "fill_", "zero_", "exponential_", "log_normal_", "cauchy_"}
)
_CHANGES = frozenset(
    {"mul_", "div_", "add_", "sub_", "clamp_", "erfinv_", "clamp_min_", "clamp_max_", "abs_"}
    | {"__imul__", "__itruediv__", "__iadd__", "__isub__"}
)
_ORIGINALS: Mapping[str, Callable[..., Any]] = {
    name: function
    for name, function in vars(nn.init).items()
    if name.endswith("_") and not name.startswith("_") and callable(function)
}
_WATCHING = threading.RLock()
"""torch's functions are replaced for all threads: one records at a time."""

_RESETS = frozenset({"reset_parameters", "_reset_parameters"})
_UNIFORM_PEAK = 1.76
"""Largest distance from the mean, in standard deviations, of a uniform draw: sqrt(3), and noise."""


@final
@dataclass(frozen=True)
class Recipe:
    """What fills a parameter.

    Attributes:
        steps: Functions of the tensor with their further arguments, in order.
        by_reset: Whether the layer's own `reset_parameters` did it, and nothing after it.
    """

    steps: tuple[tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]], ...]
    by_reset: bool

    def apply(self, tensor: Tensor) -> None:
        """Fill a tensor, of whatever size."""
        with torch.no_grad():
            for function, args, kwargs in self.steps:
                function(tensor, *args, **kwargs)


@final
class InitialisationRecorder(TorchFunctionMode):
    """Records what fills the parameters of models built inside; copies of them are followed."""

    def __init__(self) -> None:
        super().__init__()
        self._recipes: dict[int, Recipe] = {}
        self._tensors: list[Tensor] = []  # alive, so that no storage's number is given out twice
        self._inside = 0
        self._stack = ExitStack()

    def recipes_of(self, model: nn.Module) -> dict[int, Recipe]:
        """Return what filled a model's parameters, by their `id`; no entry where unknown."""
        return {
            id(parameter): self._recipes[_storage(parameter)]
            for parameter in model.parameters()
            if _storage(parameter) in self._recipes
        }

    def __enter__(self) -> Self:
        self._stack.enter_context(_WATCHING)
        self._stack.enter_context(_watched_init(self))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        self._stack.close()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if not self._inside and args and isinstance(args[0], Tensor):
            if name in _FILLS | _CHANGES:
                function, others = _init_call()
                if function is not None:
                    self.note(args[0], function, (), others, afresh=True)
                else:
                    self.note(args[0], func, args[1:], kwargs, afresh=name in _FILLS)
            elif name in ("copy_", "set_"):
                self._recipes.pop(_storage(args[0]), None)
        elif not self._inside and name in _ORIGINALS and "tensor" in kwargs:
            # A function of torch.nn.init that was imported before, and hands over to the mode.
            others = {key: value for key, value in kwargs.items() if key != "tensor"}
            self.note(kwargs["tensor"], func, (), others, afresh=True)
        return result

    def note(
        self, tensor: Tensor, func: Any, args: Any, kwargs: Mapping[str, Any], *, afresh: bool
    ) -> None:
        """Note that a function was called on a tensor; on a part of one it is not noted."""
        if tensor.numel() * tensor.element_size() != tensor.untyped_storage().nbytes():
            return
        if any(isinstance(value, Tensor) and value.ndim for value in (*args, *kwargs.values())):
            self._recipes.pop(_storage(tensor), None)
            return
        step = (func, tuple(args), dict(kwargs))
        before = self._recipes.get(_storage(tensor))
        if afresh:
            self._recipes[_storage(tensor)] = Recipe((step,), _in_reset(tensor))
        elif before is not None:
            self._recipes[_storage(tensor)] = Recipe((*before.steps, step), False)
        self._tensors.append(tensor)

    def follow(self, copy: Tensor, original: Tensor) -> None:
        """Note that a parameter is a copy of another."""
        if _storage(original) in self._recipes:
            self._recipes[_storage(copy)] = self._recipes[_storage(original)]
            self._tensors.append(copy)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Note nothing inside: what a noted function calls is part of it."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


def draw_like(old: Tensor, new: Tensor, scale: float = 1.0) -> None:
    """Fill a tensor like another one: with its constant, or drawn with its mean and deviation.

    Args:
        old: Whole numbers count as constants where all are equal.
        new: Of any size.
        scale: What the standard deviation is multiplied by.
    """
    with torch.no_grad():
        if old.numel() == 0:
            new.zero_()
            return
        values = old.detach()
        if bool((values == values.flatten()[0]).all()) or not values.is_floating_point():
            new.fill_(values.flatten()[0])
            return
        values = values.double()
        mean, deviation = float(values.mean()), float(values.std(correction=0))
        deviation *= scale
        if float((values - mean).abs().max()) <= _UNIFORM_PEAK * deviation / scale:
            half = math.sqrt(3) * deviation
            new.uniform_(mean - half, mean + half)
        else:
            new.normal_(mean, deviation)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _init_call() -> tuple[Callable[..., Any] | None, dict[str, Any]]:
    """Return the function of torch.nn.init that is at work, with its arguments but the tensor.

    It is one that was imported before the recording began: the others are noted as a whole.
    """
    frame: FrameType | None = sys._getframe(2)
    found: FrameType | None = None
    while frame is not None and (found is None or frame.f_code.co_filename == nn.init.__file__):
        if frame.f_code.co_filename == nn.init.__file__ and frame.f_code.co_name in _ORIGINALS:
            found = frame
        frame = frame.f_back
    if found is None:
        return None, {}
    _, *names = found.f_code.co_varnames[: found.f_code.co_argcount]
    return _ORIGINALS[found.f_code.co_name], {name: found.f_locals[name] for name in names}


def _in_reset(tensor: Tensor) -> bool:
    """Return whether a layer's own `reset_parameters` is at work on one of its parameters."""
    frame: FrameType | None = sys._getframe(2)
    storage = _storage(tensor)
    while frame is not None:
        if frame.f_code.co_name in _RESETS:
            layer = frame.f_locals.get("self")
            if isinstance(layer, nn.Module):
                return any(
                    own is not None and _storage(own) == storage
                    for own in layer._parameters.values()
                )
        frame = frame.f_back
    return False


@contextmanager
def _watched_init(recorder: InitialisationRecorder) -> Iterator[None]:
    """Let the recorder see calls of `torch.nn.init`, and copies of parameters."""

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            with recorder.paused():
                result = function(tensor, *args, **kwargs)
            if not recorder._inside:
                recorder.note(tensor, function, args, kwargs, afresh=True)
            return result

        return call

    originals = {name: getattr(nn.init, name) for name in _ORIGINALS}
    copy_parameter: Any = nn.Parameter.__deepcopy__

    def copy_followed(self: Any, memo: Any) -> Any:
        copy = copy_parameter(self, memo)
        recorder.follow(copy, self)
        return copy

    for name, function in originals.items():
        setattr(nn.init, name, watched(function))
    nn.Parameter.__deepcopy__ = copy_followed  # type: ignore[method-assign]
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(nn.init, name, function)
        nn.Parameter.__deepcopy__ = copy_parameter  # type: ignore[method-assign]
