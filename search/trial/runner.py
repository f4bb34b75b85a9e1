"""The runner: from claimed slots to recorded results, a few trials at a time.

`Runner.run_batch` is the way of a batch in the trainer process: suggest, train, record. The
ledger's settlement is the commit point; what Optuna shows is projected from it afterwards and can
be repaired by any worker.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import final

import torch

from ...objectives.engines.base import Engine
from ...objectives.engines.plain import PlainEngine
from ...objectives.errors import as_exception, describe_error
from ...objectives.interrupt import raise_if_interrupt
from ...objectives.loop.candidate import Candidate
from ...objectives.loop.loop import ReportCallback, train_together
from ...objectives.loop.result import TrainingResult
from ...objectives.own_training.own_training import OwnTraining
from ...objectives.own_training.train import train_own
from ...objectives.training.settings import resolve_device
from ...objectives.user_code import is_out_of_memory
from ...storage.errors import StorageError
from ...storage.ledger.ledger import Ledger, Slot
from ...storage.ledger.slot import SlotState, TrialOutcome
from ...storage.projection.projection import Projection
from ..errors import SearchError, TrainerDied
from ..problem.memory_ceiling import DeviceProblem
from ..problem.own_training import own_epochs
from ..problem.problem import Problem
from ..sampler.origin import Origin
from ..tracking.tracker import TrackedEnd
from ..tracking.tracking import Tracking
from .bind import Binder, BoundSlot, batches_by_overrides
from .checkpoints import CheckpointWriter, StudyCheckpoints, own_folder
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
from .turn import ProposalTurn
from .watch import BatchWatch, interruption_check

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
        device_label: The device's class, and which one of that class it is.
        tracking: What is told of every trial while it runs.
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
    device_label: str = ""
    tracking: Tracking = field(default_factory=Tracking)

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
        in_hurry = True
        try:
            outcomes = self._run_batch(slots, watch)
            in_hurry = False
        finally:
            self.tracking.finish_batch(in_hurry=in_hurry)
        return outcomes

    def _run_batch(self, slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
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
        outcomes += [SlotOutcome.lost(bound.slot) for bound in bound_slots if bound not in opened]
        section = self.problem.spec.limits
        limits = {**section.bounds, **section.measured_limits}
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
        for bound in feasible:
            costs = {**bound.costs, **bound.measured_costs}
            self.tracking.start(bound.slot, seed=bound.seed, costs=costs)
        batches = deque([[slot] for slot in feasible] if alone else batches_by_overrides(feasible))
        while batches:
            batch = batches.popleft()
            problem = self.problem.variant(batch[0].slot.overrides)
            results: Sequence[TrainingResult | BaseException | None]
            try:
                results = _train_batch(
                    problem,
                    batch,
                    watch,
                    engine=self.engine,
                    checkpoints=self.checkpoints,
                    other_rung_scores=self._earlier_scores(),
                    report=partial(self._report, batch),
                )
            except (SearchError, StorageError):
                raise
            except BaseException as error:
                raise_if_interrupt(error)
                results = [error] * len(batch)
            trained = self._observe(batch, results)
            too_large = [slot for slot, result in trained if _ran_out_of_memory(result)]
            to_repeat = too_large if len(batch) > 1 else []
            recorded = [item for item in trained if item[0] not in to_repeat]
            ended = self._record(recorded)
            self._track_ends(ended, recorded)
            outcomes += ended
            batches.extend([bound_slot] for bound_slot in to_repeat)
            del results, trained, recorded  # an exception's frames hold the memory that ran out
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

    def _report(
        self,
        batch: Sequence[BoundSlot],
        epochs: float,
        figures: Mapping[int, Mapping[str, float]],
    ) -> None:
        """Tell the trackers what the trainings of a batch have come to."""
        for index, values in figures.items():
            self.tracking.report(batch[index].slot.number, epochs, values)

    def _earlier_scores(self) -> dict[float, list[float]]:
        """Return the scores that earlier trials had at each rung."""
        scores_by_rung: dict[float, list[float]] = {r: [] for r in self.problem.settings.rungs}
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
            result = self._with_weights_kept(bound_slot, result)
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
                outcomes.append(SlotOutcome.lost(bound_slot.slot))
            else:
                outcomes.append(self._record_error(bound_slot.slot, result))
        return outcomes + record_settlements(self.ledger, settlements)

    def _with_weights_kept(
        self, bound_slot: BoundSlot, result: TrainingResult | BaseException | None
    ) -> TrainingResult | BaseException | None:
        """Write a final training's weights, before its end is recorded; return it, or the error."""
        if not isinstance(result, TrainingResult) or result.weights is None:
            return result
        assert self.checkpoints is not None, "whoever trains finally keeps checkpoints"
        try:
            self.checkpoints.keep_weights(bound_slot, result.weights)
        except OSError as error:
            return error
        return result

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

    def _track_ends(self, outcomes: Sequence[SlotOutcome], trained: Sequence[TrainedSlot]) -> None:
        """Tell the trackers how trainings ended, once that is recorded."""
        key = self.problem.objective.metric.key
        results = {bound.slot.number: result for bound, result in trained}
        for outcome in outcomes:
            result = results[outcome.number]
            figures = result.final_figures(key) if isinstance(result, TrainingResult) else {}
            self.tracking.end(
                outcome.number,
                TrackedEnd(
                    outcome=outcome.kind.value,
                    is_final=isinstance(outcome.kind, TrialOutcome),
                    detail=outcome.detail,
                    figures=figures,
                ),
            )

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


