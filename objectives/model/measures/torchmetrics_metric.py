"""A user's metric that is one of torchmetrics: a `Metric` object, or a class of them.

torchmetrics is never imported here: whoever has such an object has imported it.

Entry points: `is_torchmetrics`, `torchmetrics_measure`, `torchmetrics_direction`.
"""

import sys
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from ...errors import MetricError, describe_error, describe_type
from ...user_code import user_errors
from .accumulate import Accumulator, to_cpu
from .outputs import prediction_tensor


def is_torchmetrics(value: object) -> bool:
    """Return whether an object is a torchmetrics `Metric`, a collection, or a class of them."""
    torchmetrics = sys.modules.get("torchmetrics")
    if torchmetrics is None:
        return False
    kinds = (torchmetrics.Metric, torchmetrics.MetricCollection)
    return isinstance(value, kinds) or (isinstance(value, type) and issubclass(value, kinds))


def torchmetrics_direction(metric: Any) -> str | None:
    """Return which direction is better, where the metric says it."""
    higher_is_better = getattr(metric, "higher_is_better", None)
    if higher_is_better is None:
        return None
    return "maximize" if higher_is_better else "minimize"


def torchmetrics_measure(name: str, metric: Any) -> "TorchmetricsMeasure":
    """Return a measure by a torchmetrics object, or by one made of a class without arguments.

    Raises:
        MetricError: It gives several figures, or the class wants arguments.
    """
    if isinstance(metric, type):
        with user_errors(
            lambda error: MetricError(
                f"metric {name} is a class of torchmetrics that raised {describe_error(error)} "
                "when made without arguments: name an object instead, such as "
                "`metric = MulticlassAccuracy(num_classes=10)`."
            )
        ):
            metric = metric()
    if not hasattr(metric, "higher_is_better"):
        raise MetricError(
            f"metric {name} is {describe_type(metric)} of several figures: name one Metric, and "
            "the others in `report`."
        )
    return TorchmetricsMeasure(metric=metric)


@final
@dataclass(frozen=True, kw_only=True)
class TorchmetricsMeasure:
    """A figure by torchmetrics, which keeps what it needs of the batches by itself.

    Attributes:
        metric: The user's object, which is never updated itself.
    """

    metric: Any

    def __call__(self, output: Any, targets: Any) -> Any:
        """Return the figure over a whole split."""
        accumulator = self.start()
        accumulator.update(output, targets)
        return accumulator.result()

    def start(self) -> Accumulator:
        """Return an accumulator around a fresh copy."""
        return _TorchmetricsAccumulator(self.metric)


@final
class _TorchmetricsAccumulator:
    def __init__(self, metric: Any) -> None:
        # On the CPU, as its lists may hold the whole split.
        self._metric = metric.clone().to("cpu")
        self._metric.reset()

    def update(self, output: Any, targets: Any) -> None:
        predictions = prediction_tensor(output) if isinstance(targets, Tensor) else output
        self._metric.update(to_cpu(predictions), to_cpu(targets))

    def result(self) -> Any:
        return self._metric.compute()
