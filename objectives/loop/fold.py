"""A fold: the members that are trained on the same rows, and the session that trains them.

Entry point: `Fold`.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from ..data.batches import BatchSampler
from ..data.dataset import Split
from ..engines.base import Engine, Member, Session, TrainingSetup
from ..engines.fallback import FallbackSession
from ..errors import as_exception
from ..model.objective import has_built_in_loss
from ..randomness import Randomness
from ..training.evaluate import evaluate_metric
from ..training.snapshot import IncompatibleSnapshot, MemberSnapshot, NetworkState
from .member import MemberState, MemberStatus, Validation
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
        pending = {index: rows for index, rows in batches.items() if rows}
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
        objective, smoothing = self._training.objective, self._training.settings.smoothing
        validated = [index for index in self._trained if self.member_states[index].running]

        def validate(output: Any, targets: Tensor) -> Validation:
            metric = evaluate_metric(objective, output, targets)
            with torch.no_grad():
                return Validation(metric, float(objective.loss(output, targets)))

        validations = self._evaluate(validated, self._training.data.validation, session, validate)
        improved = [
            index
            for index, validation in validations.items()
            if self.member_states[index].record_validation(
                milestone, validation, objective.metric, smoothing
            )
        ]
        session.save_best(improved)
        self._finish_members(session)

    def _finish_members(self, session: Session) -> None:
        """Stop the members that should, and judge their best weights on the rows they learnt from.

        Where it is asked for, on the test split, too.
        """
        test, settings = self._training.data.test, self._training.settings
        finished = [
            index for index in self.running() if self.member_states[index].should_stop(settings)
        ]
        if finished:
            session.restore_best(finished)
        if finished and settings.judge_test and len(test):
            metric = partial(evaluate_metric, self._training.objective)
            for index, value in self._evaluate(finished, test, session, metric).items():
                self.member_states[index].test_value = value if math.isfinite(value) else None
        self._judge_training(finished, session)
        self._judge_reported(finished, session)
        for index in finished:
            if self.member_states[index].running:
                self.member_states[index].status = MemberStatus.FINISHED
        session.drop(self._ended())

    def _judge_training(self, finished: Sequence[int], session: Session) -> None:
        """Record the training metric of the weights in place."""

        def judge(output: Any, targets: Tensor) -> float | None:
            try:
                value = evaluate_metric(self._training.objective, output, targets)
            except Exception:  # it is judged for people, and no training fails for it
                return None
            return value if math.isfinite(value) else None

        running = [index for index in finished if self.member_states[index].running]
        if running:
            values = self._evaluate(running, self._training_sample, session, judge)
            for index, value in values.items():
                self.member_states[index].train_value = value

    def _judge_reported(self, finished: Sequence[int], session: Session) -> None:
        """Record the further metrics that were asked for, of the weights in place."""
        objective = self._training.objective

        def judge(output: Any, targets: Tensor) -> dict[str, float]:
            figures = {}
            for metric in objective.reported:
                try:
                    value = evaluate_metric(objective, output, targets, metric)
                except Exception:  # noqa: S112  # tried before the study, and decides nothing
                    continue
                if math.isfinite(value):
                    figures[metric.key] = value
            return figures

        running = [index for index in finished if self.member_states[index].running]
        if running and objective.reported:
            validation = self._training.data.validation
            for index, figures in self._evaluate(running, validation, session, judge).items():
                self.member_states[index].reported = figures

    @cached_property
    def _training_sample(self) -> Split:
        """As many of the training rows as validate, evenly spread: no more memory, little time."""
        train = self._training.data.train
        count = min(len(train), len(self._training.data.validation))
        rows = torch.linspace(0, len(train) - 1, count).round().long().to(train.inputs.device)
        return Split(
            inputs=train.inputs[rows], targets=train.targets[rows.to(train.targets.device)]
        )

    def _evaluate(
        self,
        indices: Sequence[int],
        split: Split,
        session: Session,
        judge: Callable[[Any, Tensor], _Figures],
    ) -> dict[int, _Figures]:
        """Return what `judge` makes of members' outputs and a split's targets.

        The failures of members that give no outputs, or none that can be judged, are recorded.
        """
        figures, targets = {}, split.targets.to(self._training.device)
        for index, output in session.predict(indices, split.inputs).items():
            try:
                with self._metric_randomness(index):
                    figures[index] = judge(output, targets)
            except BaseException as error:
                self.member_states[index].fail(as_exception(error))
        for index in indices:
            if index in session.failures:
                self.member_states[index].fail(session.failures[index])
        return figures

    def _metric_randomness(self, index: int) -> AbstractContextManager[None]:
        """Return the random streams of metrics and loss: the user's own may draw from them."""
        objective = self._training.objective
        metrics = (objective.metric, *objective.reported)
        if all(metric.task is not None for metric in metrics) and has_built_in_loss(objective):
            return nullcontext()
        return Randomness(self._members[index].seed, self._training.device)

    def _rewind(self, session: Session, initialised: Collection[int]) -> None:
        """Take the running members back to where they came into this process, or to untrained."""
        for index in self.running():
            self.member_states[index] = self._new_state(index, session)
            if index in initialised:
                self.member_states[index].load_state(self._stored_states[index])
        session.drop(self._ended())

    def _new_state(self, index: int, session: Session) -> MemberState:
        member, settings = self._members[index], self._training.settings
        return MemberState(
            member=member,
            order=BatchSampler(len(self._training.data.train), settings.batch_size, member.seed),
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
