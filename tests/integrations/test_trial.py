"""The monitored metric among what a library measured."""

from __future__ import annotations

import pytest
import torch
from widthwise.integrations.trial import read_metric


def test_numbers_of_every_kind_are_read_and_the_rest_is_left_out() -> None:
    figures = {
        "accuracy": torch.tensor(0.5),
        "loss": 2,
        "confusion": torch.ones(2, 2),
        "best": True,
        "name": "a",
        "nothing": None,
    }
    assert read_metric(figures, "accuracy", "it") == (0.5, {"loss": 2.0})


def test_a_metric_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match='it gave no "acc": found accuracy, loss'):
        read_metric({"accuracy": 0.5, "loss": 1.0}, "acc", "it")
