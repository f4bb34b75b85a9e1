"""What two specs say differently."""

from __future__ import annotations

from typing import Any

import pytest
from widthwise.search.spec.differences import describe_differences, differing_keys
from widthwise.search.spec.spec import parse_spec


def spec(**sections: Any) -> Any:
    base: dict[str, Any] = {
        "study": {"name": "s", "trials": 4},
        "model": {"family": "mlp"},
        "widths": {"a": {"low": 2, "high": 8}, "b": [2, 4]},
        "limits": {"flops": "1k"},
        "proxy": {"data": "iris", "metric": "accuracy", "epochs": 2},
    }
    merged = {
        name: {**base.get(name, {}), **sections.get(name, {})} for name in {**base, **sections}
    }
    return parse_spec(merged)


STORED = spec()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"proxy": {"epochs": 3}}, "proxy.epochs is 3 here and 2 there"),
        ({"widths": {"a": {"low": 2, "high": 9}}}, "widths.a.high is 9 here and 8 there"),
        ({"widths": {"b": [2, 8]}}, "widths.b.choices is [2, 8] here and [2, 4] there"),
        ({"widths": {"c": 5}}, "widths.c.choices is [5] here and not set there"),
        ({"limits": {"flops": "2k"}}, "limits.flops is 2000 here and 1000 there"),
        ({"limits": {"parameters": 9}}, "limits.parameters is 9 here and not set there"),
        ({"study": {"seed": 1}}, "study.seed is 1 here and 0 there"),
        ({"proxy": {"metric": "f1"}}, 'proxy.metric is "f1" here and "accuracy" there'),
        ({"model": {"dropout": 0.5}}, "model.dropout is 0.5 here and not set there"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_differing_key_is_named_with_both_values(changed: Any, words: str) -> None:
    differences = describe_differences(differing_keys(spec(**changed), STORED))
    assert words in differences.split("; ")


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"study": {"name": "t", "trials": 9}},
        {"proxy": {"device": "cpu", "engine": "plain", "at_once": 4, "data_on": "host"}},
        {"proxy": {"metric": None}},
        {
            "limits": {"flops": "60% of today"},
            "references": {"today": {"a": 8, "b": 4}},
        },
    ],
    ids=str,
)
def test_what_changes_no_result_or_is_left_open_is_no_difference(changed: Any) -> None:
    differences = differing_keys(spec(**changed), STORED)
    assert [key for key in differences if not key.startswith("references")] == []


def test_many_differences_are_counted() -> None:
    widths = {f"w{number}": 3 for number in range(20)}
    described = describe_differences(differing_keys(spec(widths=widths), STORED))
    assert described.endswith("; 28 more")
