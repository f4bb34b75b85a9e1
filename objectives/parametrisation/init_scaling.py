"""Scaling of initial weights: how the size of a fresh parameter follows its layer's fans, measured.

torch draws weights within 1 / sqrt(fan-in), Glorot's rule takes both fans, an embedding is drawn
from a standard normal, a user's own rule may do anything. So a few seeded builds at each of several
widths tell: the root mean squares are compared with what each law predicts.

Entry points: `INIT_LAWS`, `InitLaw`, `MeasuredSize`, `fit_init_law`, `seeds_needed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite, log, sqrt

from .errors import MupInapplicable
from .fans import Fans

MIN_ELEMENTS = 128
"""Elements to measure, over all seeds: a root mean square is then known to 1 / sqrt(256) = 6 %."""

MAX_SEEDS = 64
MAX_DRAWN_ELEMENTS = 2**25
"""Elements that the builds at one candidate may draw in all: about a quarter of a second."""

RELATIVE_SLACK = 0.03
"""Relative deviation that is taken for a rule's small print, such as a constant part."""

MAX_SIGMAS = 4.0


@dataclass(frozen=True)
class InitLaw:
    """Size ∝ (a · fan-in + b · fan-out) ** exponent, or the larger fan ** exponent.

    Attributes:
        fan_in: Weight a of the fan-in.
        fan_out: Weight b of the fan-out.
        exponent: 0 for a size that no fan moves.
        uses_larger: Whether the larger fan counts instead of the sum.
    """

    fan_in: float
    fan_out: float
    exponent: float
    uses_larger: bool = False

    def ratio(self, fans: Fans, base: Fans) -> float:
        """Return by how much a parameter is larger with these fans than with those of the base."""
        if self.exponent == 0 or fans == base:
            return 1.0
        return float((self._fan(fans) / self._fan(base)) ** self.exponent)

    def _fan(self, fans: Fans) -> float:
        parts = (self.fan_in * fans.fan_in, self.fan_out * fans.fan_out)
        return max(parts) if self.uses_larger else sum(parts)


INIT_LAWS = (
    InitLaw(0, 0, 0.0),  # constants, normal(0, 0.02), embeddings
    InitLaw(1, 0, -0.5),  # torch's default, He's "fan_in", LeCun's
    InitLaw(0, 1, -0.5),  # He's "fan_out"; every weight of torch's recurrent layers
    InitLaw(1, 1, -0.5),  # Glorot's
    InitLaw(1, 1, -0.5, uses_larger=True),  # orthogonal
    InitLaw(1, 0, -1.0),
    InitLaw(0, 1, -1.0),
)
"""Simplest first: where several explain what was measured, the first is taken."""


@dataclass(frozen=True)
class MeasuredSize:
    """A parameter's size at one candidate.

    Attributes:
        fans: What it may depend on.
        size: Root mean square over the elements of all seeds.
        elements: How many those are.
    """

    fans: Fans
    size: float
    elements: int


def seeds_needed(smallest: int, total: int) -> int:
    """Return how many builds to measure.

    Args:
        smallest: Elements of the smallest parameter that can move with the widths.
        total: Elements of all of them.
    """
    seeds = min(MAX_SEEDS, ceil(MIN_ELEMENTS / max(1, smallest)))
    return max(2, min(seeds, MAX_DRAWN_ELEMENTS // max(1, total)))


def fit_init_law(name: str, measured: Sequence[MeasuredSize]) -> InitLaw:
    """Return the law that a parameter's initial size follows.

    Args:
        name: Of the parameter, for the error.
        measured: The base first, then the other candidates.

    Raises:
        MupInapplicable: It follows none, or is no number.
    """
    base, *others = measured
    if not all(isfinite(sample.size) for sample in measured):
        raise MupInapplicable(f"the initial values of '{name}' are not finite")
    if all(other.size == base.size for other in others):
        return INIT_LAWS[0]
    deviations = {law: max(_deviation(law, base, other) for other in others) for law in INIT_LAWS}
    lowest = min(deviations.values())
    if lowest > MAX_SIGMAS:
        worst = max(others, key=lambda other: _deviation(INIT_LAWS[0], base, other))
        raise MupInapplicable(
            f"the initial size of '{name}' follows no known law of its layer's widths (it is "
            f"{base.size:.3g} at {base.fans} and {worst.size:.3g} at {worst.fans})"
        )
    # Noise alone moves a misfit by about one: less than that is no reason for a rarer law.
    return next(law for law, deviation in deviations.items() if deviation <= lowest + 1)


def _deviation(law: InitLaw, base: MeasuredSize, other: MeasuredSize) -> float:
    """Return by how many standard errors a measured ratio differs from the law's."""
    if not (base.size and other.size):
        return inf
    log_ratio = log(other.size / base.size)
    error = sqrt(0.5 / base.elements + 0.5 / other.elements + (RELATIVE_SLACK / MAX_SIGMAS) ** 2)
    return abs(log_ratio - log(law.ratio(other.fans, base.fans))) / error
