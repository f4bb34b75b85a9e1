"""The runner: from claimed slots to recorded results, a few trials at a time.

`Runner.run_batch` is the way of a batch in the trainer process: suggest, train, record. The
ledger's settlement is the commit point; what Optuna shows is projected from it afterwards and can
be repaired by any worker.
"""

from __future__ import annotations

import json
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import torch

from ...objectives.engines.base import Engine
from ...objectives.engines.plain import PlainEngine
from ...objectives.errors import as_exception, describe_error
from ...objectives.interrupt import raise_if_interrupt
from ...objectives.loop.result import TrainingResult
from ...objectives.user_code import is_out_of_memory
from ...storage.errors import StorageError
from ...storage.ledger.ledger import Ledger, Slot
from ...storage.ledger.slot import SlotState, TrialOutcome
from ...storage.projection.projection import Projection
from ..errors import SearchError, TrainerDied
from ..problem.memory_ceiling import DeviceProblem
from ..problem.problem import Problem
from .bind import Binder, BoundSlot
from .checkpoints import StudyCheckpoints
from .claim_size import ClaimSizer
from .learning import LearningWatch
from .outcome import SlotOutcome, Unsettled
from .record import (
    infeasible_settlement,
    out_of_memory_settlement,
    record_failure,
    record_settlements,
    training_settlement,
)
from .train_batch import train_batch
from .turn import ProposalTurn
from .watch import BatchWatch

TrainedSlot = tuple[BoundSlot, TrainingResult | BaseException | None]
"""A slot and its result, what its code raised, or None where another worker has the slot."""


