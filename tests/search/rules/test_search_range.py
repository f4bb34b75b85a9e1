"""The range to search spans the rules, and its spec is one that Widthwise takes."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest
from widthwise.search.rules.rule import RuleRange
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
    assert list(contradictions([high, touching, low])) == [(low, high)]
    assert list(contradictions([low, replace(high, applies=False)])) == []


def test_the_example_of_the_documentation_contradicts_itself() -> None:
    pairs = {(low.rule, high.rule) for low, high in contradictions(list(size_rules(ask())))}
    assert ("output size × 2–10", "input size × 1–3") in pairs
