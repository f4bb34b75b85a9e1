"""Companion parameters: searched along with the widths, such as dropout or the learning rate.

They are Optuna parameters of any kind. The surrogate sees numbers by their position between low and
high (on the parameter's own scale) and each choice of a category as a column of its own.
Entry point: `CompanionParameters`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ..surrogate.observations import Floats

# Standard deviation of a small change to a number, as a share of its range.
_PERTURBATION_DEVIATION = 0.1


@final
@dataclass(frozen=True, kw_only=True)
class CompanionParameters:
    """Companion parameters by name, encoded into columns of [0, 1]."""

    distributions: Mapping[str, BaseDistribution]

    @property
    def column_count(self) -> int:
        """The number of encoded columns."""
        return sum(_column_count(distribution) for distribution in self.distributions.values())

    def encode(self, parameters: Sequence[Mapping[str, Any]]) -> Floats:
        """Return each set of parameters as a row, [n, columns]; values out of range are clipped."""
        encoded = np.zeros((len(parameters), self.column_count))
        for row, values in zip(encoded, parameters, strict=True):
            row[:] = np.concatenate(
                [
                    _encode(distribution, values[name])
                    for name, distribution in self.distributions.items()
                ]
            )
        return encoded

    def decode(self, row: Floats) -> dict[str, Any]:
        """Return the parameters of an encoded row, [columns]."""
        values, start = {}, 0
        for name, distribution in self.distributions.items():
            end = start + _column_count(distribution)
            values[name] = _decode(distribution, row[start:end])
            start = end
        return values

    def midpoint(self) -> Floats:
        """Return a plain row, [columns]: numbers at their middle, a category's first choice."""
        parts = []
        for distribution in self.distributions.values():
            if isinstance(distribution, CategoricalDistribution):
                parts.append(np.eye(len(distribution.choices))[0])
            else:
                parts.append(np.array([0.5]))
        return np.asarray(self._snap_to_values(np.concatenate(parts)[None, :])[0])

    def sample(self, count: int, rng: np.random.Generator) -> Floats:
        """Return random rows, uniform on each parameter's own scale; [count, columns]."""
        parts = []
        for distribution in self.distributions.values():
            if isinstance(distribution, CategoricalDistribution):
                choice_indices = rng.integers(len(distribution.choices), size=count)
                parts.append(np.eye(len(distribution.choices))[choice_indices])
            else:
                parts.append(rng.random((count, 1)))
        return self._snap_to_values(np.hstack(parts))

    def perturbed(self, row: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Return rows that differ a little from the given one, [count, columns]."""
        perturbed_rows = np.tile(row, (count, 1))
        random_rows = self.sample(count, rng)
        start = 0
        for distribution in self.distributions.values():
            end = start + _column_count(distribution)
            if isinstance(distribution, CategoricalDistribution):
                is_resampled = rng.random(count) < 1.0 / len(self.distributions)
                perturbed_rows[is_resampled, start:end] = random_rows[is_resampled, start:end]
            else:
                perturbed_rows[:, start] = np.clip(
                    perturbed_rows[:, start] + rng.normal(0, _PERTURBATION_DEVIATION, count), 0, 1
                )
            start = end
        return self._snap_to_values(perturbed_rows)

    def _snap_to_values(self, encoded: Floats) -> Floats:
        """Return rows moved to values that the parameters can take."""
        return self.encode([self.decode(row) for row in encoded])


def _column_count(distribution: BaseDistribution) -> int:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    return 1


def _scaled_bounds(distribution: BaseDistribution) -> tuple[float, float, bool]:
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    return (np.log(low), np.log(high), True) if distribution.log else (low, high, False)


def _encode(distribution: BaseDistribution, value: Any) -> Floats:
    if isinstance(distribution, CategoricalDistribution):
        choice_index = int(distribution.to_internal_repr(value))
        return np.asarray(np.eye(len(distribution.choices))[choice_index])
    low, high, log = _scaled_bounds(distribution)
    number = np.log(max(float(value), 1e-300)) if log else float(value)
    return np.array([np.clip((number - low) / (high - low) if high > low else 0.0, 0.0, 1.0)])


def _decode(distribution: BaseDistribution, encoded: Floats) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(np.argmax(encoded))]
    low, high, log = _scaled_bounds(distribution)
    number = float(low + encoded[0] * (high - low))
    number = float(np.exp(number)) if log else number
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.step is not None and not log:
        steps = round((number - distribution.low) / distribution.step)
        number = distribution.low + steps * distribution.step
    number = min(max(number, distribution.low), distribution.high)
    return round(number) if isinstance(distribution, IntDistribution) else float(number)
