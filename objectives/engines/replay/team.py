"""A team whose members repeat the operators of their own steps, and how it is started.

Entry points: `started`, `ReplayTeam`, `Rehearsals`, `rehearse`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, final
from weakref import WeakKeyDictionary

from torch import Tensor

from ...data.batches import Order
from ...errors import reason
from ..base import Member, Training, Unsuitable
from ..plain import Network, PlainTeam
from .player import Player
from .purity import reads_values

_REHEARSED = 3
"""Steps of a rehearsal: the first makes the optimizer's state, one is recorded, one is proven."""


@final
class Rehearsals:
    """Why steps of networks cannot be repeated, found out once for those of one structure."""

    def __init__(self, rehearse: Callable[[Training, Network], str | None]) -> None:
        """Make ready.

        Args:
            rehearse: Returns why a network's steps cannot be repeated, None if they can.
        """
        self._rehearse = rehearse
        self._verdicts: WeakKeyDictionary[Any, dict[Any, str | None]] = WeakKeyDictionary()

    def refusal(self, training: Training, member: Member) -> str | None:
        """Return why the steps of such a network cannot be repeated; remembered for its like."""
        network = Network(training, member)
        kinds = tuple((name, type(module)) for name, module in network.model.named_modules())
        known = self._verdicts.setdefault(training.objective, {})
        key = (training.settings, kinds)
        if key not in known:
            known[key] = self._rehearse(training, network)
        return known[key]


@final
class ReplayTeam:
    """Members that take turns; see `Team`."""

    def __init__(self, training: Training, members: Sequence[Member]) -> None:
        """Build all members.

        Args:
            training: What they have in common.
            members: Whom to train.
        """
        self._plain = PlainTeam(training, members)
        self._player = partial(Player, training)
        self._players = [self._player() for _ in members]
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

    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return each member's outputs for all rows; see `Team`."""
        return self._plain.predict(members, inputs)

    def drop(self, members: Sequence[int]) -> None:
        """Give up the members' memory."""
        self._plain.drop(members)
        for place in members:
            self._players[place] = self._player()


def started(training: Training, members: Sequence[Member], rehearsals: Rehearsals) -> ReplayTeam:
    """Return a team of the members.

    Raises:
        Unsuitable: The device is no CPU, or the first network's step cannot be repeated.
    """
    if training.device.type != "cpu":
        raise Unsuitable(f"steps are replayed on a CPU, not on {training.device}")
    team = ReplayTeam(training, members)
    built = [one for place, one in enumerate(members) if team.parameters(place)]
    refusal = rehearsals.refusal(training, built[0]) if built else None
    if refusal is not None:
        raise Unsuitable(refusal)
    return team


def rehearse(training: Training, network: Network) -> str | None:
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
