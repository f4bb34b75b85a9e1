"""The mean loss of an epoch that may come in parts: one sum, row by row, wherever it is cut.

Entry point: `EpochLoss`.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class EpochLoss:
    """The rows of the present epoch so far.

    Attributes:
        total: Sum of their losses.
        rows: How many.
    """

    total: float = 0.0
    rows: int = 0

    def so_far(self, midway: bool) -> float:
        """Return the sum to add to: of an epoch's rows so far, or zero where one begins."""
        if not midway:
            self.total, self.rows = 0.0, 0
        return self.total

    def now(self, total: float, rows: int) -> float:
        """Take the sum to which so many more rows were added; returns the mean."""
        self.total, self.rows = total, self.rows + rows
        return self.total / self.rows

    @property
    def facts(self) -> Sequence[float]:
        """What a snapshot holds of it."""
        return [self.total, self.rows]
