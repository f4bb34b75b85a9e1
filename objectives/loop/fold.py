"""A squad: members that share their data, and the team of an engine that trains them.

Entry points: `Fold`, `Milestone`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import final

from ..data.batches import BatchSampler
from ..data.dataset import Split
from ..engines.base import Engine, Member, Session, TrainingSetup
from ..engines.plain import PlainEngine
from ..errors import as_exception, describe_error
from ..randomness import Randomness
from ..training.evaluate import evaluate_metric
from ..training.snapshot import IncompatibleSnapshot, MemberSnapshot, NetworkState
from .member import MemberState


@dataclass(frozen=True, kw_only=True)
class Milestone:
    """A point of the training.

    Attributes:
        epochs: How far it is.
        rung: Whether candidates are compared there.
        validate: Whether members are judged there; elsewhere they only pause.
    """

    epochs: float
    rung: bool = False
    validate: bool = True

    @property
    def epoch_fraction(self) -> float:
        """How much of the present epoch is done, in (0, 1]."""
        return self.epochs - math.ceil(self.epochs) + 1

    @property
    def ends_epoch(self) -> bool:
        """Whether every row was seen."""
        return self.epoch_fraction == 1


@final
class Fold:
    """Members that go from stop to stop.

    Attributes:
        member_states: How each of them fares.
        engine_description: What trains them, for people.
    """

    def __init__(
        self,
        training: TrainingSetup,
        members: Sequence[Member],
        candidate_indices: Sequence[int],
        engine: Engine,
    ) -> None:
        """Build all members.

        Args:
            training: What they have in common.
            members: The networks.
            candidate_indices: For each of them, the place of its candidate.
            engine: What trains them; where it cannot, the plain engine does.
        """
        self._training = training
        self._passed_milestones: list[Milestone] = []
        self._initial_snapshots: Mapping[int, MemberSnapshot] = {}
        self.member_states = [
            self._new_member_state(*member_and_candidate)
            for member_and_candidate in zip(members, candidate_indices, strict=True)
        ]
        self._start_session(engine)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return max(member_state.order.steps_per_epoch for member_state in self.member_states)

    def load_state(self, member_snapshots: Mapping[int, MemberSnapshot]) -> dict[int, Exception]:
        """Put members where they were, before any has begun.

        Returns:
            Member to why its record does not fit; the squad is of no use then.
        """
        try:
            return self._load_state(member_snapshots)
        except (Exception, SystemExit) as error:
            if isinstance(self._engine, PlainEngine):
                raise
            cause = f"{self._engine.name}: {describe_error(error)}"
        del self._session  # as in `_restart_on_plain`
        self._reset_members(range(len(self.member_states)), cause)
        return self._load_state(member_snapshots)

    def _load_state(self, member_snapshots: Mapping[int, MemberSnapshot]) -> dict[int, Exception]:
        self._initial_snapshots = member_snapshots
        incompatible: dict[int, Exception] = {}
        network_states = {}
        for index, member_snapshot in member_snapshots.items():
            member_state = self.member_states[index]
            try:
                member_state.load_state(member_snapshot.member_state)
                if member_state.state == "running":
                    network_states[index] = _require_network_state(member_snapshot)
            except Exception as error:  # whatever was stored, it must not end a training
                incompatible[index] = error
        incompatible |= self._session.load_state(network_states)
        self._session.drop(
            [
                index
                for index, member_state in enumerate(self.member_states)
                if member_state.state != "running"
            ]
        )
        return incompatible

    def member_snapshot(self, index: int) -> MemberSnapshot:
        """Return where a member stands; raises `Unkeepable` or whatever its own code raises."""
        member_state = self.member_states[index]
        running = member_state.state == "running"
        return MemberSnapshot(
            member_state=member_state.state_dict(),
            network_state=self._session.network_state(index) if running else None,
        )

    def running(self) -> list[int]:
        """Return the places of the members that go on."""
        return [
            index
            for index, member_state in enumerate(self.member_states)
            if member_state.state == "running"
        ]

    def advance_to(self, milestone: Milestone) -> None:
        """Train to a stop, judge there, and end what is out of patience.

        A member that has the stop behind it sits it out.
        """
        self._with_fallback(partial(self._advance_to, milestone))
        if milestone.validate:
            self._passed_milestones.append(milestone)
        if milestone.ends_epoch:
            # What has come through an epoch is not likely to break down: the memory is worth more.
            self._initial_snapshots = {
                index: member_snapshot
                for index, member_snapshot in self._initial_snapshots.items()
                if self.member_states[index].at == member_snapshot.member_state["at"]
            }

    def end_members(self, indices: Sequence[int]) -> None:
        """Stop members that fell behind, or that nobody waits for."""
        for index in indices:
            self.member_states[index].state = "pruned"
        if indices:
            self._with_fallback(lambda: self._session.drop(indices))

    def _with_fallback(self, operation: Callable[[], None]) -> None:
        """Do it, on the plain engine where the present one breaks down."""
        try:
            operation()
            return
        except (Exception, SystemExit) as error:
            if isinstance(self._engine, PlainEngine):
                raise
            cause = describe_error(error)
        # Not within the handler: the exception's frames hold the engine's memory.
        self._restart_on_plain(cause)
        operation()

    def _new_member_state(self, member: Member, candidate_index: int) -> MemberState:
        rows, batch_size = len(self._training.data.train), self._training.settings.batch_size
        return MemberState(
            candidate_index=candidate_index,
            member=member,
            order=BatchSampler(rows, batch_size, member.seed),
        )

    def _start_session(self, engine: Engine) -> None:
        members = [member_state.member for member_state in self.member_states]
        self._session: Session
        try:
            self._session = engine.start(self._training, members)
        except (Exception, SystemExit) as error:
            if isinstance(engine, PlainEngine):
                raise
            cause = describe_error(error)
        else:
            self._engine, self.engine_description = engine, engine.name
            for index, member_state in enumerate(self.member_states):
                member_state.parameters = self._session.parameter_count(index)
            return
        self._start_plain_session(f"{engine.name}: {cause}")

    def _start_plain_session(self, cause: str) -> None:
        self._start_session(PlainEngine())
        self.engine_description = f"plain ({cause})"

    def _restart_on_plain(self, cause: str) -> None:
        """Train what still runs anew, one by one: what one member needs must not end another.

        It begins where it came into this process: the same seeds give the same numbers, so nothing
        but time is lost.
        """
        running, cause = self.running(), f"{self._engine.name}: {cause}"
        member_snapshots = {
            index: member_snapshot
            for index, member_snapshot in self._initial_snapshots.items()
            if index in running
        }
        del self._session  # its memory is what may have run out
        self._reset_members(running, cause)
        while incompatible := self.load_state(member_snapshots):
            member_snapshots = {
                index: member_snapshot
                for index, member_snapshot in member_snapshots.items()
                if index not in incompatible
            }
            self._reset_members(running, cause)
        for milestone in self._passed_milestones:
            self._advance_to(milestone)

    def _reset_members(self, indices: Sequence[int], cause: str) -> None:
        for index in indices:
            previous = self.member_states[index]
            self.member_states[index] = self._new_member_state(
                previous.member, previous.candidate_index
            )
        self._start_plain_session(cause)

    def _advance_to(self, milestone: Milestone) -> None:
        active = [
            index for index in self.running() if self.member_states[index].at < milestone.epochs
        ]
        if not active:
            return
        mid_epoch = [index for index in active if self.member_states[index].order.mid_epoch]
        batches_by_member = {
            index: self.member_states[index].order.batches_until(milestone.epoch_fraction)
            for index in active
        }
        pending = {index: batches for index, batches in batches_by_member.items() if batches}
        losses = self._session.advance(pending, mid_epoch) if pending else {}
        for index in active:
            self._record_loss(index, losses.get(index), milestone)
        if milestone.validate:
            self._validate(active, milestone)
            self._finish_members()

    def _record_loss(
        self, index: int, loss: float | Exception | None, milestone: Milestone
    ) -> None:
        """Take what came of a member's batches; None where there were none."""
        member_state = self.member_states[index]
        member_state.at = milestone.epochs
        if isinstance(loss, Exception):
            member_state.fail(loss, built=member_state.parameters > 0)
            return
        if loss is not None:
            member_state.set_epoch_loss(loss)
        if milestone.validate:
            member_state.check_epoch_loss(epoch_ended=milestone.ends_epoch)
        peaks = (member_state.peak_memory, self._session.peak_memory(index))
        member_state.peak_memory = max((peak for peak in peaks if peak is not None), default=None)

    def _validate(self, indices: Sequence[int], milestone: Milestone) -> None:
        metric = self._training.objective.metric
        running = [index for index in indices if self.member_states[index].state == "running"]
        values = self._evaluate(running, self._training.data.validation)
        self._session.save_best(
            [
                index
                for index, value in values.items()
                if self.member_states[index].add_validation(
                    value, metric, epoch_ended=milestone.ends_epoch
                )
            ]
        )

    def _finish_members(self) -> None:
        """Judge the best weights of those that are out of patience on the test split."""
        test = self._training.data.test
        finished = [
            index
            for index in self.running()
            if self.member_states[index].should_stop(self._training.settings)
        ]
        if finished and len(test):
            self._session.restore_best(finished)
            for index, value in self._evaluate(finished, test).items():
                self.member_states[index].test_value = value if math.isfinite(value) else None
        for index in finished:
            if self.member_states[index].state == "running":
                self.member_states[index].state = "finished"
        self._session.drop(
            [
                index
                for index, member_state in enumerate(self.member_states)
                if member_state.state != "running"
            ]
        )

    def _evaluate(self, indices: Sequence[int], split: Split) -> dict[int, float]:
        scores, targets = {}, split.targets.to(self._training.device)
        for index, output in self._session.predict(indices, split.inputs).items():
            try:
                if isinstance(output, Exception):
                    raise output
                with self._metric_randomness(index):
                    scores[index] = evaluate_metric(self._training.objective, output, targets)
            except (Exception, SystemExit) as error:
                self.member_states[index].fail(as_exception(error))
        return scores

    def _metric_randomness(self, index: int) -> AbstractContextManager[None]:
        """Return the streams to judge a member in: a user's own metric may draw from them."""
        if self._training.objective.metric.task is not None:
            return nullcontext()
        return Randomness(self.member_states[index].member.seed, self._training.device)


def _require_network_state(member_snapshot: MemberSnapshot) -> NetworkState:
    if member_snapshot.network_state is None:
        raise IncompatibleSnapshot("of a member that had not ended, only the course was stored")
    return member_snapshot.network_state
