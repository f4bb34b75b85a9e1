"""Other functions in the place of some of torch's operators, below autograd.

A step that is done this way is the one to record, to prove and to repeat: a program calls the same
functions, so a network's numbers do not depend on how far it had come when it was stopped.

Entry points: `Swaps`, `swapped`.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

from torch.utils._python_dispatch import TorchDispatchMode

Swaps = Mapping[Any, Callable[..., Any]]
"""Overload, such as `aten.mm.default`, to what is called in its place.

It takes the same arguments, and returns tensors of the same sizes and strides, which share memory
with no others.
"""


def swapped(swaps: Swaps) -> AbstractContextManager[object]:
    """Return what has the functions called inside `with`."""
    return _Swapping(swaps) if swaps else nullcontext()


@final
class _Swapping(TorchDispatchMode):
    """Calls functions in the place of operators inside `with`."""

    def __init__(self, swaps: Swaps) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._swaps = swaps

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say no: nothing is compiled here, and the skip would import the compiler, a second."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the operator, or the function in its place."""
        return self._swaps.get(func, func)(*args, **(kwargs or {}))
