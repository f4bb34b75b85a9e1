"""Published widths: the papers' numbers, each for its own task only."""

from __future__ import annotations

from typing import Any

import pytest
from widthwise.search.rules.published import PUBLISHED, published_rules, stretch

from .asked import ask


@pytest.mark.parametrize(
    ("change", "applying"),
    [
        ({}, {"tabular MLP, the range searched"}),
        ({"task": "image", "inputs": "3x32x32"}, {"ResNet-50"}),
        ({"task": "image", "inputs": "3x32x32", "kind": "transformer"}, {"ViT-Base"}),
        ({"task": "language", "inputs": "128"}, {"BERT-base", "Transformer-base"}),
        ({"task": "language", "inputs": "128", "kind": "lstm"}, {"AWD-LSTM"}),
        ({"task": "speech", "inputs": "500"}, {"wav2vec 2.0 base"}),
        ({"task": "series", "inputs": "96"}, set()),
    ],
    ids=["table", "image", "vision transformer", "language", "lstm", "speech", "series"],
)
def test_which_apply(change: dict[str, Any], applying: set[str]) -> None:
    rules = list(published_rules(ask(**change)))
    assert len(rules) == len(PUBLISHED)
    found = {rule.rule.removeprefix("published: ") for rule in rules if rule.applies}
    assert found == applying


def test_the_widths_of_the_papers() -> None:
    widths = {published.name: list(published.widths) for published in PUBLISHED}
    assert set(widths["BERT-base"]) == set(widths["wav2vec 2.0 base"]) == {768}
    assert set(widths["Transformer-base"]) == {512}
    assert widths["ResNet-50"] == [64, 64, 128, 256, 512]
    assert (widths["StyleGAN2"][0], widths["StyleGAN2"][-1]) == (512, 64)


def test_a_shape_is_stretched_over_other_depths() -> None:
    assert stretch([64, 256], 3) == pytest.approx([64, 128, 256])
    assert stretch([64, 64, 128, 256, 512], 5) == pytest.approx([64, 64, 128, 256, 512])
    assert stretch([512, 64], 1) == pytest.approx([512])
