"""The table that stands for a dense network in compiled code: a row for each operation.

Entry points: `OpKind`, `SmoothActivation`, `LossKind`, `Column`; `TrainingArrays` and `Workspace`,
the arguments of compiled functions; `NUMBA_OPTIONS`, `jit`, `jit_reassociated`, how they are
compiled.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar, cast

from numba import njit

NUMBA_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
"""Options for numba: a product and a sum may become one instruction.

They do not suppose that numbers are finite: NaN and infinity travel as they do in torch.
"""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(function: _Function) -> _Function:
    """Return a function, compiled when it is first called."""
    return cast(_Function, njit(**NUMBA_OPTIONS)(function))


def jit_reassociated(function: _Function) -> _Function:
    """Return a function like `jit`; its sums may be in any order, so that they vectorise."""
    return cast(_Function, njit(**{**NUMBA_OPTIONS, "fastmath": {"contract", "reassoc"}})(function))


class OpKind(IntEnum):
    """What an operation does."""

    LINEAR = 0
    BATCH_NORM = 1
    LAYER_NORM = 2
    LEAKY_RELU = 3
    SMOOTH_ACTIVATION = 4
    DROPOUT = 5


class SmoothActivation(IntEnum):
    """Activations whose slopes the forward pass saves."""

    SIGMOID = 0
    SILU = 1
    TANH = 2
    ELU = 3
    GELU = 4


class LossKind(IntEnum):
    """The loss: a mean over all numbers in a batch."""

    CROSS_ENTROPY = 0
    MSE = 1
    MAE = 2
    HUBER = 3


class Column(IntEnum):
    """Columns of the table of operations.

    A buffer at c begins at c × rows of the workspace, so that a table fits every batch size.
    """

    KIND = 0
    INPUTS = 1  # numbers in a row
    OUTPUTS = 2
    SOURCE = 3  # buffer of its input
    TARGET = 4  # buffer of its output; the source's where it works in place
    SAVED = 5  # buffer of what its backward pass needs: normalised values, slopes or a mask
    WEIGHT = 6  # offset among the parameters; -1 for none
    BIAS = 7
    STATISTICS = 8  # offset of running mean, running variance and last 1 / deviation
    OPTION = 9  # which smooth activation; for dropout, the threshold of its hash


class TrainingArrays(NamedTuple):
    """The training data.

    Attributes:
        loss: The loss, a `LossKind`.
        inputs: Rows of the training split x features.
        labels: Classes of the rows, int64; empty in a regression.
        targets: Targets of the rows, rows x columns; 0 x 0 in a classification.
    """

    loss: int
    inputs: Any
    labels: Any
    targets: Any


class Workspace(NamedTuple):
    """Arrays that are written in every pass.

    Attributes:
        buffers: Every buffer of the table, for the largest batch; flat.
        deltas: 2 x the widest buffer: gradients with respect to an output and an input.
        transposed: Transposed factors of a product; flat.
        scratch: float64, 2 x the numbers that are processed at once.
        scratch_bits: The memory of its second row, as int64.
    """

    buffers: Any
    deltas: Any
    transposed: Any
    scratch: Any
    scratch_bits: Any
