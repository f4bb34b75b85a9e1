"""The pace: how many slots a worker claims at once.

One at a time is best for the search: each proposal knows all results. Very short trainings are
worth claiming together, so that the surrogate is fitted once for several; eight at once were
measured to lose nothing (docs/sampler.md).

Entry point: `Pace`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...objectives.training.settings import TrainingResult
from ..problem.engine import MOST

# A claim with its proposals costs about as long as this; trainings that take longer go one by one.
_WORTH_SECONDS = 1.0
# At most one in so many of the slots still to be proposed for: the last ones learn from the others.
_SHARE = 4


@dataclass(kw_only=True)
class Pace:
    """How many slots to claim.

    Attributes:
        fixed: What the spec asked for; None to go by the length of the trainings.
        fits: As many candidates as fit into memory together.
    """

    fixed: int | None = None
    fits: int | None = None
    _seconds: float = math.inf

    def most(self, unbound: Callable[[], int]) -> int:
        """Return how many slots to claim now.

        Args:
            unbound: Counts the slots that still need a proposal; asked only where it matters.
        """
        wanted = self.fixed
        if wanted is None:
            wanted = min(MOST, math.ceil(_WORTH_SECONDS / max(self._seconds, 1e-9)))
            if wanted > 1:
                wanted = min(wanted, max(1, unbound() // _SHARE))
        return max(1, wanted if self.fits is None else min(wanted, self.fits))

    def took(self, results: Sequence[TrainingResult]) -> None:
        """Learn how long trainings take."""
        if results:
            self._seconds = sum(one.seconds for one in results) / len(results)
