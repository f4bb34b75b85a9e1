"""Accumulators: a metric put together from the batches of a split.

A measure is how a metric is computed: called with a whole split's outputs and targets it gives the
figure, and `start()` gives an accumulator that is fed batch by batch and gives the same figure:

    accumulator = measure.start()
    accumulator.update(output, targets)    # of each batch
    accumulator.result()                   # as measure(all outputs, all targets) would be

A `SummedMeasure` keeps sums in float64, whose size does not grow with the split; a `WholeMeasure`
keeps all outputs and targets on the CPU. One figure depends on the batches: a loss of the user or
the model is a mean over what only it knows, and that of a batch counts by its rows.

Entry points: `Measure`, `Accumulator`, `SummedMeasure`, `WholeMeasure`; `with_targets`; `to_cpu`,
`join_batches`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from ...errors import MetricError, describe_shape

Sums = tuple[Tensor, ...]
"""What is known of some batches; batches together have the sums of their tensors."""


class Accumulator(Protocol):
    """One metric of one split in the making."""

    def update(self, output: Any, targets: Any) -> None:
        """Take in a batch: the model's output, and what it is compared with; may raise."""
        ...

    def result(self) -> Any:
        """Return the figure over all batches so far; may raise."""
        ...


class Measure(Protocol):
    """How a metric is computed."""

    def __call__(self, output: Any, targets: Any) -> Any:
        """Return the figure over a whole split; may raise."""
        ...

    def start(self) -> Accumulator:
        """Return an accumulator that has seen nothing."""
        ...


@final
@dataclass(frozen=True, kw_only=True)
class SummedMeasure:
    """A figure that sums over batches are enough for.

    Attributes:
        of_batch: `(output, targets) -> sums` of a batch, float64.
        finish: `(*sums) -> figure`.
        merge: Sums of two groups of batches to those of both.
    """

    of_batch: Callable[[Any, Any], Sums]
    finish: Callable[..., float]
    merge: Callable[[Sums, Sums], Sums]

    def __call__(self, output: Any, targets: Any) -> float:
        """Return the figure over a whole split."""
        return self.finish(*self.of_batch(output, targets))

    def start(self) -> Accumulator:
        """Return an accumulator of sums."""
        return _SumAccumulator(self)


@final
class _SumAccumulator:
    def __init__(self, measure: SummedMeasure) -> None:
        self._measure = measure
        self._sums: Sums | None = None

    def update(self, output: Any, targets: Any) -> None:
        batch = self._measure.of_batch(output, targets)
        self._sums = batch if self._sums is None else self._measure.merge(self._sums, batch)

    def result(self) -> float:
        return self._measure.finish(*_require_batches(self._sums))


@final
@dataclass(frozen=True, kw_only=True)
class WholeMeasure:
    """A figure that needs all outputs and targets of a split at once.

    Attributes:
        function: `(outputs, targets) -> figure`; tensors, or structures of them, on the CPU.
    """

    function: Callable[[Any, Any], Any]

    def __call__(self, output: Any, targets: Any) -> Any:
        """Return the figure over a whole split."""
        return self.function(to_cpu(output), to_cpu(targets))

    def start(self) -> Accumulator:
        """Return an accumulator that keeps all it is given."""
        return _KeepingAccumulator(self.function)


@final
class _KeepingAccumulator:
    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self._function = function
        self._outputs: list[Any] = []
        self._targets: list[Any] = []

    def update(self, output: Any, targets: Any) -> None:
        self._outputs.append(to_cpu(output))
        self._targets.append(to_cpu(targets))

    def result(self) -> Any:
        _require_batches(self._outputs)
        return self._function(
            join_batches(self._outputs, "outputs"), join_batches(self._targets, "targets")
        )


def with_targets(
    measure: SummedMeasure | WholeMeasure, convert: Callable[[Any], Any]
) -> SummedMeasure | WholeMeasure:
    """Return a measure of converted targets: `convert(targets)`, of a batch or a whole split."""
    if isinstance(measure, SummedMeasure):
        of_batch = measure.of_batch
        return replace(measure, of_batch=lambda output, given: of_batch(output, convert(given)))
    function = measure.function
    return replace(measure, function=lambda output, given: function(output, convert(given)))


def _require_batches(known: Any) -> Any:
    if not known:
        raise MetricError("the split has no batch: give it at least one.")
    return known


def add_sums(sums: Sums, others: Sums) -> Sums:
    """Return sums of equal shapes added."""
    return tuple(one + other for one, other in zip(sums, others, strict=True))


def add_class_sums(sums: Sums, others: Sums) -> Sums:
    """Return sums by class added; whichever knows fewer classes has none of the others."""
    return tuple(_add_padded(one, other) for one, other in zip(sums, others, strict=True))


def _add_padded(one: Tensor, other: Tensor) -> Tensor:
    padding = [max(0, to - size) for to, size in zip(other.shape, one.shape, strict=True)]
    padded = nn.functional.pad(one, [width for size in padding[::-1] for width in (0, size)])
    padded[tuple(slice(size) for size in other.shape)] += other
    return padded


def to_cpu(output: Any) -> Any:
    """Move a tensor, or the tensors in a tuple, list or mapping, to the CPU.

    What a model gives besides tensors, such as the cache of a language model, stays as it is.
    """
    if isinstance(output, Tensor):
        return output.detach().cpu()
    if isinstance(output, Mapping):
        return _like(output, {key: to_cpu(value) for key, value in output.items()})
    if isinstance(output, tuple | list):
        return _like(output, [to_cpu(value) for value in output])
    return output


def join_batches(batches: list[Any], what: str) -> Any:
    """Return batches joined, tensor by tensor, rows first; scalars become one a batch.

    Args:
        batches: Tensors, or tuples, lists or mappings of them, all alike; whatever else stands
            among them becomes a list.
        what: They are, for people.

    Raises:
        MetricError: Batches have samples of different shapes.
    """
    first = batches[0]
    if isinstance(first, Tensor):
        if first.ndim == 0:
            return torch.stack(batches)
        for batch in batches:
            if batch.shape[1:] != first.shape[1:]:
                raise MetricError(
                    f"a metric that needs the whole split got {what} of shape "
                    f"{describe_shape(first)} in one batch and {describe_shape(batch)} in another: "
                    "pad all samples to one length, or give a torchmetrics Metric, which is "
                    "updated batch by batch."
                )
        return torch.cat(batches)
    if isinstance(first, Mapping):
        return _like(
            first, {key: join_batches([batch[key] for batch in batches], what) for key in first}
        )
    if isinstance(first, tuple) or (isinstance(first, list) and _holds_tensors(first)):
        columns = zip(*batches, strict=True)
        return _like(first, [join_batches(list(column), what) for column in columns])
    if isinstance(first, list):
        return list(chain.from_iterable(batches))
    return batches


def _holds_tensors(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, Tensor) for value in values)


def _like(given: Any, values: Any) -> Any:
    """Return values in the type of what was given: a named tuple, a ModelOutput, a dict."""
    if hasattr(given, "_fields"):
        return type(given)(*values)
    if isinstance(given, Mapping):
        return type(given)(**values) if hasattr(given, "to_tuple") else dict(values)
    return type(given)(values)
