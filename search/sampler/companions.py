"""Riders: parameters that ride along with the widths, such as activation, dropout, learning rate.

They are Optuna parameters of any kind. The surrogate sees numbers by their position between low and
high (on the parameter's own scale) and each choice of a category as a column of its own.
Entry point: `Riders`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Floats = NDArray[np.float64]

# Standard deviation of a small change to a number, as a share of its range.
_NUDGE = 0.1


@final
@dataclass(frozen=True, kw_only=True)
class Riders:
    """Companion parameters by name, encoded into columns of [0, 1]."""

    distributions: Mapping[str, BaseDistribution]

    @property
    def columns(self) -> int:
        """The number of encoded columns."""
        return sum(_columns(one) for one in self.distributions.values())

    def encode(self, parameters: Sequence[Mapping[str, Any]]) -> Floats:
        """Each set of parameters as a row, [n, columns]; values out of range are clipped."""
        found = np.zeros((len(parameters), self.columns))
        for row, values in zip(found, parameters, strict=True):
            row[:] = np.concatenate(
                [_encode(one, values[name]) for name, one in self.distributions.items()]
            )
        return found

    def decode(self, row: Floats) -> dict[str, Any]:
        """The parameters of an encoded row, [columns]."""
        values, start = {}, 0
        for name, one in self.distributions.items():
            end = start + _columns(one)
            values[name] = _decode(one, row[start:end])
            start = end
        return values

    def middle(self) -> Floats:
        """A plain row, [columns]: every number at its middle, the first choice of a category."""
        parts = []
        for one in self.distributions.values():
            if isinstance(one, CategoricalDistribution):
                parts.append(np.eye(len(one.choices))[0])
            else:
                parts.append(np.array([0.5]))
        return np.asarray(self._rounded(np.concatenate(parts)[None, :])[0])

    def sample(self, number: int, rng: np.random.Generator) -> Floats:
        """Random rows, uniform on each parameter's own scale; [number, columns]."""
        parts = []
        for one in self.distributions.values():
            if isinstance(one, CategoricalDistribution):
                chosen = rng.integers(len(one.choices), size=number)
                parts.append(np.eye(len(one.choices))[chosen])
            else:
                parts.append(rng.random((number, 1)))
        return self._rounded(np.hstack(parts))

    def nudged(self, row: Floats, number: int, rng: np.random.Generator) -> Floats:
        """Rows that differ a little from the given one, [number, columns]."""
        near = np.tile(row, (number, 1))
        other = self.sample(number, rng)
        start = 0
        for one in self.distributions.values():
            end = start + _columns(one)
            if isinstance(one, CategoricalDistribution):
                changed = rng.random(number) < 1.0 / len(self.distributions)
                near[changed, start:end] = other[changed, start:end]
            else:
                near[:, start] = np.clip(near[:, start] + rng.normal(0, _NUDGE, number), 0, 1)
            start = end
        return self._rounded(near)

    def _rounded(self, encoded: Floats) -> Floats:
        """Rows moved to values that the parameters can take."""
        return self.encode([self.decode(row) for row in encoded])


def _columns(distribution: BaseDistribution) -> int:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    return 1


def _scale(distribution: BaseDistribution) -> tuple[float, float, bool]:
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    return (np.log(low), np.log(high), True) if distribution.log else (low, high, False)


def _encode(distribution: BaseDistribution, value: Any) -> Floats:
    if isinstance(distribution, CategoricalDistribution):
        chosen = int(distribution.to_internal_repr(value))
        return np.asarray(np.eye(len(distribution.choices))[chosen])
    low, high, log = _scale(distribution)
    number = np.log(max(float(value), 1e-300)) if log else float(value)
    return np.array([np.clip((number - low) / (high - low) if high > low else 0.0, 0.0, 1.0)])


def _decode(distribution: BaseDistribution, cells: Floats) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(np.argmax(cells))]
    low, high, log = _scale(distribution)
    number = float(low + cells[0] * (high - low))
    number = float(np.exp(number)) if log else number
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.step is not None and not log:
        steps = round((number - distribution.low) / distribution.step)
        number = distribution.low + steps * distribution.step
    number = min(max(number, distribution.low), distribution.high)
    return round(number) if isinstance(distribution, IntDistribution) else float(number)
