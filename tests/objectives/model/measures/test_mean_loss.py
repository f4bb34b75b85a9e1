"""The validation loss as a metric, and the perplexity of a model that has its loss itself."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from widthwise.objectives.model.losses import MODEL_LOSS, cross_entropy, model_loss
from widthwise.objectives.model.metric_binding import bind_loss
from widthwise.objectives.model.metrics import METRICS


def test_the_loss_counts_by_rows() -> None:
    metric = bind_loss(METRICS["loss"], "own", lambda output, _: output.mean())
    accumulator = metric.start()
    accumulator.update(torch.full((3, 2), 1.0), torch.zeros(3))
    accumulator.update(torch.full((1, 2), 5.0), torch.zeros(1))
    assert accumulator.result() == 2.0


def test_a_batch_without_targets_counts_by_what_the_loader_gave() -> None:
    accumulator = METRICS["loss"].start()
    accumulator.update({"loss": torch.tensor(1.0)}, {"x": torch.zeros(3, 2)})
    accumulator.update({"loss": torch.tensor(5.0)}, {"x": torch.zeros(1, 2)})
    assert accumulator.result() == 2.0


@pytest.mark.parametrize("sizes", [[8], [4, 4], [1, 6, 1]])
def test_the_cross_entropy_of_masked_tokens_is_that_of_the_split(sizes: list[int]) -> None:
    draw = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(8, 5, 4, generator=draw), torch.arange(32).reshape(8, 4) % 5
    targets[:4, 1:] = -100
    targets[0] = -100  # a batch of the row alone has nothing that counts
    accumulator = bind_loss(METRICS["loss"], "cross_entropy", cross_entropy).start()
    for output, part in zip(logits.split(sizes), targets.split(sizes), strict=True):
        accumulator.update(output, part)
    expected = nn.functional.cross_entropy(logits.double(), targets)
    assert accumulator.result() == pytest.approx(float(expected), rel=1e-6)


def test_a_batch_wholly_left_out_changes_no_perplexity() -> None:
    accumulator = bind_loss(METRICS["perplexity"], MODEL_LOSS, model_loss).start()
    accumulator.update({"loss": torch.tensor(1.0)}, torch.tensor([[1, 2]]))
    accumulator.update({"loss": torch.tensor(math.nan)}, torch.tensor([[-100, -100]]))
    assert accumulator.result() == pytest.approx(math.e)


def test_the_perplexity_of_a_models_own_loss_counts_by_tokens() -> None:
    metric = bind_loss(METRICS["perplexity"], MODEL_LOSS, model_loss)
    accumulator = metric.start()
    accumulator.update(SimpleNamespace(loss=torch.tensor(1.0)), torch.tensor([[1, 2, 3]]))
    accumulator.update(SimpleNamespace(loss=torch.tensor(3.0)), torch.tensor([[1, -100, -100]]))
    assert accumulator.result() == pytest.approx(math.exp((3 * 1.0 + 1 * 3.0) / 4))


def test_a_hopeless_model_has_an_infinite_perplexity() -> None:
    metric = bind_loss(METRICS["perplexity"], MODEL_LOSS, model_loss)
    assert metric((torch.tensor(1e4), None), torch.tensor([[1]])) == math.inf
    assert METRICS["perplexity"](torch.tensor([[1e4, 0.0]]), torch.tensor([1])) == math.inf


def test_other_metrics_are_what_they_are() -> None:
    assert bind_loss(METRICS["accuracy"], MODEL_LOSS, model_loss) is METRICS["accuracy"]
    assert bind_loss(METRICS["perplexity"], "own", model_loss) is METRICS["perplexity"]
