"""A fold: the members that are trained on the same rows, and the session that trains them.

Entry point: `Fold`.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, final

from ..data.streams.source import BatchData
from ..engines.base import Engine, Member, Session, TrainingSetup
from ..engines.fallback import FallbackSession
from ..training.snapshot import IncompatibleSnapshot, MemberSnapshot, NetworkState
from .evaluation import Evaluation
from .member import MemberState, MemberStatus
from .milestone import Milestone

_Figures = TypeVar("_Figures")


@final
class Fold:
    """The members of all candidates on one fold's rows.

    Attributes:
        member_states: The state of each member, by its index.
        session: What trains the members, the plain engine once another has broken down.
    """

    def __init__(self, training: TrainingSetup, members: Sequence[Member], engine: Engine) -> None:
        """Build all members.

        Args:
            training: What they have in common.
            members: The networks to train.
            engine: What trains them; where it cannot, the plain engine does.
        """
        self._training, self._members = training, members
        self._evaluation = Evaluation(training, members)
        self.session = FallbackSession(engine, training, members, self._rewind)
        self.member_states = [
            self._new_state(index, self.session.current) for index in range(len(members))
        ]
        self._stored_states: dict[int, Mapping[str, Any]] = {}
        self._trained: list[int] = []

    @property
    def engine_description(self) -> str:
        """What trains the members, for people."""
        return self.session.description

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return max(member_state.order.steps_per_epoch for member_state in self.member_states)

    def running(self) -> list[int]:
        """Return the members that are still trained."""
        return [index for index, state in enumerate(self.member_states) if state.running]

    def validate(self, milestone: Milestone) -> None:
        """Validate the members just trained to a milestone, and finish those that should stop."""
        self.session.run(partial(self._validate, milestone), repeat=True)
        if milestone.ends_epoch:
            # Who has come through an epoch is unlikely to break the engine: free the memory.
            self.session.forget_initial_states(self._trained)

    def end_members(self, members: Collection[int]) -> None:
        """Stop those of the members that are still running; they count as pruned."""
        ending = [index for index in members if self.member_states[index].running]
        for index in ending:
            self.member_states[index].status = MemberStatus.PRUNED
        if ending:
            self._drop(ending)

    def close(self) -> None:
        """End what reads the data ahead, such as the workers of a loader."""
        data = self._training.data
        if isinstance(data, BatchData):
            self._drop(range(len(self.member_states)))
            data.close()

    def member_snapshot(self, index: int) -> MemberSnapshot:
        """Return a member's snapshot.

        Raises:
            UnserialisableState: Its network has a state that cannot be stored.
            Exception: Its own code raised.
        """
        state = self.member_states[index]
        return MemberSnapshot(
            member_state=state.state_dict(),
            network_state=self.session.current.network_state(index) if state.running else None,
        )

    def load_state(self, snapshots: Mapping[int, MemberSnapshot]) -> dict[int, Exception]:
        """Put members where their snapshots were taken, before any has taken a step.

        Returns:
            Member to why its snapshot does not fit; the fold is of no use then.
        """
        incompatible: dict[int, Exception] = {}
        network_states: dict[int, NetworkState] = {}
        for index, snapshot in snapshots.items():
            try:
                self.member_states[index].load_state(snapshot.member_state)
                if self.member_states[index].running:
                    network_states[index] = _require_network_state(snapshot)
            except Exception as error:  # whatever was stored, it must not end a training
                incompatible[index] = error
        self._stored_states = {index: snapshots[index].member_state for index in network_states}
        incompatible |= self.session.load_state(network_states)
        self._drop(self._ended())
        return incompatible

    def train(self, milestone: Milestone, session: Session) -> None:
        """Train every running member that has not reached a milestone up to it.

        An operation of `session.run`, which repeats it with a plain session after a fallback.

        Args:
            milestone: Where to train to.
            session: What trains now.
        """
        self._trained = [
            index for index in self.running() if self.member_states[index].epochs < milestone.epochs
        ]
        orders = {index: self.member_states[index].order for index in self._trained}
        mid_epoch = [index for index, order in orders.items() if order.mid_epoch]
        batches = {
            index: order.batches_until(milestone.epoch_fraction) for index, order in orders.items()
        }
        pending = {index: due for index, due in batches.items() if len(due)}
        losses = session.advance(pending, mid_epoch) if pending else {}
        for index in self._trained:
            state = self.member_states[index]
            if index in session.failures:
                state.epochs = milestone.epochs
                state.fail(session.failures[index])
            else:
                state.record_training(milestone, losses.get(index), session.peak_memory(index))

    def _validate(self, milestone: Milestone, session: Session) -> None:
        if not self._trained:
            return
        objective, settings = self._training.objective, self._training.settings
        last_counts = settings.final and not isinstance(self._training.data, BatchData)
        validated = [index for index in self._trained if self.member_states[index].running]
        validations = self._evaluation.validate(validated, session)
        self._fail_members()
        improved = [
            index
            for index, validation in validations.items()
            if self.member_states[index].record_validation(
                milestone,
                validation,
                objective.metric,
                settings.smoothing,
                last_counts=last_counts,
            )
        ]
        session.save_best(improved)
        self._finish_members(session)

    def _finish_members(self, session: Session) -> None:
        """Stop the members that should, and judge their best weights on the rows they learnt from.

        Where it is asked for, on the test split, too.
        """
        settings = self._training.settings
        finished = [
            index for index in self.running() if self.member_states[index].should_stop(settings)
        ]
        if finished:
            session.restore_best(finished)
        if finished and settings.judge_test:
            for index, value in self._evaluation.test(finished, session).items():
                self.member_states[index].test_value = value
            self._fail_members()
        finished = [index for index in finished if self.member_states[index].running]
        if finished:
            for index, value in self._evaluation.train(finished, session).items():
                self.member_states[index].train_value = value
            for index, figures in self._evaluation.report(finished, session).items():
                self.member_states[index].reported = figures
            self._fail_members()
        for index in finished:
            if self.member_states[index].running:
                self.member_states[index].status = MemberStatus.FINISHED
                if settings.final:
                    self.member_states[index].weights = session.state_dict(index)
        session.drop(self._ended())

    def _fail_members(self) -> None:
        """Record the failures of members that gave no outputs, or none that can be judged."""
        for index, error in self._evaluation.take_failures().items():
            self.member_states[index].fail(error)

    def _rewind(self, session: Session, initialised: Collection[int]) -> None:
        """Take the running members back to where they came into this process, or to untrained."""
        for index in self.running():
            self.member_states[index] = self._new_state(index, session)
            if index in initialised:
                self.member_states[index].load_state(self._stored_states[index])
        session.drop(self._ended())

    def _new_state(self, index: int, session: Session) -> MemberState:
        member = self._members[index]
        return MemberState(
            member=member,
            order=self._training.order(member.seed),
            parameters=session.parameter_count(index),
        )

    def _ended(self) -> list[int]:
        return [index for index, state in enumerate(self.member_states) if not state.running]

    def _drop(self, members: Sequence[int]) -> None:
        self.session.forget_initial_states(members)
        self.session.run(lambda session: session.drop(members))


def _require_network_state(snapshot: MemberSnapshot) -> NetworkState:
    if snapshot.network_state is None:
        raise IncompatibleSnapshot("a member that had not ended was stored without its network")
    return snapshot.network_state
