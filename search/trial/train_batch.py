"""Training a batch: by Widthwise's own loop, side by side, or by the user's own function, alone.

Entry point: `train_batch`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...objectives.engines.base import Engine
from ...objectives.loop.candidate import Candidate
from ...objectives.loop.loop import MilestoneCallback, train_together
from ...objectives.loop.result import TrainingResult
from ...objectives.own_training.own_training import OwnTraining
from ...objectives.own_training.train import train_own
from ...objectives.training.settings import resolve_device
from ..errors import Drained
from ..problem.own_training import own_epochs
from ..problem.problem import Problem
from ..sampler.origin import Origin
from .bind import BoundSlot
from .checkpoints import CheckpointWriter, StudyCheckpoints
from .watch import BatchWatch


def train_batch(
    problem: Problem,
    batch: Sequence[BoundSlot],
    watch: BatchWatch,
    *,
    engine: Engine,
    checkpoints: StudyCheckpoints | None,
    other_rung_scores: Mapping[float, Sequence[float]],
) -> Sequence[TrainingResult | BaseException | None]:
    """Train bound slots and return what came of each: None for one that another worker has.

    Args:
        problem: What is trained, and how.
        batch: The slots; one by one where the training is the user's own.
        watch: What may interrupt them.
        engine: What computes Widthwise's own trainings.
        checkpoints: Of the study; None to keep none.
        other_rung_scores: Rung to the scores that other trials had there.

    Raises:
        Drained: A stop was asked for.
    """
    device = resolve_device(problem.settings.device)
    if isinstance(problem.objective, OwnTraining):
        results: list[TrainingResult | BaseException | None] = []
        for bound_slot in batch:
            with _own_folder(bound_slot, checkpoints) as (folder, identity):
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
                        callback=_interruption_check([bound_slot], watch),
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
        callback=_interruption_check(batch, watch),
        store=None if checkpoints is None else CheckpointWriter(checkpoints, batch, watch),
    )


@contextmanager
def _own_folder(
    bound_slot: BoundSlot, checkpoints: StudyCheckpoints | None
) -> Iterator[tuple[Path, Mapping[str, object]]]:
    """Yield the folder of a training of the user's own, and what it has to be of to go on with it.

    Where none can be kept it is one that lasts as long as the training.
    """
    if checkpoints is not None:
        folder, identity = checkpoints.prepare(bound_slot)
        if folder is not None:
            yield folder, identity
            return
    with tempfile.TemporaryDirectory(prefix="widthwise-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary), {}


def _candidate(bound_slot: BoundSlot) -> Candidate:
    return Candidate(
        widths=bound_slot.widths,
        seed=bound_slot.seed,
        never_pruned=Origin.parse(bound_slot.slot.origin).never_pruned,
    )


def _interruption_check(batch: Sequence[BoundSlot], watch: BatchWatch) -> MilestoneCallback:
    """Return what ends a training on request, and gives up the slots that are lost."""

    def check(epochs: float, metrics: Mapping[int, float]) -> Collection[int]:
        del epochs, metrics
        if watch.stop_requested():
            raise Drained(f"stopped in {len(batch)} trials")
        lost = watch.lost()
        return [index for index, bound in enumerate(batch) if bound.slot.number in lost]

    return check
