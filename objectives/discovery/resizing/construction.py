"""How a user's function builds its model: the whole numbers that it can be built with others of.

Two calls hold such numbers: that of the user's function itself (its own parameters with defaults),
and that of the model's constructor inside it, which is recorded while the function runs. Building
with other numbers is calling the function again with them; in the constructor's call they are put
in on the way, so that whatever the function does after it is done to the new model, too.

    construction = record(make_model)
    construction.integers                              # (Integer(call="root", path=("d_model",), …
    construction.build({construction.integers[0]: 96})    # the model with d_model=96

Entry points: `record`, `Construction`, `Integer`.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, final

from torch import nn

from .arguments import Path, call_source, find_integers, is_in_object, replaced

_PATCHING = threading.RLock()
"""A constructor is replaced for all threads: one builds at a time."""


@final
@dataclass(frozen=True)
class Integer:
    """A whole number that a model can be built with another of.

    Attributes:
        call: Whose argument it is: the user's function's ("function") or the model's constructor's
            ("root").
        path: Where it stands among the arguments.
        value: Today's.
        in_config: Whether it stands in a configuration object.
        is_saved: Whether that is one of Hugging Face's, which the model is saved and loaded with.
    """

    call: Literal["function", "root"]
    path: Path
    value: int
    in_config: bool
    is_saved: bool = False

    @property
    def name(self) -> str:
        """What it is called: the last name on its path, with positions behind it."""
        names = [str(key) for key in self.path]
        last = max(i for i, key in enumerate(self.path) if isinstance(key, str))
        return "_".join(names[last:])


@final
@dataclass(frozen=True)
class Construction:
    """How a model comes about.

    Attributes:
        make_model: The user's function.
        integers: The function's own first.
        root: The type whose constructor's call is recorded: the model's, or that of the Hugging
            Face model in it; None where none could be.
        number: Which construction of that type it is, from 0.
        wraps: Whether the recorded one is only a part of the model.
    """

    make_model: Callable[..., nn.Module]
    integers: tuple[Integer, ...] = ()
    root: type[nn.Module] | None = None
    number: int = 0
    wraps: bool = False

    def build(self, values: Mapping[Integer, int]) -> nn.Module:
        """Return a fresh model with other numbers; whatever the user's code raises passes."""
        model, _ = self._build(values)
        return model

    def call(self, values: Mapping[Integer, int]) -> str | None:
        """Return the call that builds such a model, as Python; None where it can't be written.

        Args:
            values: Of integers of one call.
        """
        calls = {integer.call for integer in values}
        if calls <= {"function"}:
            own = {integer.path: value for integer, value in values.items()}
            name = getattr(self.make_model, "__qualname__", "make_model")
            return call_source(name, replaced(_integer_defaults(self.make_model, own), own))
        if calls != {"root"} or self.root is None or self.wraps:
            return None
        _, arguments = self._build(values)
        return call_source(self.root.__qualname__, arguments)

    def _build(self, values: Mapping[Integer, int]) -> tuple[nn.Module, dict[str, Any]]:
        """Return a fresh model, and the arguments that its constructor was given."""
        own = {integer.path: v for integer, v in values.items() if integer.call == "function"}
        root = {integer.path: v for integer, v in values.items() if integer.call == "root"}
        arguments = replaced(_integer_defaults(self.make_model, own), own)
        if self.root is None:
            return self.make_model(**arguments), {}
        with _recorded(self.root, {self.number: root}) as calls:
            model = self.make_model(**arguments)
        return model, next((call for _, call, number in calls if number == self.number), {})


