"""Accumulators: fed batch by batch, they give the figure of the whole split."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from widthwise.objectives.data.dataset import Task
from widthwise.objectives.errors import MetricError
from widthwise.objectives.model.measures.accumulate import (
    WholeMeasure,
    add_class_sums,
    join_batches,
)
from widthwise.objectives.model.metrics import METRICS, Metric

ROWS = 97
SIZES = [1, 40, 7, 49]
"""Rows of the batches: uneven, and one of a single row."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def class_split(kind: str) -> tuple[Tensor, Tensor]:
    draw = generator()
    if kind == "rows":
        return torch.randn(ROWS, 7, generator=draw), torch.randint(7, (ROWS,), generator=draw)
    if kind == "tokens":
        targets = torch.randint(7, (ROWS, 6), generator=draw)
        targets[::3, 4:] = -100
        return torch.randn(ROWS, 6, 7, generator=draw), targets
    if kind == "labels":
        targets = torch.randint(2, (ROWS, 4), generator=draw)
        targets[::5, 1] = -100
        return torch.randn(ROWS, 4, generator=draw), targets
    assert kind == "mask"
    return (
        torch.randn(ROWS, 1, 5, 6, generator=draw),
        torch.randint(2, (ROWS, 1, 5, 6), generator=draw).float(),
    )


CLASS_METRICS = [name for name, metric in METRICS.items() if metric.task == Task.CLASSIFICATION]
QUANTITY_METRICS = [name for name, metric in METRICS.items() if metric.task == Task.REGRESSION]


def in_batches(metric: Metric, output: Any, targets: Any) -> float:
    accumulator = metric.start()
    for rows, wanted in zip(output.split(SIZES), targets.split(SIZES), strict=True):
        accumulator.update(rows, wanted)
    return accumulator.result()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in CLASS_METRICS
        for kind in ("rows", "tokens", "labels", "mask")
        if name != "top5_accuracy" or kind in ("rows", "tokens")  # there is no fifth label
    ],
)
def test_batches_give_the_figure_of_the_whole_split(name: str, kind: str) -> None:
    output, targets = class_split(kind)
    if name in ("cross_entropy", "perplexity") and kind == "mask":
        targets = targets.long()
    metric = METRICS[name]
    whole = metric(output, targets)
    assert in_batches(metric, output, targets) == pytest.approx(whole, rel=1e-12)
    assert whole != in_batches(metric, output, targets.roll(1, 0)), "it must look at the rows"


@pytest.mark.parametrize("columns", [0, 3])
@pytest.mark.parametrize("name", QUANTITY_METRICS)
def test_quantities_far_from_zero_lose_no_digit(name: str, columns: int) -> None:
    shape = (ROWS, columns) if columns else (ROWS,)
    targets = 1e6 + torch.randn(shape, generator=generator(), dtype=torch.float64)
    output = targets + 0.3 * torch.randn(shape, generator=generator(1), dtype=torch.float64)
    whole = METRICS[name](output, targets)
    assert in_batches(METRICS[name], output, targets) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("name", [*CLASS_METRICS, *QUANTITY_METRICS])
def test_what_is_kept_grows_with_the_split_only_where_ranks_are_asked_for(name: str) -> None:
    ranking = {"auroc", "average_precision", "explained_variance", "pearson", "spearman"}
    assert METRICS[name].keeps_outputs == (name in ranking)


@pytest.mark.parametrize("name", ["accuracy", "f1", "auroc", "mse", "loss"])
def test_a_split_without_batches_has_no_figure(name: str) -> None:
    with pytest.raises(MetricError, match="no batch"):
        METRICS[name].start().result()


def test_a_later_batch_may_know_more_classes() -> None:
    first, second = torch.ones(2, 2), torch.ones(3, 3)
    (sums,) = add_class_sums((first,), (second,))
    assert sums.tolist() == [[2, 2, 1], [2, 2, 1], [1, 1, 1]]
    (swapped,) = add_class_sums((second,), (first,))
    assert torch.equal(sums, swapped)


class Heads(NamedTuple):
    coarse: Tensor
    fine: list[Tensor]


def test_a_users_metric_gets_the_split_in_the_structure_of_its_batches() -> None:
    seen: list[Any] = []

    def judge(outputs: Any, targets: Any) -> float:
        seen.append((outputs, targets))
        return 1.0

    metric = Metric(name="own", direction="maximize", function=judge)
    accumulator = metric.start()
    for rows in (2, 3):
        heads = Heads(torch.ones(rows, 4), [torch.ones(rows), torch.tensor(0.5)])
        accumulator.update(heads, {"y": torch.zeros(rows), "name": ["a"] * rows})
    assert accumulator.result() == 1.0
    ((outputs, targets),) = seen
    assert isinstance(outputs, Heads)
    assert outputs.coarse.shape == (5, 4)
    assert [tensor.shape for tensor in outputs.fine] == [(5,), (2,)]
    assert (targets["y"].shape, targets["name"]) == ((5,), ["a"] * 5)


def test_samples_of_several_lengths_cannot_be_joined() -> None:
    with pytest.raises(MetricError, match="pad all samples to one length"):
        join_batches([torch.ones(2, 3), torch.ones(2, 4)], "outputs")


def test_what_a_users_metric_raises_names_it() -> None:
    def fail(outputs: Any, targets: Any) -> float:
        raise ValueError("odd")

    accumulator = Metric(
        name="own.py:fail", direction="maximize", function=WholeMeasure(function=fail)
    ).start()
    accumulator.update(torch.ones(2), torch.ones(2))
    with pytest.raises(MetricError, match=r"own.py:fail raised ValueError: odd"):
        accumulator.result()


def test_gradients_are_not_kept() -> None:
    kept: list[Tensor] = []
    metric = Metric(
        name="own", direction="maximize", function=lambda out, _: kept.append(out) or 0.0
    )
    accumulator = metric.start()
    accumulator.update(torch.ones(2, requires_grad=True) * 2, torch.ones(2))
    accumulator.result()
    assert not kept[0].requires_grad