def _train_batch(
    problem: Problem,
    batch: Sequence[BoundSlot],
    watch: BatchWatch,
    *,
    engine: Engine,
    checkpoints: StudyCheckpoints | None,
    other_rung_scores: Mapping[float, Sequence[float]],
    report: ReportCallback,
) -> Sequence[TrainingResult | BaseException | None]:
    """Train bound slots and return what came of each: None for one that another worker has.

    Args:
        problem: What is trained, and how.
        batch: The slots; one by one where the training is the user's own.
        watch: What may interrupt them.
        engine: What computes Widthwise's own trainings.
        checkpoints: Of the study; None to keep none.
        other_rung_scores: Rung to the scores that other trials had there.
        report: Is told the figures of each, by its place in the batch.

    Raises:
        Drained: A stop was asked for.
    """
    device = resolve_device(problem.settings.device)
    if isinstance(problem.objective, OwnTraining):
        results: list[TrainingResult | BaseException | None] = []
        for index, bound_slot in enumerate(batch):
            with own_folder(bound_slot, checkpoints) as (folder, identity):
                results.append(
                    train_own(
                        problem.objective,
                        _candidate(bound_slot),
                        problem.settings,
                        epochs=own_epochs(problem.spec),
                        device=device,
                        number=bound_slot.slot.number,
                        costs=bound_slot.costs,
                        folder=folder,
                        identity=identity,
                        other_rung_scores=other_rung_scores,
                        callback=interruption_check([bound_slot.slot.number], watch),
                        report=partial(_report_one, report, index),
                    )
                )
        return results
    return train_together(
        problem.objective,
        [_candidate(bound_slot) for bound_slot in batch],
        problem.settings,
        device=device,
        engine=engine,
        parametrisation=problem.parametrisation,
        other_rung_scores=other_rung_scores,
        callback=interruption_check([bound_slot.slot.number for bound_slot in batch], watch),
        report=report,
        store=None if checkpoints is None else CheckpointWriter(checkpoints, batch, watch),
    )


def _candidate(bound_slot: BoundSlot) -> Candidate:
    return Candidate(
        widths=bound_slot.widths,
        seed=bound_slot.seed,
        never_pruned=Origin.parse(bound_slot.slot.origin).never_pruned,
    )


def _report_one(
    report: ReportCallback, index: int, step: float, figures: Mapping[str, float]
) -> None:
    report(step, {index: figures})


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
