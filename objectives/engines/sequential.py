"""Members that are trained one after the other: what one of them raises is its own, and ends it.

Entry points: `Sequential`, the part of a team that does not depend on how a network computes; `MemberNetwork`,
what it asks of a network.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import methodcaller
from typing import Any, Generic, Protocol, TypeVar

from ..errors import as_exception
from ..training.snapshot import NetworkState
from .base import EngineUnsupported, Member


class MemberNetwork(Protocol):
    """One member's network."""

    @property
    def parameter_count(self) -> int:
        """Return the numbers in its parameters."""
        ...

    def save_best(self) -> None:
        """Keep a copy of the weights and buffers."""
        ...

    def restore_best(self) -> None:
        """Put the copy back."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the weights and buffers, on the CPU."""
        ...

    def network_state(self) -> NetworkState:
        """Return all that the next step depends on."""
        ...

    def load_state(self, state: NetworkState) -> None:
        """Be where it was, before the first step."""
        ...


NetworkT = TypeVar("NetworkT", bound=MemberNetwork)


class Sequential(Generic[NetworkT]):
    """Networks that take turns; see `Team`."""

    def __init__(self, members: Sequence[Member], build: Callable[[Member], NetworkT]) -> None:
        """Build all members; one that cannot be built answers with its exception later.

        Raises:
            EngineUnsupported: The engine cannot train one of them.
        """
        self._networks: dict[int, NetworkT] = {}
        self._failures: dict[int, Exception] = {}
        self._parameter_counts = dict.fromkeys(range(len(members)), 0)
        for index, member in enumerate(members):
            try:
                network = build(member)
            except EngineUnsupported:
                raise
            except (Exception, SystemExit) as error:
                self._failures[index] = as_exception(error)
            else:
                self._networks[index] = network
                self._parameter_counts[index] = network.parameter_count

    def save_best(self, members: Sequence[int]) -> None:
        """Keep a copy of the present weights and buffers."""
        for index in members:
            self.run_member(index, lambda network: network.save_best())

    def restore_best(self, members: Sequence[int]) -> None:
        """Put the copies back into place."""
        for index in members:
            self.run_member(index, lambda network: network.restore_best())

    def drop(self, members: Sequence[int]) -> None:
        """Give up the members' memory."""
        for index in members:
            self._networks.pop(index, None)

    def network_state(self, member: int) -> NetworkState:
        """Return all that a member's next step depends on; see `Team`."""
        return self._networks[member].network_state()

    def load_state(self, states: Mapping[int, NetworkState]) -> dict[int, Exception]:
        """Put members where they were; see `Team`."""
        for index, member_state in states.items():
            self.run_member(index, methodcaller("load_state", member_state))
        return {index: self._failures[index] for index in states if index in self._failures}

    def state_dict(self, member: int) -> dict[str, Any]:
        """Return the present weights and buffers, copied to the CPU."""
        return self._networks[member].state_dict()

    def parameter_count(self, member: int) -> int:
        """Return the numbers in the network's parameters; 0 if it could not be built."""
        return self._parameter_counts[member]

    def run_member(self, index: int, action: Callable[[NetworkT], Any]) -> Any:
        """Let one member work; what it raises is its own, ends it, and answers from then on."""
        if index in self._failures:
            return self._failures[index]
        try:
            return action(self._networks[index])
        except (Exception, SystemExit) as error:
            self._failures[index] = as_exception(error)
            self.drop([index])
            return self._failures[index]
