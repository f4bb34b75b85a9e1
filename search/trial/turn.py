"""Turns: workers that look for candidates at the same time do so one after the other.

Whoever proposes cannot see what another worker is about to choose, and from the same trials it
would choose nearly the same; of two such batches one would be refused, and chosen anew. So a worker
waits until the slots that were claimed before its own have widths: then it knows them as pending.
Where nobody gets ready for some seconds a chooser may be dead: it is not waited for again, and what
it would have chosen is left to it.

Entry point: `ProposalTurn.wait`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import final

from ...storage.ledger.ledger import Slot
from ...storage.ledger.queries import LedgerReader

# A batch of proposals takes about a second, on a busy machine a few; who has none by then is hardly
# alive.
_MAX_WAIT_SECONDS = 8.0
_POLL_SECONDS = 0.03


@final
@dataclass(kw_only=True)
class ProposalTurn:
    """One worker's turn to propose, batch after batch.

    Attributes:
        reader: Reads the study's slots.
        clock: Seconds that never go back.
        sleep: Waits for so many seconds.
    """

    reader: LedgerReader
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _given_up: set[str] = field(default_factory=set, init=False)

    def wait(self, slots: Sequence[Slot]) -> int:
        """Wait until every slot with a lower number that a worker holds has widths.

        Args:
            slots: Those to find widths for, as claimed; at least one.

        Returns:
            How many of them have none yet: their workers may be dead.
        """
        first_number = min(slot.number for slot in slots)
        deadline = self.clock() + _MAX_WAIT_SECONDS
        before: frozenset[str] = frozenset()
        while True:
            choosing = self.reader.choosing_before(first_number)
            if choosing <= self._given_up:
                return len(choosing)
            if choosing != before:
                before, deadline = choosing, self.clock() + _MAX_WAIT_SECONDS
            if self.clock() >= deadline:
                self._given_up |= choosing
                return len(choosing)
            self.sleep(_POLL_SECONDS)
