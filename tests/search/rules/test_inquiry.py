"""The inquiry: read from a person's words, or refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.rules.inquiry import Kind

from .asked import ask


@pytest.mark.parametrize(
    ("task", "inputs", "kind", "shape", "steps", "features"),
    [
        ("classification", "300", Kind.MLP, (300,), 300, 1),
        ("image", "3x32x32", Kind.CNN, (3, 32, 32), 64, 48),
        ("image", "3x224x224", Kind.CNN, (3, 224, 224), 196, 768),
        ("language", "128", Kind.TRANSFORMER, (128,), 128, 1),
        ("speech", "500", Kind.TRANSFORMER, (500, 80), 500, 80),
        ("series", "96x8", Kind.LSTM, (96, 8), 96, 8),
    ],
)
def test_sizes_of_a_task(
    task: str, inputs: str, kind: Kind, shape: tuple[int, ...], steps: int, features: int
) -> None:
    inquiry = ask(task, inputs)
    assert (inquiry.kind, inquiry.input_shape) == (kind, shape)
    assert (inquiry.steps, inquiry.step_features) == (steps, features)


def test_a_language_task_with_many_outputs_predicts_tokens() -> None:
    assert ask("language", "128", outputs=32_000).predicts_tokens
    classifier = ask("language", "128", outputs=4)
    assert (classifier.predicts_tokens, classifier.vocabulary) == (False, 30_000)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"task": "clasification"}, "did you mean 'classification'?"),
        ({"task": "image", "inputs": "32"}, "channels, height and width such as 3x32x32"),
        ({"inputs": "0"}, 'found "0"'),
        ({"inputs": "3.5"}, 'found "3.5"'),
        ({"outputs": 0}, "--outputs: found 0"),
        ({"outputs": 1}, "a quantity is --task regression"),
        ({"outputs": 200, "samples": 100}, "found 200 classes and 100 samples"),
        ({"samples": 0}, "--samples: found 0"),
        ({"layers": 0}, "--layers: found 0"),
        ({"kind": "lstm"}, "--kind lstm: no rule is known of it for the task classification"),
        ({"kind": "rnn"}, '--kind: found "rnn"'),
        ({"vocabulary": 100}, "--vocabulary goes with --task language"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        ask(**change)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
