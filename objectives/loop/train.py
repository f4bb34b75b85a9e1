"""Training one candidate for a short while: the proxy that a trial's value comes from.

AdamW on mini-batches that lie on the device already; the validation metric after every epoch;
early stopping; the best epoch's weights evaluated once on the test split. The same seed gives the
same result, bit for bit on a CPU, whatever ran before; the caller's random streams are untouched.

Entry point: `train`, with `ProxySettings` in and `TrainingResult` out.
"""

from collections.abc import Callable, Collection, Mapping

from ..engines.base import Engine
from ..model.objective import Objective
from ..parametrisation.standard import Parametrisation
from ..training.settings import ProxySettings, resolve_device
from .candidate import Candidate
from .loop import train_together
from .result import TrainingResult


def train(
    objective: Objective,
    widths: Mapping[str, int],
    settings: ProxySettings,
    *,
    seed: int,
    engine: Engine | None = None,
    parametrisation: Parametrisation | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> TrainingResult:
    """Train a candidate and return its result.

    Args:
        objective: Model, data, loss and metric.
        widths: The candidate.
        settings: How to train.
        seed: Decides initial weights, order of the batches and dropout; 0 to 2**63 - 1.
        engine: What trains; None for the plain engine.
        parametrisation: Initial weights and rates by width; None for the model's own and one rate.
        on_epoch: Called with epoch index and validation metric after each epoch; what it raises
            ends the training and propagates untouched.

    Raises:
        ModelError: The builder raised or gave no module, or `device` is not there.
        MetricError: The metric gave no number.
    """

    def callback(epochs: float, metrics: Mapping[int, float]) -> Collection[int]:
        if on_epoch is not None and metrics and epochs == int(epochs):
            on_epoch(int(epochs) - 1, metrics[0])
        return ()

    (result,) = train_together(
        objective,
        [Candidate(widths=widths, seed=seed, never_pruned=True)],
        settings,
        device=resolve_device(settings.device),
        engine=engine,
        parametrisation=parametrisation,
        callback=callback,
    )
    assert result is not None, "the callback cancels no candidate"
    if isinstance(result, Exception):
        raise result
    return result