def record(make_model: Callable[..., nn.Module]) -> tuple[Construction, nn.Module]:
    """Return how a model comes about, and the model that was built to learn it.

    Whatever the user's code raises passes.

    Args:
        make_model: Returns a fresh model.
    """
    first = make_model()
    own = _own_integers(make_model)
    for target in _targets(first):
        root = type(target)
        path = next(path for path, module in first.named_modules() if module is target)
        if root is make_model or root.__module__.startswith("torch."):
            continue  # its arguments are the function's own; or torch's, whose sizes are known
        try:
            with _recorded(root, {}) as calls:
                model = make_model()
        except (TypeError, AttributeError):  # a type that lets nobody replace its constructor
            continue
        for instance, arguments, number in calls:
            if instance is not model.get_submodule(path):
                continue
            integers = tuple(
                Integer(
                    "root",
                    path,
                    value,
                    is_in_object(path, arguments),
                    hasattr(arguments[str(path[0])], "to_diff_dict"),
                )
                for path, value in find_integers(arguments).items()
            )
            if integers:
                wraps = target is not first
                return Construction(make_model, (*own, *integers), root, number, wraps), model
    return Construction(make_model, own), first


def _targets(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules whose constructor may hold the sizes: the model, and one with a config."""
    yield model
    for module in model.modules():
        if module is not model and hasattr(getattr(module, "config", None), "to_diff_dict"):
            yield module
            return


def _own_integers(make_model: Callable[..., Any]) -> tuple[Integer, ...]:
    return tuple(
        Integer("function", path, value, is_in_object(path, defaults))
        for defaults in (_defaults(make_model),)
        for path, value in find_integers(defaults).items()
    )


def _defaults(make_model: Callable[..., Any]) -> dict[str, Any]:
    """Return the parameters of a function that may be given by name and have a default."""
    try:
        parameters = inspect.signature(make_model).parameters.values()
    except (TypeError, ValueError):
        return {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind in by_name and parameter.default is not inspect.Parameter.empty
    }


def _integer_defaults(make_model: Callable[..., Any], paths: Mapping[Path, int]) -> dict[str, Any]:
    """Return the defaults of those parameters in which a number is replaced."""
    names = {path[0] for path in paths}
    if not names:
        return {}
    return {name: value for name, value in _defaults(make_model).items() if name in names}


Call = tuple[nn.Module, dict[str, Any], int]
"""The model, its constructor's arguments by name (changed ones, and those given), its number."""


@contextmanager
def _recorded(
    root: type[nn.Module], changes: Mapping[int, Mapping[Path, int]]
) -> Iterator[list[Call]]:
    """Record the calls of a type's constructor, and change numbers in some of them.

    Args:
        root: The type; its subclasses' calls are none of it.
        changes: By the number of the call: values by path.
    """
    original: Any = root.__init__
    signature = inspect.signature(original)
    calls: list[Call] = []

    @functools.wraps(original)
    def init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        if type(self) is not root:
            original(self, *args, **kwargs)
            return
        number = len(calls)
        bound = signature.bind(self, *args, **kwargs)
        given = set(bound.arguments)
        bound.apply_defaults()
        names = list(bound.arguments)
        flat = _flatten(bound, names[0])
        values = changes.get(number, {})
        if values:
            flat = replaced(flat, values)
        shown = given | {str(path[0]) for path in values} | set(kwargs)
        recorded = flat if not changes else {k: v for k, v in flat.items() if k in shown}
        calls.append((self, recorded, number))
        if values:
            _call(original, signature, self, flat)
        else:
            original(self, *args, **kwargs)

    with _PATCHING:
        own = "__init__" in vars(root)
        root.__init__ = init  # type: ignore[method-assign]
        try:
            yield calls
        finally:
            if own:
                root.__init__ = original  # type: ignore[method-assign]
            else:
                del root.__init__


def _flatten(bound: inspect.BoundArguments, self_name: str) -> dict[str, Any]:
    """Return arguments by name without the instance; those of **kwargs beside the others."""
    flat: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if name == self_name:
            continue
        if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            flat.update(value)
        else:
            flat[name] = value
    return flat


def _call(
    init: Callable[..., None], signature: inspect.Signature, instance: Any, flat: Mapping[str, Any]
) -> None:
    """Call a constructor with arguments by name, positional ones by position."""
    positional, named = [], dict(flat)
    for name, parameter in list(signature.parameters.items())[1:]:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            positional.append(named.pop(name))
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            # What stands before *args must be given by position, too.
            before = list(signature.parameters)[1 : list(signature.parameters).index(name)]
            leading = [named.pop(own) for own in before if own in named]
            positional = [*positional, *leading, *named.pop(name, ())]
    init(instance, *positional, **named)
