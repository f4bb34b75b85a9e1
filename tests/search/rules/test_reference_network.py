"""Reference networks take a sample of their task, and give its outputs."""

from __future__ import annotations

from typing import Any

import pytest
from widthwise.search.rules.reference_network import reference_network, sample_spec

from .asked import ask


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        ({}, (3, 2)),
        ({"task": "image", "inputs": "3x16x16", "outputs": 5}, (3, 5)),
        ({"task": "image", "inputs": "3x16x16", "kind": "transformer"}, (3, 2)),
        ({"task": "language", "inputs": "12", "layers": 1}, (3, 2)),
        ({"task": "language", "inputs": "12", "kind": "lstm", "outputs": 6000}, (3, 12, 6000)),
        ({"task": "series", "inputs": "20x5"}, (3, 2)),
    ],
    ids=str,
)
def test_outputs(change: dict[str, Any], shape: tuple[int, ...]) -> None:
    inquiry = ask(**change)
    network = reference_network(inquiry, 8)
    assert tuple(network(sample_spec(inquiry).zeros(3)).shape) == shape
