"""Rules by sizes: what they compute by hand, and where they do not apply."""

from __future__ import annotations

from typing import Any

import pytest
from widthwise.search.rules.inquiry import Inquiry
from widthwise.search.rules.parameter_count import count_parameters
from widthwise.search.rules.rule import RuleRange
from widthwise.search.rules.size_rules import pyramid_rule, size_rules

from .asked import ask


def by_name(inquiry: Inquiry) -> dict[str, RuleRange]:
    return {rule.rule: rule for rule in size_rules(inquiry)}


@pytest.mark.parametrize(
    ("rule", "low", "high"),
    [
        ("input size × 1–3", 300, 900),
        ("output size × 2–10", 4, 20),
        ("between inputs and outputs", 2, 300),
        ("samples / 100", 1, 100),
        # 2 layers: 301 w + w (w + 1) + 2 (w + 1) parameters, ≤ 1,000 up to w = 3.
        ("samples ≥ 10–100 × parameters", 1, 3),
    ],
)
def test_by_hand(rule: str, low: int, high: int) -> None:
    found = by_name(ask())[rule]
    assert (found.low, found.high, found.applies) == (low, high, True)
    assert found.source
    assert found.caveat


def test_the_parameters_of_the_width_keep_the_bound() -> None:
    inquiry = ask(samples=10_000_000)
    rule = by_name(inquiry)["samples ≥ 10–100 × parameters"]
    assert count_parameters(inquiry, rule.low) <= 100_000 < count_parameters(inquiry, rule.low + 1)
    assert count_parameters(inquiry, rule.high) <= 10**6 < count_parameters(inquiry, rule.high + 1)


def test_where_no_width_obeys_it_says_so() -> None:
    rule = by_name(ask(samples=100))["samples ≥ 10–100 × parameters"]
    assert "no width obeys it" in rule.caveat
    assert (rule.low, rule.high) == (1, 1)


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (
            {"task": "image", "inputs": "3x32x32"},
            {"output size × 2–10", "samples ≥ 10–100 × parameters"},
        ),
        (
            {"task": "language", "inputs": "64", "outputs": 32_000},
            {"samples ≥ 10–100 × parameters"},
        ),
    ],
    ids=["images", "language"],
)
def test_which_apply(change: dict[str, Any], rules: set[str]) -> None:
    assert {rule.rule for rule in size_rules(ask(**change)) if rule.applies} == rules


def test_the_pyramid_falls_geometrically() -> None:
    # 64 inputs, 4 outputs, 3 layers: each a half of the one before.
    assert list(pyramid_rule(ask(inputs="64", outputs=4, layers=3)).widths) == [32, 16, 8]
