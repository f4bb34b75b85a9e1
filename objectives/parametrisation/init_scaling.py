"""Laws of initialisation: how the size of a fresh parameter follows its layer's fans, measured.

torch draws weights within 1 / sqrt(fan-in), Glorot's rule takes both fans, an embedding is drawn
from a standard normal, a user's own rule may do anything. So a few seeded builds at each of several
widths tell: the root mean squares are compared with what each law predicts.

Entry points: `LAWS`, `Law`, `Sizes`, `fit`, `seeds_needed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, log, sqrt

from .errors import Inapplicable
from .fans import Fans

ELEMENTS = 128
"""Elements to measure, over all seeds: a root mean square is then known to 1 / sqrt(256) = 6 %."""

MOST_SEEDS = 64
MOST_DRAWN = 2**25
"""Elements that the builds at one candidate may draw in all: about a quarter of a second."""

SLACK = 0.03
"""Relative deviation that is taken for a rule's small print, such as a constant part."""

SIGMAS = 4.0


@dataclass(frozen=True)
class Law:
    """Size ∝ (a · fan-in + b · fan-out) ** exponent, or the larger fan ** exponent.

    Attributes:
        fan_in: Weight a of the fan-in.
        fan_out: Weight b of the fan-out.
        exponent: 0 for a size that no fan moves.
        larger: Whether the larger fan counts instead of the sum.
    """

    fan_in: float
    fan_out: float
    exponent: float
    larger: bool = False

    def ratio(self, fans: Fans, base: Fans) -> float:
        """Return by how much a parameter is larger with these fans than with those of the base."""
        if self.exponent == 0 or fans == base:
            return 1.0
        return float((self._fan(fans) / self._fan(base)) ** self.exponent)

    def _fan(self, fans: Fans) -> float:
        parts = (self.fan_in * fans.fan_in, self.fan_out * fans.fan_out)
        return max(parts) if self.larger else sum(parts)


LAWS = (
    Law(0, 0, 0.0),  # constants, normal(0, 0.02), embeddings
    Law(1, 0, -0.5),  # torch's default, He's "fan_in", LeCun's
    Law(0, 1, -0.5),  # He's "fan_out"; every weight of torch's recurrent layers
    Law(1, 1, -0.5),  # Glorot's
    Law(1, 1, -0.5, larger=True),  # orthogonal
    Law(1, 0, -1.0),
    Law(0, 1, -1.0),
)
"""Simplest first: where several explain what was measured, the first is taken."""


@dataclass(frozen=True)
class Sizes:
    """A parameter's size at one candidate.

    Attributes:
        fans: What it may depend on.
        size: Root mean square over the elements of all seeds.
        elements: How many those are.
    """

    fans: Fans
    size: float
    elements: int


def seeds_needed(smallest: int, parameters: int) -> int:
    """Return how many builds to measure.

    Args:
        smallest: Elements of the smallest parameter that can move with the widths.
        parameters: Elements of all of them.
    """
    wanted = min(MOST_SEEDS, ceil(ELEMENTS / max(1, smallest)))
    return max(2, min(wanted, MOST_DRAWN // max(1, parameters)))


def fit(name: str, measured: Sequence[Sizes]) -> Law:
    """Return the law that a parameter's initial size follows.

    Args:
        name: Of the parameter, for the error.
        measured: The base first, then the other candidates.

    Raises:
        Inapplicable: It follows none.
    """
    base, *others = measured
    if all(one.size == base.size for one in others):
        return LAWS[0]
    misfits = {law: max(_misfit(law, base, other) for other in others) for law in LAWS}
    best = min(misfits.values())
    if best > SIGMAS:
        worst = max(others, key=lambda other: _misfit(LAWS[0], base, other))
        raise Inapplicable(
            f"the initial size of '{name}' follows no known law of its layer's widths (it is "
            f"{base.size:.3g} at {base.fans} and {worst.size:.3g} at {worst.fans})"
        )
    # Noise alone moves a misfit by about one: less than that is no reason for a rarer law.
    return next(law for law, misfit in misfits.items() if misfit <= best + 1)


def _misfit(law: Law, base: Sizes, other: Sizes) -> float:
    """Return by how many standard errors a measured ratio differs from the law's."""
    if not (base.size and other.size):
        return inf
    found = log(other.size / base.size)
    error = sqrt(0.5 / base.elements + 0.5 / other.elements + (SLACK / SIGMAS) ** 2)
    return abs(found - log(law.ratio(other.fans, base.fans))) / error
