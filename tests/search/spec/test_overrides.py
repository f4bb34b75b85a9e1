"""Keys of a spec are changed one by one, and checked as in a spec file."""

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.spec.overrides import with_overrides
from widthwise.search.spec.spec import parse_spec

SPEC = parse_spec(
    {
        "study": {"name": "iris", "goal": "front"},
        "model": {"family": "mlp", "dropout": 0.1},
        "widths": {"a": {"low": 4, "high": 16}, "order": "non-increasing"},
        "limits": {"flops": "2k"},
        "proxy": {"data": "iris", "epochs": 20, "halving": 3},
    }
)


def test_keys_are_set_and_taken_away():
    changed = with_overrides(
        SPEC, {"proxy.epochs": 90, "proxy.halving": None, "model.dropout": 0.5, "proxy.replicas": 1}
    )
    assert (changed.proxy.epochs, changed.proxy.halving, changed.model.dropout) == (90, None, 0.5)
    assert (changed.widths, changed.limits, changed.study) == (
        SPEC.widths,
        SPEC.limits,
        SPEC.study,
    )
    assert SPEC.proxy.epochs == 20


def test_nothing_changed_is_the_same_spec():
    assert with_overrides(SPEC, {}) == SPEC


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"proxy.epochs": 0}, r"proxy\.epochs: found 0"),
        ({"proxy.epoch": 3}, r"proxy\.epoch"),
        ({"epochs": 3}, r"epochs: there is no such key"),
        ({"study.name.x": 3}, r"study\.name\.x: there is no such key"),
    ],
    ids=["value", "key", "no section", "too deep"],
)
def test_what_is_no_spec_is_refused(overrides, message):
    with pytest.raises(SpecError, match=message):
        with_overrides(SPEC, overrides)
