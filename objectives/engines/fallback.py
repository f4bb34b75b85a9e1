"""Falling back: an engine that breaks down is replaced by the plain one, and nothing but time lost.

A breakdown is an exception of the session as a whole: memory that a stack needs, a network that the
engine does not support, a defect. (What a single member raises is that member's own failure, and no
breakdown.) The plain engine then takes the members from where they came into this process, and
repeats what was done with the session since: the same seeds give the same numbers.

    session = FallbackSession(engine, training, members, rewind)
    session.run(train_an_epoch, repeat=True)      # train_an_epoch(session.current)

Entry point: `FallbackSession`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import final

from ..data.streams.source import BatchData
from ..errors import describe_error
from ..interrupt import raise_if_interrupt
from ..training.snapshot import NetworkState
from .base import Engine, Member, Session, TrainingSetup
from .plain import PlainEngine

Operation = Callable[[Session], object]
"""Something done with a session; done again with another one, it must give the same."""


@final
class FallbackSession:
    """A session of an engine, replaced by a plain one when the engine breaks down.

    Attributes:
        current: The session that trains now.
        description: What trains, for people: "stacked", or "plain (stacked: out of memory)".
    """

    current: Session
    description: str

    def __init__(
        self,
        engine: Engine,
        training: TrainingSetup,
        members: Sequence[Member],
        rewind: Callable[[Session, Collection[int]], None],
    ) -> None:
        """Start the engine's session, or a plain one where it cannot be started.

        Args:
            engine: The engine to train with.
            training: What the members have in common.
            members: The networks to train.
            rewind: Called with the plain session that replaces a broken one, and the members that
                begin there at their initial state; the others begin untrained.
        """
        self._engine, self._training, self._members = engine, training, members
        self._rewind = rewind
        self._operations: list[Operation] = []
        self._initial_states: dict[int, NetworkState] = {}
        try:
            self.current, self.description = engine.start(training, members), engine.name
            if isinstance(training.data, BatchData):
                self.description += " (the data comes in batches)"
            return
        except BaseException as error:
            raise_if_interrupt(error)
            if isinstance(engine, PlainEngine):
                raise
            cause = describe_error(error)
        self._start_plain(cause)

    def load_state(self, states: Mapping[int, NetworkState]) -> dict[int, Exception]:
        """Put members where they were, before any has taken a step.

        Args:
            states: Member to its initial state in this process; kept for a fallback.

        Returns:
            Member to why its state does not fit its network; the session is of no use then.
        """
        try:
            incompatible = self.current.load_state(states)
        except BaseException as error:
            raise_if_interrupt(error)
            if self._is_plain:
                raise
            cause = describe_error(error)
        else:
            self._initial_states = {} if self._is_plain else dict(states)
            return incompatible
        del self.current
        self._start_plain(cause)
        return self.current.load_state(states)

    def forget_initial_states(self, members: Collection[int]) -> None:
        """Free the initial states of members, which would begin untrained after a fallback."""
        for index in members:
            self._initial_states.pop(index, None)

    def run(self, operation: Operation, *, repeat: bool = False) -> None:
        """Do something with the session; where that breaks down, do it with a plain one.

        Args:
            operation: What to do.
            repeat: Whether to repeat it after a later fallback.
        """
        cause = None
        try:
            operation(self.current)
        except BaseException as error:
            raise_if_interrupt(error)
            if self._is_plain:
                raise
            cause = describe_error(error)
        if cause is not None:  # not within the handler: the error's frames hold the engine's memory
            self._fall_back(cause)
            operation(self.current)
        if repeat and not self._is_plain:
            self._operations.append(operation)

    @property
    def _is_plain(self) -> bool:
        return isinstance(self._engine, PlainEngine)

    def _fall_back(self, cause: str) -> None:
        """Replace the session by a plain one, and repeat there what was done with it."""
        del self.current  # its memory is what may have run out
        self._start_plain(cause)
        states, self._initial_states = self._initial_states, {}
        while incompatible := self.current.load_state(states):
            states = {index: state for index, state in states.items() if index not in incompatible}
            del self.current
            self.current = self._engine.start(self._training, self._members)
        self._rewind(self.current, states.keys())
        operations, self._operations = self._operations, []
        for operation in operations:
            operation(self.current)

    def _start_plain(self, cause: str) -> None:
        self.description = f"plain ({self._engine.name}: {cause})"
        self._engine = PlainEngine()
        self.current = self._engine.start(self._training, self._members)
