"""The compiled attention of whole batches, for one type of number, kept on disk.

Tensors come as addresses: a call with arrays takes longer than a head does.

Entry points: `compiled`, `Compiled`.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, final
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from numba import carray, njit, types  # type: ignore[attr-defined]
from numpy.lib.stride_tricks import as_strided

from .attention_head import head
from .attention_kernel import backward, forward
from .attention_tiles import instruction
from .dense_table import COMPILE, plain

Layout = npt.NDArray[np.int64]
"""What tells where the numbers of several tensors `[rows, heads, tokens, size]` lie: in its first
row rows, heads, tokens, other tokens and size, and then for each tensor its strides but for the
last one, which is 1, in numbers."""


@instruction
def _pointer(_: Any, address: Any) -> Any:
    """Return an address as a pointer."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return types.voidptr(address), code


@plain
def _tensor(address: int, number: Any, layout: Layout, place: int, tokens: int, size: int) -> Any:
    """Return the tensor at an address, the one of that place in the layout."""
    memory = carray(_pointer(address), (1,), number)
    each = memory.itemsize
    return as_strided(
        memory,
        (layout[0, 0], layout[0, 1], tokens, size),
        (layout[place, 0] * each, layout[place, 1] * each, layout[place, 2] * each, each),
    )


def _revision() -> int:
    """Return a checksum of all compiled sources."""
    here = Path(__file__).parent
    files = [*sorted(here.glob("attention_*.py")), here / "dense_table.py"]
    return crc32(b"".join(file.read_bytes() for file in files))


def _forward_at(revision: int, number: type) -> Callable[..., None]:
    """Return the function to compile, `forward_all`.

    numba's cache on disk notices a change of this file, and of what a function encloses: the
    revision stands for the other files.
    """

    def forward_all(
        queries: int,
        keys: int,
        values: int,
        found: int,
        logarithms: int,
        layout: Layout,
        scale: float,
        causal: bool,
    ) -> None:
        """Put the results of all heads into place; see `attention_kernel.forward`.

        Args:
            queries: An address, like all up to `logarithms`, in the order of the layout.
            keys: Likewise.
            values: Likewise.
            found: Likewise.
            logarithms: Likewise.
            layout: Of the tensors.
            scale: Of the scores.
            causal: Whether a query sees no keys beyond its own place.
        """
        _ = revision
        tokens, others, size = layout[0, 2], layout[0, 3], layout[0, 4]
        q = _tensor(queries, number, layout, 1, tokens, size)
        k = _tensor(keys, number, layout, 2, others, size)
        v = _tensor(values, number, layout, 3, others, size)
        o = _tensor(found, number, layout, 4, tokens, size)
        logs = _tensor(logarithms, number, layout, 5, tokens, 1)
        own, factor = head(q, tokens, others, size), number(scale)
        for row in range(layout[0, 0]):
            for place in range(layout[0, 1]):
                forward(
                    q[row, place],
                    k[row, place],
                    v[row, place],
                    factor,
                    causal,
                    o[row, place],
                    logs[row, place, :, 0],
                    own,
                )

    return forward_all


def _backward_at(revision: int, number: type) -> Callable[..., None]:
    """Return the function to compile, `backward_all`; see `_forward_at`."""

    def backward_all(
        slopes: int,
        queries: int,
        keys: int,
        values: int,
        found: int,
        logarithms: int,
        to_queries: int,
        to_keys: int,
        to_values: int,
        layout: Layout,
        scale: float,
        causal: bool,
    ) -> None:
        """Put the gradients of all heads into place; see `attention_kernel.backward`.

        Args:
            slopes: An address, like all up to `to_values`, in the order of the layout.
            queries: Likewise.
            keys: Likewise.
            values: Likewise.
            found: Likewise.
            logarithms: Likewise.
            to_queries: Likewise.
            to_keys: Likewise.
            to_values: Likewise.
            layout: Of the tensors.
            scale: Of the scores.
            causal: Whether a query sees no keys beyond its own place.
        """
        _ = revision
        tokens, others, size = layout[0, 2], layout[0, 3], layout[0, 4]
        d = _tensor(slopes, number, layout, 1, tokens, size)
        q = _tensor(queries, number, layout, 2, tokens, size)
        k = _tensor(keys, number, layout, 3, others, size)
        v = _tensor(values, number, layout, 4, others, size)
        o = _tensor(found, number, layout, 5, tokens, size)
        logs = _tensor(logarithms, number, layout, 6, tokens, 1)
        dq = _tensor(to_queries, number, layout, 7, tokens, size)
        dk = _tensor(to_keys, number, layout, 8, others, size)
        dv = _tensor(to_values, number, layout, 9, others, size)
        own, factor = head(q, tokens, others, size), number(scale)
        for row in range(layout[0, 0]):
            for place in range(layout[0, 1]):
                backward(
                    d[row, place],
                    q[row, place],
                    k[row, place],
                    v[row, place],
                    o[row, place],
                    logs[row, place, :, 0],
                    factor,
                    causal,
                    dq[row, place],
                    dk[row, place],
                    dv[row, place],
                    own,
                )

    return backward_all


@final
class Compiled:
    """The compiled functions for one type of number.

    Compiling takes seconds, and its result is kept on disk where that can be written and read;
    where it cannot (no folder, a full disk, a damaged file), it is compiled for this process.

    Attributes:
        forward: See `_forward_at`.
        backward: See `_backward_at`.
    """

    forward: Callable[..., None]
    backward: Callable[..., None]

    def __init__(self, number: type) -> None:
        """Compile for numpy's type of that name."""
        try:
            self._compile(number, cache=True)
        except Exception:
            self._compile(number, cache=False)

    def _compile(self, number: type, *, cache: bool) -> None:
        revision = _revision()
        self.forward = njit(cache=cache, **COMPILE)(_forward_at(revision, number))
        self.backward = njit(cache=cache, **COMPILE)(_backward_at(revision, number))
        nothing = np.zeros((10, 5), np.int64)
        self.forward(0, 0, 0, 0, 0, nothing, 1.0, False)
        self.backward(0, 0, 0, 0, 0, 0, 0, 0, 0, nothing, 1.0, False)


@cache
def compiled(dtype: torch.dtype) -> Compiled:
    """Return the functions for float32 or float64, which are compiled once."""
    return Compiled(np.float32 if dtype is torch.float32 else np.float64)
