"""Numbers of flags: what people type, what they mistype, and what no counter holds."""

from __future__ import annotations

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.flags import AUTO_WORKERS, parse_worker_count, seconds, whole_number

ODD_NUMBERS = [
    "",
    "x",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "0x10",
    "１２",
    "٣",
    "1_000",
    "1,5",
    "1 000",
    "--",
    "1" * 5000,
]


@pytest.mark.parametrize("text", [*ODD_NUMBERS, "1e3", "2.0", "10" + "0" * 20, "-1"])
def test_what_is_no_whole_number_is_quoted(text: str) -> None:
    with pytest.raises(
        SpecError, match=r'^--events: found ".*", expected a whole number from'
    ) as e:
        whole_number("--events", 0, 1_000_000)(text)
    assert len(str(e.value)) < 200


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("-0", 0), ("+7", 7), (" 12 ", 12), ("007", 7), (64, 64)]
)
def test_whole_numbers(text: object, number: int) -> None:
    assert whole_number("--events", 0, 100)(text) == number


@pytest.mark.parametrize("text", [*ODD_NUMBERS, "-1", "0.5", "604800.1", "1e20", "1e999"])
def test_what_is_no_time_is_quoted(text: str) -> None:
    with pytest.raises(
        SpecError, match=r'^--lease: found ".*", expected seconds from 1 to 604,800'
    ):
        seconds("--lease", 1.0)(text)


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1.0), ("2.5", 2.5), (".5e1", 5.0), ("6e5", 6e5), (30.0, 30.0)]
)
def test_times(text: object, number: float) -> None:
    assert seconds("--lease", 1.0)(text) == number


def test_minus_nothing_is_nothing() -> None:
    assert str(seconds("--grace", 0.0)("-0")) == "0.0"


def test_a_number_of_workers_may_be_auto() -> None:
    assert parse_worker_count("auto") == AUTO_WORKERS
    assert parse_worker_count(" 12 ") == 12


@pytest.mark.parametrize("text", ["0", "-1", "1025", "2.5", "Auto", "many", ""])
def test_no_number_of_workers(text: str) -> None:
    with pytest.raises(SpecError, match=r'--workers: found ".*or "auto"'):
        parse_worker_count(text)
