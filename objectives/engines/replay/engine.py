"""The replay engine: each network's step is recorded once and then repeated without autograd.

A step of a small network is mostly Python: modules, autograd's bookkeeping, the optimizer's. All
that it ends in is a list of operators on tensors, the same in every step. So the second step of a
member is watched, below autograd; the third is done both ways and must give the same bits (loss,
weights, statistics, the optimizer's state); from the fourth on the list is called. A batch of
another size, such as an epoch's last, gets a list of its own in the same way.

The list holds for one network: nothing is assumed of how it would look for other widths. Before a
team starts, a rehearsal on its first network shows whether its steps can be repeated at all; not
those of a model that reads values (`.item()`), that keeps state outside parameters and buffers, or
that draws random numbers other than torch's. A member whose proof fails goes on plainly.

Entry point: `ReplayEngine`.
"""

from collections.abc import Sequence
from typing import final

from ..base import Member, TrainingSetup
from .team import ReplaySession, SupportCache, check_support, start_session


@final
class ReplayEngine:
    """Trains each member by itself, by repeating the operators of its own steps."""

    name = "replay"

    def __init__(self) -> None:
        self._support = SupportCache(check_support)

    def start(self, training: TrainingSetup, members: Sequence[Member]) -> ReplaySession:
        """Build all members.

        Raises:
            EngineUnsupported: The device is no CPU, or the first network's step cannot be repeated.
        """
        return start_session(training, members, self._support)
