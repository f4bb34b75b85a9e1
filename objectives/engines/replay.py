"""The replay engine: each network's step is recorded once and then repeated without autograd.

A step of a small network is mostly Python: modules, autograd's bookkeeping, the optimizer's. All
that this ends in is a list of operators on tensors, the same in every step. So the second step of a
member is watched, below autograd; the third is done both ways and must give the same bits
(loss, weights, statistics, the optimizer's state); from the fourth on the list is called. A batch
of another size, such as an epoch's last, gets a list of its own in the same way.

What cannot be repeated goes on as in the plain engine: values read by the model (`.item()`), state
that it keeps outside parameters and buffers, random numbers that are not torch's.

Entry point: `ReplayEngine`.
"""
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from ..order import Order
from .base import Member, Training, Unsuitable
from .plain import PlainTeam
from .replay_player import Player


@final
class ReplayEngine:
    """Trains each member by itself, by repeating the operators of its own steps."""

    name = "replay"

    def start(self, training: Training, members: Sequence[Member]) -> "ReplayTeam":
        """Build all members.

        Raises:
            Unsuitable: The device is no CPU, or the first network's step cannot be repeated.
        """
        if training.device.type != "cpu":
            raise Unsuitable(f"steps are replayed on the CPU only, and this is {training.device}")
        team = ReplayTeam(training, members)
        return team


@final
class ReplayTeam:
    """Members that take turns; see `Team`."""

    def __init__(self, training: Training, members: Sequence[Member]) -> None:
        self._training = training
        self._plain = PlainTeam(training, members)
        self._players = [Player(training) for _ in members]
        self.predict = self._plain.predict
        self.remember, self.recall = self._plain.remember, self._plain.recall
        self.state, self.parameters = self._plain.state, self._plain.parameters
        self.peak_memory = self._plain.peak_memory

    def advance(self, batches: Mapping[int, Sequence[Tensor]]) -> dict[int, float | Exception]:
        """Train members on batches of their own; see `Team`."""
        return {
            place: self._plain._each(place, partial(self._players[place].advance, batches=mine))
            for place, mine in batches.items()
        }

    def drop(self, members: Sequence[int]) -> None:
        """Give up the members' memory."""
        self._plain.drop(members)
        for place in members:
            self._players[place] = Player(self._training)
