"""Paths of repeated blocks in one word."""

from __future__ import annotations

import pytest
from widthwise.search.discovery.layer_names import short_paths


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (["a.0.x", "a.1.x", "head", "a.2.x"], ["a.0–2.x", "head"]),
        (["a.0.x", "a.2.x"], ["a.0,2.x"]),
        (["a.0.b.0.x", "a.0.b.1.x", "a.1.b.0.x", "a.1.b.1.x"], ["a.0–1.b.0–1.x"]),
        (["conv1", "conv2", "b1.fc2"], ["conv1", "conv2", "b1.fc2"]),
        (["", "0", "1"], ["(the model)", "0–1"]),
        (["same", "same"], ["same"]),
        ([], []),
    ],
)
def test_blocks_are_joined_by_their_numbers(paths: list[str], shown: list[str]) -> None:
    assert short_paths(paths) == shown
