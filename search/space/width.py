"""A width: one searched integer dimension, such as the number of neurons of a layer.

A width has a finite ascending list of values and a scale that says how far apart two of them are:
on the log scale 16 and 32 are as far apart as 256 and 512, on the linear scale as 16 and 32 only.

    Width.range("hidden1", 16, 512, step=16)
    Width.of("kernel", [3, 5, 7], scale="linear")
    Width.range("hidden3", 16, 128, step=16, optional=True)     # may be 0: the layer is absent
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ..errors import SpecError
from ..printable import find_control
from ..units import as_int

Scale = Literal["log", "linear"]

MAX_WIDTH = 2**31 - 1
"""Largest value a width may have; far past any layer, and its square still fits 64 bits."""

ABSENT = 0
"""The width of a layer that is not there."""

ABSENT_POSITION = 0.5
"""Where an absent layer's width is encoded: the middle, where no slope or product of a surrogate
counts, so that what its absence does is learned by the column that marks it alone."""

MAX_VALUE_COUNT = 65_536
"""Most values one width may have; a finer lattice than this tells no two networks apart."""


@final
@dataclass(frozen=True)
class Width:
    """One searched integer dimension; made by `Width.range` or `Width.of`."""

    name: str
    """Unique within the space."""
    values: tuple[int, ...]
    """What the width may be, ascending, without duplicates, each at least 1; first of all 0 where
    the layer may be absent."""
    scale: Scale = "log"
    """How distance between values is measured: by their logarithm or by their difference."""
    optional: bool = False
    """Whether 0 is one of the values: the layer is absent."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or set(self.name) & set("=, \t\n"):
            raise SpecError(
                f"width name {self.name!r} must be a word without spaces, commas or '='; rename it"
            )
        if (control := find_control(self.name)) is not None:
            raise SpecError(
                f"width name {self.name!r} has a control or invisible character ({control}); "
                "rename it"
            )
        if self.scale not in ("log", "linear"):
            raise SpecError(
                f"width {self.name!r}: scale is {self.scale!r}, expected 'log' or 'linear'"
            )
        if not isinstance(self.values, Iterable):
            raise SpecError(
                f"width {self.name!r}: choices are {self.values!r}, expected a list of integers"
            )
        values = list(self.values)
        if self.optional:
            # Given again with its 0, as `dataclasses.replace` does.
            values = [value for value in values if as_int(value) != ABSENT]
        elif any(as_int(value) == ABSENT for value in values):
            raise SpecError(
                f"width {self.name!r}: choice is 0, expected an integer of at least 1; for a layer "
                "that may be absent, leave 0 out and set optional = true"
            )
        values = sorted({_checked_positive(self.name, "choice", value) for value in values})
        if not values:
            raise SpecError(f"width {self.name!r} has no choices; give at least one integer")
        _check_value_count(self.name, len(values))
        object.__setattr__(self, "values", (*([ABSENT] if self.optional else []), *values))

    @classmethod
    def range(
        cls,
        name: str,
        low: int,
        high: int,
        step: int = 1,
        scale: Scale = "log",
        *,
        optional: bool = False,
    ) -> Width:
        """Return values low, low + step, … up to the last one not above high; 0 too if optional."""
        low = _checked_positive(name, "low", low)
        high = _checked_positive(name, "high", high)
        step = _checked_positive(name, "step", step)
        if low > high:
            raise SpecError(f"width {name!r}: low {low} is above high {high}; swap them")
        _check_value_count(name, (high - low) // step + 1)
        return cls(name, tuple(range(low, high + 1, step)), scale, optional)

    @classmethod
    def of(
        cls, name: str, choices: Iterable[int], scale: Scale = "log", *, optional: bool = False
    ) -> Width:
        """Return these values, in any order, duplicates once; and 0 if the layer is optional."""
        return cls(name, choices, scale, optional)  # type: ignore[arg-type]  # made a tuple here

    @property
    def low(self) -> int:
        """The smallest value of a layer that is there; at least 1."""
        return self.values[1 if self.optional else 0]

    @property
    def high(self) -> int:
        """The largest value."""
        return self.values[-1]

    def encode(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return where values lie between low (0) and high (1) on the width's scale, any shape.

        Log scale: log2(value / low) / log2(high / low); linear: (value - low) / (high - low).
        Values outside the range fall outside [0, 1]; a constant width answers 0. An absent layer
        has no width: 0 answers the middle, 0.5, on either scale (`Space.encode` marks it).
        Example: 64 lies at (6 - 4) / (9 - 4) = 0.4 of a log width from 16 to 512.
        """
        numbers = np.asarray(values, dtype=np.float64)
        is_absent = numbers == ABSENT
        present = np.where(is_absent, self.low, numbers)
        if self.low == self.high:
            positions = np.zeros(numbers.shape)
        elif self.scale == "log":
            positions = np.log2(present / self.low) / np.log2(self.high / self.low)
        else:
            positions = (present - self.low) / (self.high - self.low)
        return np.asarray(np.where(is_absent, ABSENT_POSITION, positions))

    def distribution(self) -> BaseDistribution:
        """Return Optuna's description of this width; integers where they form a progression."""
        steps = set(np.diff(self.values).tolist()) or {1}
        if len(steps) > 1:
            return CategoricalDistribution(self.values)
        (step,) = steps
        # Optuna's log scale knows no steps and no 0, and a constant has no scale at all.
        log = self.scale == "log" and step == 1 and self.low < self.high and not self.optional
        return IntDistribution(self.values[0], self.high, log=log, step=step)

    def explain(self, value: int) -> str | None:
        """Return why the width cannot be the value, in one sentence; None if it can."""
        if value in self.values:
            return None
        nearest = min(self.values, key=lambda choice: abs(choice - value))
        return (
            f"width {self.name!r} is {value}, expected one of its {len(self.values):,} values "
            f"{'0 (absent), ' if self.optional else ''}from {self.low} to {self.high}; the nearest "
            f"is {nearest}"
        )

    def format_values(self) -> str:
        """Return the values for people, such as ``16 to 512`` or ``64``."""
        present = str(self.low) if self.low == self.high else f"{self.low} to {self.high}"
        return f"0 or {present}" if self.optional else present


def _checked_positive(name: str, key: str, value: Any) -> int:
    number = as_int(value)
    if number is None:
        raise SpecError(f"width {name!r}: {key} is {value!r}, expected an integer of at least 1")
    if not 1 <= number <= MAX_WIDTH:
        raise SpecError(f"width {name!r}: {key} is {number}, expected 1 to {MAX_WIDTH:,}")
    return number


def _check_value_count(name: str, number: int) -> None:
    if number > MAX_VALUE_COUNT:
        raise SpecError(
            f"width {name!r} has {number:,} values, more than the {MAX_VALUE_COUNT:,} allowed; "
            "use a larger step"
        )


def log_sizes(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return log2 of widths, any shape; an absent layer is an octave below a width of 1.

    Example: 1, 8 and 0 give 0, 3 and -1.
    """
    return np.asarray(np.log2(np.maximum(np.asarray(values, dtype=np.float64), 0.5)))