@final
@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs the slots of one study in this process.

    Attributes:
        problem: What is searched.
        ledger: The budget; the authority on who runs what.
        projection: Optuna's view of it.
        device_class: Class of the device that the trainings run on.
        claim_sizer: How many slots to claim at once.
        engine: What computes the trainings.
        checkpoints: Of the study; None to keep none.
        learning: Stops the study where it learns nothing; None to leave it alone.
        all_planned: Whether the study's slots are planned, as those of a follow-up study are.
    """

    problem: Problem
    ledger: Ledger
    projection: Projection
    device_class: str
    claim_sizer: ClaimSizer = field(default_factory=ClaimSizer)
    engine: Engine = field(default_factory=PlainEngine)
    checkpoints: StudyCheckpoints | None = None
    learning: LearningWatch | None = None
    all_planned: bool = False

    @property
    def claim_size(self) -> int:
        """How many slots to claim now."""
        # Nothing is to be learnt for planned trainings: only the last ones are shared out.
        count = self.ledger.reader.open_slots if self.all_planned else self.ledger.reader.unbound
        return self.claim_sizer.claim_size(count)

    def run_batch(self, slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        """Take claimed slots all the way; every one of them is settled, given back or lost.

        Args:
            slots: As claimed; somebody else keeps their leases.
            watch: What may interrupt the trainings.

        Raises:
            Drained: A stop was asked for.
            Exhausted: Every feasible candidate was tried.
            TrainerDied: The device can be used again only by another process.
        """
        # Suggest: widths for the slots that have none, and what they cost.
        binder = self._binder()
        bound_slots: list[BoundSlot] = []
        outcomes: list[SlotOutcome] = []
        for slot in binder.bind(slots):
            evaluated = binder.evaluate_costs(slot)
            if isinstance(evaluated, BoundSlot):
                bound_slots.append(evaluated)
            else:
                outcomes.append(self._record_error(slot, evaluated))
        opened = binder.open_trials(bound_slots)
        outcomes += [_lost(bound_slot) for bound_slot in bound_slots if bound_slot not in opened]
        section = self.problem.spec.limits
        limits = {**section.model_dump(exclude_none=True), **section.measured_limits}
        infeasible = [
            infeasible_settlement(bound_slot, limits)
            for bound_slot in opened
            if not bound_slot.is_feasible
        ]
        outcomes += record_settlements(self.ledger, infeasible)

        # Train, and record. Where several run out of memory together nobody knows which of them is
        # too large: each is trained again by itself.
        feasible = [slot for slot in opened if slot.is_feasible]
        alone = self.problem.loop_objective is None
        batches = deque([[slot] for slot in feasible] if alone else _batches_by_overrides(feasible))
        while batches:
            batch = batches.popleft()
            problem = self.problem.variant(batch[0].slot.overrides)
            results: Sequence[TrainingResult | BaseException | None]
            try:
                results = train_batch(
                    problem,
                    batch,
                    watch,
                    engine=self.engine,
                    checkpoints=self.checkpoints,
                    other_rung_scores=self._earlier_scores(),
                )
            except (SearchError, StorageError):
                raise
            except BaseException as error:
                raise_if_interrupt(error)
                results = [error] * len(batch)
            trained = self._observe(batch, results)
            too_large = [slot for slot, result in trained if _ran_out_of_memory(result)]
            to_repeat = too_large if len(batch) > 1 else []
            outcomes += self._record([item for item in trained if item[0] not in to_repeat])
            batches.extend([bound_slot] for bound_slot in to_repeat)
            del results, trained  # an exception's frames hold the memory that ran out
        self._discard_checkpoints(outcomes)
        if self.learning is not None:
            self.learning.check()
        return sorted(outcomes, key=lambda outcome: outcome.number)

    @cached_property
    def _device_problem(self) -> DeviceProblem:
        return DeviceProblem(problem=self.problem, device_class=self.device_class)

    @cached_property
    def _turn(self) -> ProposalTurn:
        return ProposalTurn(reader=self.ledger.reader)

    def _binder(self) -> Binder:
        records = self.ledger.reader.out_of_memory()
        return Binder(
            problem=self._device_problem.restricted(records),
            ledger=self.ledger,
            projection=self.projection,
            turn=self._turn,
            known_infeasible=self._device_problem.known_infeasible,
            out_of_memory_elsewhere=self._device_problem.out_of_memory_elsewhere(records),
        )

    def _observe(
        self, batch: Sequence[BoundSlot], results: Sequence[TrainingResult | BaseException | None]
    ) -> list[TrainedSlot]:
        """Return slots with their results, after learning from these how many to claim next.

        Raises:
            TrainerDied: The device can be used again only by another process.
        """
        for result in results:
            raise_if_gpu_lost(result)
        self.claim_sizer.observe(
            [result for result in results if isinstance(result, TrainingResult)]
        )
        return list(zip(batch, results, strict=True))

    def _earlier_scores(self) -> dict[float, list[float]]:
        """Return the scores that earlier trials had at each rung."""
        scores_by_rung: dict[float, list[float]] = {
            rung: [] for rung in self.problem.settings.rungs
        }
        if scores_by_rung:
            for tried in self.ledger.reader.tried():
                for epochs, score in tried.rungs:
                    scores_by_rung.setdefault(epochs, []).append(score)
        return scores_by_rung

    def _record(self, trained: Sequence[TrainedSlot]) -> list[SlotOutcome]:
        """Record what came of trainings, all results in one transaction."""
        outcomes: list[SlotOutcome] = []
        settlements = []
        for bound_slot, result in trained:
            if isinstance(result, TrainingResult):
                problem = self.problem.variant(bound_slot.slot.overrides)
                settlements.append(
                    training_settlement(
                        bound_slot,
                        result,
                        self.device_class,
                        constant_score=problem.constant_score,
                        constant_loss=problem.constant_loss,
                        goal=self.problem.goal,
                    )
                )
            elif result is None:
                outcomes.append(_lost(bound_slot))
            else:
                outcomes.append(self._record_error(bound_slot.slot, result))
        return outcomes + record_settlements(self.ledger, settlements)

    def _record_error(self, slot: Slot, error: BaseException) -> SlotOutcome:
        """Record an exception of the user's code; it is tried again a few times.

        Memory that ran out is a result, and never tried again.
        """
        reason = describe_error(as_exception(error))
        if is_out_of_memory(error):
            settlement = out_of_memory_settlement(slot, reason, self.device_class)
            return record_settlements(self.ledger, [settlement])[0]
        trace = "".join(traceback.format_exception(error))
        return record_failure(self.ledger, slot, trace, detail=reason)

    def _discard_checkpoints(self, outcomes: Sequence[SlotOutcome]) -> None:
        """Delete the checkpoints of what is settled, by us or by the worker that took it over."""
        if self.checkpoints is None:
            return
        for outcome in outcomes:
            if outcome.kind is Unsettled.LOST:
                settled = self.ledger.reader.record(outcome.number).state is SlotState.DONE
            else:
                settled = isinstance(outcome.kind, TrialOutcome)
            if settled:
                self.checkpoints.discard(outcome.number)


def _batches_by_overrides(bound_slots: Sequence[BoundSlot]) -> list[list[BoundSlot]]:
    """Return the slots in groups that are trained by the same settings, in their order."""
    batches: dict[str, list[BoundSlot]] = {}
    for bound_slot in bound_slots:
        key = json.dumps(dict(bound_slot.slot.overrides), sort_keys=True)
        batches.setdefault(key, []).append(bound_slot)
    return list(batches.values())


def _lost(bound_slot: BoundSlot) -> SlotOutcome:
    return SlotOutcome(number=bound_slot.slot.number, kind=Unsettled.LOST)


def _ran_out_of_memory(result: TrainingResult | BaseException | None) -> bool:
    if isinstance(result, TrainingResult):
        return TrialOutcome(result.outcome) is TrialOutcome.OUT_OF_MEMORY
    return result is not None and is_out_of_memory(result)


def raise_if_gpu_lost(result: object) -> None:
    """Raise if what came of a training is the error of a failed kernel.

    Raises:
        TrainerDied: It is: this process is of no more use.
    """
    if isinstance(result, torch.AcceleratorError) and not is_out_of_memory(result):
        raise TrainerDied(f"its process lost the GPU: {result}", out_of_memory=False)
