"""The range to search spans the rules, and its spec is one that Widthwise takes."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest
from widthwise.search.rules.rule import FIRST_BLOCK, RuleRange
from widthwise.search.rules.search_range import contradictions, propose_range
from widthwise.search.rules.size_rules import size_rules
from widthwise.search.spec.spec import parse_spec

from .asked import ask

RULE = RuleRange(
    rule="a rule",
    formula="",
    low=30,
    high=500,
    unit="neurons a layer",
    source="",
    applies_to="",
    caveat="",
)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"layers": 9},
        {"task": "regression", "outputs": 1, "memory": 16 * 10**9, "batch_size": 512},
        {"task": "image", "inputs": "3x32x32"},
        {"task": "language", "inputs": "128"},
        {"task": "series", "inputs": "96x8"},
    ],
    ids=str,
)
def test_the_spec_is_valid(change: dict[str, Any]) -> None:
    inquiry = ask(**change)
    search = propose_range(inquiry, [RULE])
    spec = parse_spec(tomllib.loads(search.spec), source="suggested")
    space = spec.widths.to_space()
    assert space.names == tuple(search.widths)
    assert spec.limits.train_memory == inquiry.memory


def test_it_spans_the_rules_that_apply() -> None:
    far = replace(RULE, low=2000, high=3000, applies=False)
    search = propose_range(ask(), [RULE, far])
    assert search.widths["hidden1"] == {"low": 16, "high": 512, "step": 4}
    assert search.candidates == 125**2


def test_it_ends_where_the_memory_does() -> None:
    largest = replace(RULE, rule="largest that fits the memory", low=1, high=100, binding=False)
    assert propose_range(ask(), [RULE, largest]).widths["hidden1"]["high"] <= 100


def test_many_layers_share_a_width() -> None:
    search = propose_range(ask(layers=9), [RULE])
    assert search.tied
    assert search.order is None
    assert search.candidates == propose_range(ask(layers=1), [RULE]).candidates


def test_contradictions_are_pairs_without_a_common_width() -> None:
    low, high = replace(RULE, low=1, high=10), replace(RULE, low=11, high=20)
    touching = replace(RULE, low=10, high=11)
    assert list(contradictions(ask(), [high, touching, low])) == [(low, high)]
    assert list(contradictions(ask(), [low, replace(high, applies=False)])) == []


def test_the_example_of_the_documentation_contradicts_itself() -> None:
    pairs = {(low.rule, high.rule) for low, high in contradictions(ask(), list(size_rules(ask())))}
    assert ("output size × 2–10", "input size × 1–3") in pairs


def test_a_first_block_stands_for_the_blocks_that_double() -> None:
    images = ask(task="image", inputs="3x32x32", outputs=10, layers=4)
    largest = replace(
        RULE, rule="largest that fits the memory", low=1, high=13, unit=FIRST_BLOCK, binding=False
    )
    search = propose_range(images, [RULE, largest])
    assert search.widths["channels4"]["high"] == 104, "13, 26, 52, 104 fit"
    wide = replace(RULE, low=100, high=1000, unit="channels of each block")
    block = replace(RULE, rule="other", low=20, high=20, unit=FIRST_BLOCK)
    assert list(contradictions(images, [wide, block])) == []
