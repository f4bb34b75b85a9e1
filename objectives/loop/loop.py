"""Training several candidates together: the rules that all engines obey.

A candidate is trained once for each fold, replica and learning rate (its members). All members go
from stop to stop side by side; a stop is an epoch's end or a rung. There they are judged, the best
weights are kept, those out of patience end, and at a rung the candidates that fall behind are
stopped. Nothing that one member does changes another's numbers.

A candidate may go on from a snapshot: it sits out the stops that it has behind it, and ends as if
it had never been interrupted, on a CPU to the bit.

Entry points: `Candidate`, `train_together`.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch

from ..engines.base import Engine
from ..engines.plain import PlainEngine
from ..model.objective import Objective
from ..parametrisation.standard import Parametrisation
from ..training.settings import ProxySettings, TrainingResult
from ..training.snapshot import SnapshotStore
from .candidate import Candidate, replica_seed
from .candidates import CandidateBatch
from .checkpointing import Checkpointer, load_snapshots
from .fold import Milestone
from .time_slice import TimeSlicer

__all__ = ["Candidate", "MilestoneCallback", "SnapshotStore", "replica_seed", "train_together"]

MilestoneCallback = Callable[[float, Mapping[int, float]], Collection[int]]
"""`(epochs so far, candidate trained until now -> its metric there) -> candidates to give up`.

In the middle of a long epoch it is called as well, without metrics.
"""


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
    store: SnapshotStore | None = None,
) -> list[TrainingResult | Exception | None]:
    """Train candidates side by side and judge each.

    Args:
        objective: Model, data, loss and metric.
        candidates: What to train; may be empty.
        settings: How.
        device: Where.
        engine: Who computes; None for the plain engine.
        parametrisation: Initial weights and rates by width; None for the model's own and one rate.
        other_rung_scores: Rung (in epochs) to the scores that other trials had there, to be compared with.
        callback: Called at every stop; what it raises ends all and propagates untouched.
        store: Keeps snapshots, and has those to go on from; asked before `callback`.

    Returns:
        In the order of the candidates: the result; the exception that its code raised; or None for
        one that `callback` gave up.
    """
    candidate_batch = CandidateBatch(
        objective,
        candidates,
        settings,
        device=device,
        engine=engine or PlainEngine(),
        parametrisation=parametrisation,
        other_rung_scores=other_rung_scores or {},
        snapshots=load_snapshots(store, len(candidates)),
    )
    checkpointer = Checkpointer(store, candidate_batch, len(candidates))
    slicer = TimeSlicer(
        candidate_batch.steps_per_epoch, enabled=callback is not None or store is not None
    )
    for milestone in _milestones(settings):
        for reached, trained in _advance_in_slices(candidate_batch, milestone, slicer):
            checkpointer.save_changed()
            if callback is not None:
                metrics = candidate_batch.metrics(trained) if reached.validate else {}
                candidate_batch.cancel(callback(reached.epochs, metrics))
    return candidate_batch.results()


def _milestones(settings: ProxySettings) -> Iterator[Milestone]:
    rungs = settings.rungs
    for epochs in sorted({*map(float, range(1, settings.epochs + 1)), *rungs}):
        yield Milestone(epochs=epochs, rung=epochs in rungs)


def _advance_in_slices(
    candidate_batch: CandidateBatch, milestone: Milestone, slicer: TimeSlicer
) -> Iterator[tuple[Milestone, Collection[int]]]:
    """Train to a stop; yield where somebody is to be asked, and the candidates trained until then.

    Nobody is asked at a stop that all have behind them.
    """
    reached: Milestone | None = None
    while reached is not milestone and candidate_batch.running():
        reached, started = (
            slicer.next_milestone(candidate_batch.epochs_done, milestone),
            time.perf_counter(),
        )
        trained = candidate_batch.advance_to(reached)
        if not trained:
            continue
        slicer.record_duration(time.perf_counter() - started)
        if reached is milestone or slicer.callback_due():
            yield reached, trained
            slicer.record_callback()
