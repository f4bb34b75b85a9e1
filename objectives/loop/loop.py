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
from ..training.snapshot import Keeper
from .candidate import Candidate, replica_seed
from .candidates import Cohort
from .checkpointing import Keeping, loaded
from .fold import Stop
from .time_slice import Breaths

__all__ = ["After", "Candidate", "Keeper", "replica_seed", "train_together"]

After = Callable[[float, Mapping[int, float]], Collection[int]]
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
    scaling: Parametrisation | None = None,
    earlier: Mapping[float, Sequence[float]] | None = None,
    after: After | None = None,
    keeper: Keeper | None = None,
) -> list[TrainingResult | Exception | None]:
    """Train candidates side by side and judge each.

    Args:
        objective: Model, data, loss and metric.
        candidates: What to train; may be empty.
        settings: How.
        device: Where.
        engine: Who computes; None for the plain engine.
        scaling: Initial weights and rates by width; None for the model's own and one rate.
        earlier: Rung (in epochs) to the scores that other trials had there, to be compared with.
        after: Called at every stop; what it raises ends all and propagates untouched.
        keeper: Keeps snapshots, and has those to go on from; asked before `after`.

    Returns:
        In the order of the candidates: the result; the exception that its code raised; or None for
        one that `after` gave up.
    """
    cohort = Cohort(
        objective,
        candidates,
        settings,
        device=device,
        engine=engine or PlainEngine(),
        scaling=scaling,
        earlier=earlier or {},
        saved=loaded(keeper, len(candidates)),
    )
    keeping = Keeping(keeper, cohort, len(candidates))
    breaths = Breaths(cohort.steps, asked=after is not None or keeper is not None)
    for stop in _stops(settings):
        for part, trained in _on_the_way(cohort, stop, breaths):
            keeping.keep()
            if after is not None:
                metrics = cohort.metrics(trained) if part.judged else {}
                cohort.give_up(after(part.epochs, metrics))
    return cohort.results()


def _stops(settings: ProxySettings) -> Iterator[Stop]:
    rungs = settings.rungs
    for epochs in sorted({*map(float, range(1, settings.epochs + 1)), *rungs}):
        yield Stop(epochs=epochs, rung=epochs in rungs)


def _on_the_way(
    cohort: Cohort, stop: Stop, breaths: Breaths
) -> Iterator[tuple[Stop, Collection[int]]]:
    """Train to a stop; yield where somebody is to be asked, and the candidates trained until then.

    Nobody is asked at a stop that all have behind them.
    """
    part: Stop | None = None
    while part is not stop and cohort.running():
        part, started = breaths.next(cohort.at, stop), time.perf_counter()
        trained = cohort.go_to(part)
        if not trained:
            continue
        breaths.trained(time.perf_counter() - started)
        if part is stop or breaths.due():
            yield part, trained
            breaths.asked()
