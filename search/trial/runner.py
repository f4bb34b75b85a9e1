"""The runner: from claimed slots to recorded results, a few trials at a time.

`Runner.run` is the whole way of a batch: suggest → train → record. The ledger's `done` is the
commit point; what Optuna shows is projected from it afterwards and can be repaired by any worker.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from ...objectives.engines.base import Engine
from ...objectives.engines.plain import PlainEngine
from ...objectives.loop.candidate import Candidate
from ...objectives.loop.loop import train_together
from ...objectives.loop.result import TrainingResult
from ...objectives.training.settings import resolve_device
from ...objectives.user_code import is_out_of_memory
from ...storage.errors import LeaseLost, StorageError
from ...storage.ledger.ledger import Ledger, Settlement, Slot
from ...storage.ledger.slot import SlotState
from ...storage.projection.projection import Projection
from ..errors import Drained, SearchError, TrainerDied
from ..problem.memory_ceiling import DeviceProblem
from ..problem.problem import Problem
from ..problem.seeds import trial_seed
from ..sampler.origin import Origin
from .bind import Binder, BoundSlot
from .checkpoints import CheckpointedTrial, CheckpointWriter, StudyCheckpoints
from .claim_size import ClaimSizer
from .outcome import Outcome
from .record import infeasible_settlement, out_of_memory_settlement, training_settlement

TrainedCandidate = tuple[BoundSlot, TrainingResult | BaseException | None]
"""A candidate and its result, what its code raised, or None where another worker has the slot."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs the slots of one study in this process.

    Attributes:
        problem: What is searched.
        ledger: The budget; the authority on who runs what.
        projection: Optuna's view of it.
        stop_requested: Whether the worker was asked to stop.
        device_class: Class of the device that the trainings run on.
        claim_sizer: How many slots to claim at once.
        engine: What computes the trainings.
        checkpoints: Of the study; None to keep none.
    """

    problem: Problem
    ledger: Ledger
    projection: Projection
    stop_requested: Callable[[], bool]
    device_class: str
    claim_sizer: ClaimSizer = field(default_factory=ClaimSizer)
    engine: Engine = field(default_factory=PlainEngine)
    checkpoints: StudyCheckpoints | None = None

    @cached_property
    def _device_problem(self) -> DeviceProblem:
        return DeviceProblem(problem=self.problem, device_class=self.device_class)

    @property
    def claim_size(self) -> int:
        """How many slots to claim now."""
        return self.claim_sizer.claim_size(self.ledger.reader.unbound)

    def start(self) -> None:
        """Nothing: the model is loaded."""

    def run(self, slots: Sequence[Slot], lost: Callable[[], frozenset[int]]) -> list[Outcome]:
        """Take claimed slots all the way; every one of them is settled, given back or lost.

        Args:
            slots: As claimed; somebody else keeps their leases.
            lost: Numbers of those that another worker may hold by now.

        Raises:
            Drained: The worker was asked to stop.
            Exhausted: Every feasible candidate was tried.
            TrainerDied: The device can be used again only by another process.
        """
        out_of_memory_records = self.ledger.reader.out_of_memory()
        binder = Binder(
            problem=self._device_problem.restricted(out_of_memory_records),
            ledger=self.ledger,
            projection=self.projection,
            out_of_memory_elsewhere=self._device_problem.out_of_memory_elsewhere(
                out_of_memory_records
            ),
        )
        outcomes: list[Outcome] = []
        evaluated: list[BoundSlot] = []
        for slot in binder.bind(slots):
            try:
                evaluated.append(binder.evaluate_costs(slot))
            except (Exception, SystemExit) as error:
                outcomes.append(self._settle_failure(slot, error))
        owned = binder.open_trials(evaluated)
        lost_numbers = {bound_slot.slot.number for bound_slot in evaluated} - {
            bound_slot.slot.number for bound_slot in owned
        }
        outcomes += [Outcome(number=number, kind="lost") for number in lost_numbers]
        measured_limits = self.problem.spec.limits.measured_limits
        outcomes += self._settle(
            [
                infeasible_settlement(bound_slot, measured_limits)
                for bound_slot in owned
                if not bound_slot.is_feasible
            ]
        )
        trainings = self._train(
            [bound_slot for bound_slot in owned if bound_slot.is_feasible], lost
        )
        # Of several in memory nobody knows which one was too large: each has to be so by itself.
        to_repeat_alone = [
            bound_slot
            for bound_slot, result in trainings
            if len(trainings) > 1 and _ran_out_of_memory(result)
        ]
        outcomes += self._settle_trainings(
            [training for training in trainings if training[0] not in to_repeat_alone]
        )
        for bound_slot in to_repeat_alone:
            outcomes += self._settle_trainings(self._train([bound_slot], lost))
        self._discard_checkpoints(outcomes)
        return sorted(outcomes, key=lambda bound_slot: bound_slot.number)

    def restricted_problem(self) -> Problem:
        """The problem without what ran out of memory on devices like the one here.

        Raises:
            NothingFeasible: No candidate is left for them.
        """
        return self._device_problem.restricted(self.ledger.reader.out_of_memory())

    def _discard_checkpoints(self, outcomes: Sequence[Outcome]) -> None:
        """Throw away the checkpoints of what is settled, by us or by whoever took it from us."""
        if self.checkpoints is None:
            return
        for outcome in outcomes:
            if outcome.kind == "lost":
                settled = self.ledger.reader.record(outcome.number).state == SlotState.DONE
            else:
                settled = outcome.kind != "retry"
            if settled:
                self.checkpoints.discard(outcome.number)

    def _train(
        self, bound_slots: Sequence[BoundSlot], lost: Callable[[], frozenset[int]]
    ) -> list[TrainedCandidate]:
        """Train candidates together."""

        def check_interruption(epochs: float, metrics: Mapping[int, float]) -> Collection[int]:
            del epochs, metrics
            if self.stop_requested():
                raise Drained(f"stopped in {len(bound_slots)} trials")
            return [
                index
                for index, bound_slot in enumerate(bound_slots)
                if bound_slot.slot.number in lost()
            ]

        problem = self.problem
        candidates = [
            Candidate(
                widths=bound_slot.widths,
                seed=self.training_seed(bound_slot.slot),
                never_pruned=Origin.parse(bound_slot.slot.origin).never_pruned,
            )
            for bound_slot in bound_slots
        ]
        if not candidates:
            return []
        checkpoint_writer = self._checkpoint_writer(bound_slots, lost)
        try:
            results: Sequence[Any] = train_together(
                problem.objective,
                candidates,
                problem.settings,
                device=resolve_device(problem.settings.device),
                engine=self.engine,
                parametrisation=problem.parametrisation,
                other_rung_scores=self._earlier_scores(),
                callback=check_interruption,
                store=checkpoint_writer,
            )
        except (SearchError, StorageError):
            raise
        except (Exception, SystemExit) as error:
            results = [error] * len(bound_slots)
        for bound_slot in results:
            raise_if_gpu_lost(bound_slot)
        self.claim_sizer.observe(
            [bound_slot for bound_slot in results if isinstance(bound_slot, TrainingResult)]
        )
        return list(zip(bound_slots, results, strict=True))

    def _checkpoint_writer(
        self, bound_slots: Sequence[BoundSlot], lost: Callable[[], frozenset[int]]
    ) -> CheckpointWriter | None:
        if self.checkpoints is None:
            return None
        trials = [
            CheckpointedTrial(
                number=bound_slot.slot.number,
                widths=bound_slot.widths,
                seed=self.training_seed(bound_slot.slot),
            )
            for bound_slot in bound_slots
        ]
        return CheckpointWriter(self.checkpoints, trials, self.stop_requested, lost)

    def _earlier_scores(self) -> dict[float, list[float]]:
        """What earlier trials had at each rung."""
        scores_by_rung: dict[float, list[float]] = {
            rung: [] for rung in self.problem.settings.rungs
        }
        if scores_by_rung:
            for tried in self.ledger.reader.tried():
                for epochs, score in tried.rungs:
                    scores_by_rung.setdefault(epochs, []).append(score)
        return scores_by_rung

    def _settle_trainings(self, trainings: Sequence[TrainedCandidate]) -> list[Outcome]:
        """Record what came of trainings."""
        outcomes: list[Outcome] = []
        settlements: list[Settlement] = []
        for bound_slot, result in trainings:
            if isinstance(result, TrainingResult):
                settlements.append(
                    training_settlement(
                        bound_slot, result, self.training_seed(bound_slot.slot), self.device_class
                    )
                )
            elif result is None:
                outcomes.append(Outcome(number=bound_slot.slot.number, kind="lost"))
            else:
                outcomes.append(self._settle_failure(bound_slot.slot, result))
        return outcomes + self._settle(settlements)

    def _settle(self, settlements: Sequence[Settlement]) -> list[Outcome]:
        """Record all results in one transaction: the commit point."""
        if not settlements:
            return []
        lost_numbers = {slot.number for slot in self.ledger.settle_many(settlements)}
        return [
            Outcome(number=settlement.slot.number, kind="lost")
            if settlement.slot.number in lost_numbers
            else Outcome(
                number=settlement.slot.number,
                kind=settlement.outcome,
                value=settlement.value,
                detail=settlement.result.get("detail"),
            )
            for settlement in settlements
        ]

    def _settle_failure(self, slot: Slot, error: BaseException) -> Outcome:
        """Record an exception of the user's code; it is tried again a few times.

        Memory that ran out is a result, and never tried again.
        """
        reason = f"{type(error).__name__}: {error}"
        if is_out_of_memory(error):
            return self._settle([out_of_memory_settlement(slot, reason, self.device_class)])[0]
        try:
            will_retry = self.ledger.fail_attempt(slot, "".join(traceback.format_exception(error)))
        except LeaseLost:
            return Outcome(number=slot.number, kind="lost")
        return Outcome(number=slot.number, kind="retry" if will_retry else "error", detail=reason)

    def training_seed(self, slot: Slot) -> int:
        """The seed of a slot's training: the same for every worker that runs it."""
        return trial_seed(self.problem.spec.study.seed, slot.number)


def _ran_out_of_memory(result: TrainingResult | BaseException | None) -> bool:
    if isinstance(result, TrainingResult):
        return result.outcome == "out_of_memory"
    return result is not None and is_out_of_memory(result)


def raise_if_gpu_lost(result: object) -> None:
    """Nothing, unless what came of a training is a failed kernel's error.

    Raises:
        TrainerDied: It is: this process is of no more use.
    """
    if isinstance(result, torch.AcceleratorError) and not is_out_of_memory(result):
        raise TrainerDied(f"its process lost the GPU: {result}", out_of_memory=False)
