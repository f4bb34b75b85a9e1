"""Numbers of the command line, read strictly: ASCII digits, within bounds, or one sentence.

A number's flag gets one of these as typer's `parser`. What Python takes beside digits (`1_000`,
full-width digits, `inf`, `nan`, `0x10`) is refused, and so is what no counter or clock can hold.

    events: Annotated[int, typer.Option(parser=whole_number("--events", 0, 1_000_000), metavar="N")]

Entry points: `whole_number`, `seconds`, `parse_worker_count`; `parse_int_option`, for a text that
is not always a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from .errors import SpecError

WEEK_SECONDS = 604_800.0
"""The longest time that a worker waits for anything."""

AUTO_WORKERS = 0
"""What `--workers auto` is parsed to."""

MAX_WORKERS = 1024

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,30}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")
_MAX_SHOWN = 60


def whole_number(flag: str, minimum: int, maximum: int) -> Callable[[object], int]:
    """Return a parser of a flag's whole number; it raises SpecError."""

    def parse(text: object) -> int:
        return parse_int_option(flag, str(text), minimum=minimum, maximum=maximum)

    return parse


def parse_worker_count(text: object) -> int:
    """Return the number that `--workers` was given, `AUTO_WORKERS` for "auto".

    Raises:
        SpecError: It is neither.
    """
    if str(text).strip() == "auto":
        return AUTO_WORKERS
    try:
        return parse_int_option("--workers", str(text), minimum=1, maximum=MAX_WORKERS)
    except SpecError as error:
        raise SpecError(f'{error}, or "auto"') from None


def seconds(flag: str, minimum: float, maximum: float = WEEK_SECONDS) -> Callable[[object], float]:
    """Return a parser of a flag's number of seconds; it raises SpecError."""

    def parse(text: object) -> float:
        entered = str(text).strip()
        number = Decimal(entered) if _DECIMAL.fullmatch(entered) else None
        if number is None or not Decimal(minimum) <= number <= Decimal(maximum):
            raise SpecError(
                f"{flag}: found {_quote(str(text))}, expected seconds from {minimum:,g} to "
                f"{maximum:,.0f}"
            )
        return float(number) + 0.0  # no -0

    return parse


def parse_int_option(flag: str, text: str, *, minimum: int, maximum: int) -> int:
    """Return the number that an option was given.

    Raises:
        SpecError: It is none, or out of bounds.
    """
    entered = text.strip()
    number = int(entered) if _WHOLE_NUMBER.fullmatch(entered) else None
    if number is None or not minimum <= number <= maximum:
        raise SpecError(
            f"{flag}: found {_quote(text)}, expected a whole number from {minimum:,} to {maximum:,}"
        )
    return number


def _quote(text: str) -> str:
    return f'"{text}"' if len(text) <= _MAX_SHOWN else f'"{text[:_MAX_SHOWN]}…"'
