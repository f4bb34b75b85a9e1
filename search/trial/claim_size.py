"""Claim size: how many slots a worker claims at once.

One at a time is best for the search: each suggestion knows all results. Very short trainings are
worth claiming together, so that the surrogate is fitted once for several; eight at once were
measured to lose nothing (docs/sampler.md).

Entry point: `ClaimSizer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...objectives.loop.result import TrainingResult
from ..problem.engine import MAX_CLAIM_SIZE

# A claim with its suggestions takes about as long; longer trainings are claimed one by one.
_CLAIM_OVERHEAD_SECONDS = 1.0
# At most one in so many of the slots without widths: the last ones learn from the others.
_UNBOUND_PER_CLAIMED = 4


@dataclass(kw_only=True)
class ClaimSizer:
    """Chooses how many slots to claim.

    Attributes:
        fixed: What the spec asked for; None to go by the length of the trainings.
        max_in_memory: Returns how many candidates fit into memory together, None where nothing
            bounds it; called only where it matters.
    """

    fixed: int | None = None
    max_in_memory: Callable[[], int | None] = lambda: None
    _mean_seconds: float = math.inf

    def claim_size(self, count_unbound: Callable[[], int]) -> int:
        """Return how many slots to claim now.

        Args:
            count_unbound: Counts the slots that have no widths yet; called only where it matters.
        """
        size = self.fixed
        if size is None:
            size = min(
                MAX_CLAIM_SIZE, math.ceil(_CLAIM_OVERHEAD_SECONDS / max(self._mean_seconds, 1e-9))
            )
            if size > 1:
                size = min(size, max(1, count_unbound() // _UNBOUND_PER_CLAIMED))
        in_memory = self.max_in_memory() if size > 1 else None
        return max(1, size if in_memory is None else min(size, in_memory))

    def observe(self, results: Sequence[TrainingResult]) -> None:
        """Note how long trainings took."""
        if results:
            self._mean_seconds = sum(result.seconds for result in results) / len(results)
