"""Whole numbers among arguments: where they stand, others put in, and arguments as Python."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from widthwise.objectives.discovery.resizing.arguments import (
    call_source,
    find_integers,
    is_in_object,
    replaced,
    source,
)


@dataclass(frozen=True)
class Config:
    width: int = 64
    dropout: float = 0.1
    hidden: list[int] = field(default_factory=lambda: [8, 4])


class Plain:
    def __init__(self) -> None:
        self.width = 12
        self._private = 9


def test_integers_above_one_are_found_with_their_paths() -> None:
    arguments: dict[str, Any] = {
        "d": 64,
        "bias": True,
        "groups": 1,
        "rate": 0.5,
        "hidden": (32, 16),
        "config": Config(),
        "other": Plain(),
    }
    assert find_integers(arguments) == {
        ("d",): 64,
        ("hidden", 0): 32,
        ("hidden", 1): 16,
        ("config", "width"): 64,
        ("config", "hidden", 0): 8,
        ("config", "hidden", 1): 4,
        ("other", "width"): 12,
    }


def test_replacing_leaves_the_arguments_themselves_as_they_are() -> None:
    plain, config, hidden = Plain(), Config(), [5, 6]
    arguments: dict[str, Any] = {"a": 2, "hidden": hidden, "config": config, "plain": plain}
    new = replaced(
        arguments,
        {("hidden", 1): 7, ("config", "hidden", 0): 10, ("plain", "width"): 24, ("a",): 3},
    )
    assert (new["a"], new["hidden"], new["config"].hidden) == (3, [5, 7], [10, 4])
    assert new["plain"].width == 24
    assert (arguments["a"], hidden, config.hidden, plain.width) == (2, [5, 6], [8, 4], 12)


def test_only_a_path_through_an_object_is_in_one() -> None:
    arguments: dict[str, Any] = {"hidden": [5], "config": Config()}
    assert not is_in_object(("hidden", 0), arguments)
    assert is_in_object(("config", "width"), arguments)
    assert is_in_object(("config", "hidden", 0), arguments)


@pytest.mark.parametrize(
    "value",
    [3, 0.5, None, "gelu", [1, 2], (1,), (1, 2), {"a": [1]}, set(), {4}, Config(width=3)],
    ids=str,
)
def test_source_makes_the_value_again(value: object) -> None:
    text = source(value)
    assert text is not None
    assert eval(text, {"Config": Config}) == value


def test_what_cannot_be_written_down_has_no_source() -> None:
    assert source([Plain()]) is None
    assert call_source("Net", {"config": Plain()}) is None
