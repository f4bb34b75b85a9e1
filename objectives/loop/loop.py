"""The training loop: candidates trained together, by the same rules whatever the engine.

A candidate is trained as several members, one for each fold, replica and learning rate. All members
go from milestone to milestone side by side; a milestone is the end of an epoch, or a rung. There
they are validated, the best weights are kept, members out of patience stop, and at a rung the
candidates that fall behind are pruned. Nothing that one member does changes another's numbers.

A candidate may go on from a snapshot: it skips the milestones that it had reached, and ends as if
it had never been interrupted, on a CPU to the bit.

Entry point: `train_together`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch

from ..engines.base import Engine
from ..engines.plain import PlainEngine
from ..model.objective import Objective
from ..parametrisation.standard import Parametrisation
from ..training.settings import ProxySettings
from ..training.snapshot import SnapshotStore
from .candidate import Candidate
from .candidates import CandidateBatch
from .checkpointing import Checkpointer, load_snapshots
from .milestone import milestones
from .result import TrainingResult
from .time_slice import Slicer, TimeSlicer, in_slices

MilestoneCallback = Callable[[float, Mapping[int, float]], Collection[int]]
"""`(epochs so far, candidate just trained -> its metric there) -> candidates to give up`.

In the middle of a long epoch it is called as well, without metrics.
"""

ReportCallback = Callable[[float, Mapping[int, Mapping[str, float]]], None]
"""`(epochs so far, candidate just validated -> its figures there by name)`."""


def train_together(
    objective: Objective,
    candidates: Sequence[Candidate],
    settings: ProxySettings,
    *,
    device: torch.device,
    engine: Engine | None = None,
    parametrisation: Parametrisation | None = None,
    other_rung_scores: Mapping[float, Sequence[float]] | None = None,
    callback: MilestoneCallback | None = None,
    report: ReportCallback | None = None,
    store: SnapshotStore | None = None,
    make_slicer: Callable[..., Slicer] = TimeSlicer,
) -> list[TrainingResult | Exception | None]:
    """Train candidates side by side and score each.

    Args:
        objective: Model, data, loss and metric.
        candidates: What to train; may be empty.
        settings: How to train.
        device: Where to train.
        engine: What trains; None for the plain engine.
        parametrisation: Initial weights and rates by width; None for the model's own and one rate.
        other_rung_scores: Rung (in epochs) to the scores that other trials had there, which the
            candidates are compared with, too.
        callback: Called at every milestone; what it raises ends all and propagates untouched.
        report: Is told metric and losses at every validation, and decides nothing.
        store: Keeps snapshots, and has those to go on from; used before `callback`.
        make_slicer: Makes what cuts long epochs, from `steps_per_epoch` and `enabled`.

    Returns:
        In the order of the candidates: the result; the exception that its code raised; or None for
        one that `callback` gave up.
    """
    batch = CandidateBatch(
        objective,
        candidates,
        settings,
        device=device,
        engine=engine or PlainEngine(),
        parametrisation=parametrisation,
        other_rung_scores=other_rung_scores or {},
        snapshots=load_snapshots(store, len(candidates)),
    )
    try:
        checkpointer = Checkpointer(store, batch, len(candidates))
        interruptible = callback is not None or store is not None
        slicer = make_slicer(batch.steps_per_epoch, enabled=interruptible)
        for milestone in in_slices(milestones(settings), slicer, lambda: batch.epochs_done):
            trained = batch.advance(milestone)
            if milestone.validate:
                batch.validate(milestone)
            if milestone.rung:
                batch.prune(milestone, trained)
            batch.add_seconds(trained, slicer.record_progress())
            if report is not None and trained and milestone.validate:
                report(milestone.epochs, batch.figures(trained))
            if trained and (milestone.validate or slicer.callback_due()):
                checkpointer.save_changed()
                if callback is not None:
                    metrics = batch.metrics(trained) if milestone.validate else {}
                    batch.cancel(callback(milestone.epochs, metrics))
                slicer.record_callback()
        return batch.results()
    finally:
        batch.close()
