"""Members that are trained one after the other: what one of them raises is its own, and ends it.

Entry points: `Turns`, the part of a team that does not depend on how a network computes; `Learner`,
what it asks of a network.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import methodcaller
from typing import Any, Generic, Protocol, TypeVar

from ..errors import contained
from ..training.snapshot import Progress
from .base import Member, Unsuitable


class Learner(Protocol):
    """One member's network."""

    @property
    def parameters(self) -> int:
        """Return the numbers in its parameters."""
        ...

    def remember(self) -> None:
        """Keep a copy of the weights and buffers."""
        ...

    def recall(self) -> None:
        """Put the copy back."""
        ...

    def state(self) -> dict[str, Any]:
        """Return a copy of the weights and buffers, on the CPU."""
        ...

    def progress(self) -> Progress:
        """Return all that the next step depends on."""
        ...

    def go_on_from(self, progress: Progress) -> None:
        """Be where it was, before the first step."""
        ...


L = TypeVar("L", bound=Learner)


class Turns(Generic[L]):
    """Networks that take turns; see `Team`."""

    def __init__(self, members: Sequence[Member], build: Callable[[Member], L]) -> None:
        """Build all members; one that cannot be built answers with its exception later.

        Raises:
            Unsuitable: The engine cannot train one of them.
        """
        self._networks: dict[int, L] = {}
        self._faults: dict[int, Exception] = {}
        self._parameters = dict.fromkeys(range(len(members)), 0)
        for place, member in enumerate(members):
            try:
                network = build(member)
            except Unsuitable:
                raise
            except (Exception, SystemExit) as error:
                self._faults[place] = contained(error)
            else:
                self._networks[place] = network
                self._parameters[place] = network.parameters

    def remember(self, members: Sequence[int]) -> None:
        """Keep a copy of the present weights and buffers."""
        for place in members:
            self.each(place, lambda network: network.remember())

    def recall(self, members: Sequence[int]) -> None:
        """Put the copies back into place."""
        for place in members:
            self.each(place, lambda network: network.recall())

    def drop(self, members: Sequence[int]) -> None:
        """Give up the members' memory."""
        for place in members:
            self._networks.pop(place, None)

    def progress(self, member: int) -> Progress:
        """Return all that a member's next step depends on; see `Team`."""
        return self._networks[member].progress()

    def go_on_from(self, progress: Mapping[int, Progress]) -> dict[int, Exception]:
        """Put members where they were; see `Team`."""
        for place, mine in progress.items():
            self.each(place, methodcaller("go_on_from", mine))
        return {place: self._faults[place] for place in progress if place in self._faults}

    def state(self, member: int) -> dict[str, Any]:
        """Return the present weights and buffers, copied to the CPU."""
        return self._networks[member].state()

    def parameters(self, member: int) -> int:
        """Return the numbers in the network's parameters; 0 if it could not be built."""
        return self._parameters[member]

    def each(self, place: int, work: Callable[[L], Any]) -> Any:
        """Let one member work; what it raises is its own, ends it, and answers from then on."""
        if place in self._faults:
            return self._faults[place]
        try:
            return work(self._networks[place])
        except (Exception, SystemExit) as error:
            self._faults[place] = contained(error)
            self.drop([place])
            return self._faults[place]
