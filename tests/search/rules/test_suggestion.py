"""The suggestion: its JSON, its words, and that it answers without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from widthwise.search.rules.suggestion import suggest

from .asked import ask

RANGE_KEYS = {"rule", "low", "high", "unit", "source", "applies_to"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"task": "regression", "inputs": "1", "outputs": 1, "samples": 1},
        {"task": "image", "inputs": "3x32x32", "outputs": 10},
        {"task": "image", "inputs": "1x28x28", "kind": "mlp", "outputs": 10},
        {"task": "language", "inputs": "128", "outputs": 32_000},
        {"task": "speech", "inputs": "500"},
        {"task": "series", "inputs": "96x8", "kind": "mlp", "outputs": 1},
    ],
    ids=str,
)
def test_every_range_has_a_rule_and_a_source(change: dict[str, Any]) -> None:
    answer = json.loads(json.dumps(suggest(ask(**change)).to_json(), allow_nan=False))
    assert answer["ranges"]
    for entry in answer["ranges"]:
        assert entry.keys() >= RANGE_KEYS
        assert 1 <= entry["low"] <= entry["high"]
        assert entry["source"]
    for width in answer["search"]["widths"].values():
        assert 1 <= width["low"] <= width["high"]


def test_contradictions_are_said_and_not_averaged() -> None:
    answer = suggest(ask())
    sentences = " ".join(answer.sentences())
    assert "“input size × 1–3” says 300 to 900" in sentences
    low, high = (answer.search.widths["hidden1"][end] for end in ("low", "high"))
    assert low <= 20
    assert high >= 900


def test_rules_for_other_tasks_come_last() -> None:
    applies = [rule.applies for rule in suggest(ask()).rules]
    assert applies == sorted(applies, reverse=True)


def test_the_memory_adds_the_largest_that_fits() -> None:
    rules = suggest(ask(memory=64 * 2**20)).rules
    largest = next(rule for rule in rules if rule.rule == "largest that fits the memory")
    assert "live bytes" in largest.source


def test_torch_is_not_imported() -> None:
    program = (
        "import sys; from widthwise.search.rules.inquiry import Inquiry; "
        "from widthwise.search.rules.suggestion import suggest; "
        "suggest(Inquiry.make(task='image', kind=None, inputs='3x32x32', outputs=10, samples=9999))"
        "; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
