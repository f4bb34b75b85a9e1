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

from ..base import Member, Training
from .team import Rehearsals, ReplayTeam, rehearse, started


@final
class ReplayEngine:
    """Trains each member by itself, by repeating the operators of its own steps."""

    name = "replay"

    def __init__(self) -> None:
        self._rehearsals = Rehearsals(rehearse)

    def start(self, training: Training, members: Sequence[Member]) -> ReplayTeam:
        """Build all members.

        Raises:
            Unsuitable: The device is no CPU, or the first network's step cannot be repeated.
        """
        return started(training, members, self._rehearsals)
