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

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, final
from weakref import WeakKeyDictionary

from torch import Tensor

from ..errors import reason
from ..order import Order
from .base import Member, Training, Unsuitable
from .plain import Network, PlainTeam
from .replay_player import Player
from .replay_watch import reads_values

_REHEARSED = 3
"""Steps of a rehearsal: the first makes the optimizer's state, one is recorded, one is proven."""


@final
class ReplayEngine:
    """Trains each member by itself, by repeating the operators of its own steps."""

    name = "replay"

    def __init__(self) -> None:
        self._verdicts: WeakKeyDictionary[Any, dict[Any, str | None]] = WeakKeyDictionary()

    def start(self, training: Training, members: Sequence[Member]) -> "ReplayTeam":
        """Build all members.

        Raises:
            Unsuitable: The device is no CPU, or the first network's step cannot be repeated.
        """
        if training.device.type != "cpu":
            raise Unsuitable(f"steps are replayed on a CPU, not on {training.device}")
        team = ReplayTeam(training, members)
        built = [one for place, one in enumerate(members) if team.parameters(place)]
        refusal = self._refusal(training, built[0]) if built else None
        if refusal is not None:
            raise Unsuitable(refusal)
        return team

    def _refusal(self, training: Training, member: Member) -> str | None:
        """Return why the steps of such a network cannot be repeated; remembered for its like."""
        network = Network(training, member)
        kinds = tuple((name, type(module)) for name, module in network.model.named_modules())
        known = self._verdicts.setdefault(training.objective, {})
        key = (training.settings, kinds)
        if key not in known:
            known[key] = _rehearse(training, network)
        return known[key]


@final
class ReplayTeam:
    """Members that take turns; see `Team`."""

    def __init__(self, training: Training, members: Sequence[Member]) -> None:
        self._plain = PlainTeam(training, members)
        self._training = training
        self._players = [Player(training) for _ in members]
        self.predict = self._plain.predict
        self.remember, self.recall = self._plain.remember, self._plain.recall
        self.progress, self.go_on_from = self._plain.progress, self._plain.go_on_from
        self.state, self.parameters = self._plain.state, self._plain.parameters
        self.peak_memory = self._plain.peak_memory

    def advance(
        self, batches: Mapping[int, Sequence[Tensor]], midway: Collection[int] = ()
    ) -> dict[int, float | Exception]:
        """Train members on batches of their own; see `Team`."""
        return {
            place: self._plain.each(
                place,
                partial(self._players[place].advance, batches=mine, midway=place in midway),
            )
            for place, mine in batches.items()
        }

    def drop(self, members: Sequence[int]) -> None:
        """Give up the members' memory."""
        self._plain.drop(members)
        for place in members:
            self._players[place] = Player(self._training)


def _rehearse(training: Training, network: Network) -> str | None:
    """Return why a network's steps cannot be repeated; it is of no other use afterwards."""
    split, player = training.data.train, Player(training)
    order = Order(len(split), training.settings.batch_size, network.seed)
    batches = [order.until(1.0)[0] for _ in range(_REHEARSED)]
    try:
        player.advance(network, batches)
    except (Exception, SystemExit) as error:  # the plain engine will say it to the user
        return f"a step raised {reason(error)}"
    rows, targets = split.inputs[batches[0]], split.targets[batches[0]]
    if player.refusal is None and reads_values(network.model, training.objective, rows, targets):
        return "the model reads values, so a step may depend on the data"
    return player.refusal
