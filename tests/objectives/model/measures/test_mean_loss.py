"""The validation loss as a metric, and the perplexity of a model that has its loss itself."""

import math
from types import SimpleNamespace

import pytest
import torch
from widthwise.objectives.model.losses import MODEL_LOSS, model_loss
from widthwise.objectives.model.metrics import METRICS, bind_loss


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
