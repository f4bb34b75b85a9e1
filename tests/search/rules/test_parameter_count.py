"""Parameters by formula are those of the network itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from widthwise.search.rules.parameter_count import (
    count_parameters,
    last_width,
    width_of_parameters,
)
from widthwise.search.rules.reference_network import reference_network

from .asked import ask

NETWORKS: list[dict[str, Any]] = [
    {"layers": 1},
    {"layers": 3},
    {"task": "image", "inputs": "3x16x16", "kind": "mlp", "outputs": 7},
    {"task": "image", "inputs": "3x16x16", "outputs": 7},
    {"task": "image", "inputs": "3x16x16", "kind": "transformer", "layers": 2},
    {"task": "language", "inputs": "12", "layers": 2},
    {"task": "language", "inputs": "12", "outputs": 6000, "layers": 1},
    {"task": "language", "inputs": "12", "kind": "lstm"},
    {"task": "speech", "inputs": "20x5", "layers": 1},
    {"task": "speech", "inputs": "20x5", "kind": "lstm", "layers": 3},
    {"task": "series", "inputs": "20x5", "layers": 1},
]


@pytest.mark.parametrize("change", NETWORKS, ids=str)
@pytest.mark.parametrize("width", [1, 16])
def test_the_formula_counts_the_network(change: dict[str, Any], width: int) -> None:
    inquiry = ask(**change)
    with torch.device("meta"):
        network = reference_network(inquiry, width)
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert count_parameters(inquiry, width) == counted


@pytest.mark.parametrize("change", NETWORKS, ids=str)
def test_the_width_is_the_largest_with_so_many_parameters(change: dict[str, Any]) -> None:
    inquiry = ask(**change)
    width = width_of_parameters(inquiry, 1_000_000)
    assert count_parameters(inquiry, width) <= 1_000_000 < count_parameters(inquiry, width + 1)


def test_no_width_is_small_enough() -> None:
    assert width_of_parameters(ask(inputs="5000"), 100) == 0


def test_channels_double() -> None:
    assert last_width(ask("image", "3x32x32", layers=4), 8) == 64
    assert last_width(ask(layers=4), 8) == 8
