"""Members that are trained one after the other: what one raises is its own, and ends only it.

Entry points: `Sequential`, the part of a session that does not depend on how a network computes;
`MemberNetwork`, what it asks of a network.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

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
        """Take over a state, before the first step."""
        ...


NetworkT = TypeVar("NetworkT", bound=MemberNetwork)


class Sequential(ABC, Generic[NetworkT]):
    """A session whose networks take turns; see `Session`.

    Attributes:
        failures: Members that failed, with what their model, loss or memory raised.
    """

    def __init__(self, members: Sequence[Member], build: Callable[[Member], NetworkT]) -> None:
        """Build all members; one that cannot be built has failed.

        Raises:
            EngineUnsupported: The engine cannot train one of them.
        """
        self.failures: dict[int, Exception] = {}
        self._networks: dict[int, NetworkT] = {}
        self._parameter_counts = dict.fromkeys(range(len(members)), 0)
        for index, member in enumerate(members):
            try:
                network = build(member)
            except EngineUnsupported:
                raise
            except BaseException as error:
                self.failures[index] = as_exception(error)
            else:
                self._networks[index] = network
                self._parameter_counts[index] = network.parameter_count

    @abstractmethod
    def advance(
        self, batches: Mapping[int, Sequence[Tensor]], mid_epoch: Collection[int] = ()
    ) -> dict[int, float]:
        """Train members on batches of their own; see `Session`."""

    @abstractmethod
    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return the members' outputs for all rows; see `Session`."""

    def save_best(self, members: Sequence[int]) -> None:
        """Keep a copy of the present weights and buffers."""
        for index, network in self._working(members):
            with self._own_failure(index):
                network.save_best()

    def restore_best(self, members: Sequence[int]) -> None:
        """Put the copies back into place."""
        for index, network in self._working(members):
            with self._own_failure(index):
                network.restore_best()

    def drop(self, members: Sequence[int]) -> None:
        """Free the members' memory."""
        for index in members:
            self._networks.pop(index, None)

    def network(self, member: int) -> NetworkT:
        """Return a member's network; raises KeyError where it failed or was dropped."""
        return self._networks[member]

    def network_state(self, member: int) -> NetworkState:
        """Return all that a member's next step depends on; see `Session`."""
        return self._networks[member].network_state()

    def load_state(self, states: Mapping[int, NetworkState]) -> dict[int, Exception]:
        """Put members where they were; see `Session`."""
        for index, network in self._working(states):
            with self._own_failure(index):
                network.load_state(states[index])
        return {index: self.failures[index] for index in states if index in self.failures}

    def state_dict(self, member: int) -> dict[str, Any]:
        """Return the present weights and buffers, copied to the CPU."""
        return self._networks[member].state_dict()

    def parameter_count(self, member: int) -> int:
        """Return the numbers in the network's parameters; 0 if it could not be built."""
        return self._parameter_counts[member]

    def _working(self, members: Iterable[int]) -> Iterator[tuple[int, NetworkT]]:
        """Yield the networks of the members that have not failed."""
        for index in members:
            if index not in self.failures:
                yield index, self._networks[index]

    @contextmanager
    def _own_failure(self, index: int) -> Iterator[None]:
        """Catch what a member raises: it has failed, and the others go on."""
        try:
            yield
        except BaseException as error:
            self.failures[index] = as_exception(error)
            self.drop([index])
