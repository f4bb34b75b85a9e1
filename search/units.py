"""Costs, counts and amounts of memory: read as people write them, formatted as people read them.

Counts (FLOPs, MACs, parameters) take decimal prefixes: ``"2M"`` = ``"2 MFLOPs"`` = 2,000,000.
Memory takes units of bytes: ``"64 MiB"`` = 64 × 2^20 bytes, ``"1 GB"`` = 10^9 bytes. What could be
read in two ways ("64M" of memory, "1.5B" parameters, "2m" FLOPs) is refused with what to write.

`parse_count` and `parse_memory` raise ValueError with a whole sentence; `format_count`,
`format_compact` and `format_memory` go the other way. `parse_cost` and `format_cost` choose among
them by the unit of a cost. (pydantic's ByteSize takes "64M" for 64 MB and has no sentence for it.)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ..objectives.cost.registry import COSTS, Unit

COUNT_PREFIXES = ("", "k", "M", "G", "T", "P")
"""Powers of 1,000, as the SI has them."""
BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
"""Powers of 1,024 bytes, as IEC 80000-13 has them."""
DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
"""Powers of 1,000 bytes."""

DURATIONS = {"s": Fraction(1), "ms": Fraction(1, 1000), "us": Fraction(1, 1_000_000)}
"""Seconds in each unit of time, the largest first."""

COST_BY_NAME = {cost.name: cost for cost in COSTS}
"""All costs, those of the registry, by name."""

_UNIT_SPELLINGS = {
    "FLOPs": ("flops", "flop"),
    "MACs": ("macs", "mac"),
    "parameters": ("parameters", "parameter", "params", "param"),
}
_NUMBER = re.compile(
    r"\s*(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:_\d+)*(?:\.\d+)?(?:[eE][+-]?\d{1,2})?)\s*([a-zA-Z ]*)",
    re.ASCII,
)
_MAX_CHARACTERS = 80
"""Characters a quantity may have; longer ones are typing errors and slow to read."""
_MAX_AMOUNT = 10**24
"""More than any model costs, and what the limits of a space take."""


def parse_cost(name: str, value: int | float | str) -> float:
    """Read an amount of a cost in its unit; whole but for seconds.

    Args:
        name: Of `COST_BY_NAME`.
        value: As `parse_count`, `parse_memory` or `parse_duration` take it.

    Raises:
        ValueError: It is no such amount; the sentence says what to write instead.
    """
    unit = COST_BY_NAME[name].unit
    if unit is Unit.BYTES:
        return parse_memory(value)
    return parse_duration(value) if unit is Unit.SECONDS else parse_count(value, unit)


def format_cost(name: str, value: float) -> str:
    """Return an amount of a cost for people; seconds for a cost that is a time."""
    cost = COST_BY_NAME[name]
    if cost.unit is Unit.SECONDS:
        return format_duration(value)
    if cost.unit is Unit.BYTES:
        return format_memory(int(value))
    return format_count(int(value)) if cost.every_digit else format_compact(int(value))


def parse_count(value: int | float | str, unit: str = "FLOPs") -> int:
    """Read a count of at least 1.

    Args:
        value: A whole number, or text such as ``"2M"``, ``"200k"``, ``"2 MFLOPs"``, ``"200,000"``.
        unit: What is counted; the word that may follow the prefix.

    Raises:
        ValueError: It is no positive whole number, or in another unit; the sentence says what to
            write instead.
    """
    hint = 'write it like 2000000, "200k" or "2M"'
    number, suffix = _parse_quantity(value, f"a number of {unit}", hint)
    spellings = _UNIT_SPELLINGS.get(unit, (unit.casefold(),))
    word = suffix.casefold()
    if word in spellings or not word:
        prefix = ""
    elif word[1:].strip() in ("", *spellings):
        prefix = suffix[0].replace("K", "k")
    else:
        raise ValueError(_wrong_unit_message(value, unit, word, hint))
    if prefix not in COUNT_PREFIXES:
        raise ValueError(_wrong_prefix_message(value, unit, prefix, hint))
    number *= 1000 ** COUNT_PREFIXES.index(prefix)
    if number.denominator != 1:
        raise ValueError(f"{value!r} is {float(number):,} {unit}, expected a whole number")
    return _require_positive(int(number), value, f"{unit}")


def parse_memory(value: int | float | str) -> int:
    """Read an amount of memory of at least one byte; parts of a byte are dropped.

    Args:
        value: An integer of bytes, or text such as ``"64 MiB"``, ``"1 GB"``, ``"8 B"``.

    Raises:
        ValueError: It is no positive amount, or could be read in two ways; the sentence says what
            to write instead.
    """
    hint = 'write it like "64 MiB" or "1 GB"'
    number, suffix = _parse_quantity(value, "an amount of memory", hint)
    if not suffix and isinstance(value, str):
        raise ValueError(f"found {value!r}, expected an amount of memory with its unit; {hint}")
    if suffix.casefold() in ("", "byte", "bytes"):
        suffix = "B"
    if suffix.casefold() in (unit.casefold() for unit in BINARY_UNITS[1:]):
        number *= 1024 ** "bkmgtp".index(suffix[0].casefold())
    elif suffix.replace("K", "k") in DECIMAL_UNITS:
        number *= 1000 ** DECIMAL_UNITS.index(suffix.replace("K", "k"))
    elif re.fullmatch("[kmgtp]i?b?", suffix.casefold()):
        amount = str(value)[: -len(suffix)].strip()
        prefix = suffix[0].upper()
        raise ValueError(
            f"{value!r} could be read in two ways; write '{amount} {prefix}iB' (1 {prefix}iB is "
            f"1024^{'BKMGTP'.index(prefix)} bytes) or '{amount} {prefix.replace('K', 'k')}B' "
            f"(1000^{'BKMGTP'.index(prefix)} bytes)"
        )
    else:
        raise ValueError(f"{value!r} is not an amount of memory; {hint}")
    return _require_positive(int(number), value, "bytes")


def parse_duration(value: int | float | str) -> float:
    """Read a length of time, as seconds above 0.

    Args:
        value: Text such as ``"5 ms"``, ``"200 us"`` or ``"1.5 s"``; a bare number has no unit.

    Raises:
        ValueError: It is no time, or has no unit; the sentence says what to write instead.
    """
    hint = 'write it like "5 ms", "200 us" or "0.5 s"'
    number, suffix = _parse_quantity(value, "a length of time", hint)
    if suffix not in DURATIONS or number <= 0:
        raise ValueError(f"found {value!r}, expected a length of time with its unit; {hint}")
    return float(number * DURATIONS[suffix])


def format_widths(widths: Mapping[str, int]) -> str:
    """Return widths for people: `hidden1=64 hidden2=32`."""
    return " ".join(f"{name}={value}" for name, value in widths.items())


def format_duration(seconds: float) -> str:
    """Return a length of time for people, such as ``"4.7 ms"``."""
    for unit, unit_seconds in DURATIONS.items():
        if seconds >= unit_seconds or unit == "us":
            return f"{seconds / float(unit_seconds):.3g} {unit}"
    raise AssertionError("the smallest unit takes all")


def format_count(number: int) -> str:
    """Return every digit, thousands apart: 4392 → ``4,392``."""
    return f"{number:,}"


def format_compact(number: int, unit: str = "", *, round_up: bool = False) -> str:
    """Return three digits and a prefix: 2,000,000 → ``2 MFLOPs``, 199,800 → ``200k parameters``.

    Args:
        number: The count, at least 0.
        unit: What is counted; FLOPs and MACs take the prefix themselves.
        round_up: Round up, so that the result is never less than the number.
    """
    mantissa, prefix = _mantissa_and_prefix(number, 1000, COUNT_PREFIXES, round_up)
    if unit in ("FLOPs", "MACs"):
        return f"{mantissa} {prefix}{unit}"
    return f"{mantissa}{prefix} {unit}".strip()


def format_memory(size: int, *, round_up: bool = False, decimal: bool = False) -> str:
    """Return three digits and a unit: 66,900,000 bytes → ``63.8 MiB``.

    Args:
        size: Bytes, at least 0.
        round_up: Round up, so that the result is never less than the size.
        decimal: In kB, MB, … rather than KiB, MiB, …
    """
    base, units = (1000, DECIMAL_UNITS) if decimal else (1024, BINARY_UNITS)
    return " ".join(_mantissa_and_prefix(size, base, units, round_up))


def _mantissa_and_prefix(
    number: int, base: int, prefixes: tuple[str, ...], round_up: bool
) -> tuple[str, str]:
    """Return three digits of the largest power of the base that fits, and the power's name."""
    exponent = 0
    while exponent + 1 < len(prefixes) and number >= base ** (exponent + 1):
        exponent += 1
    mantissa = Fraction(number, base**exponent)
    precision = 100 if mantissa < 10 else 10 if mantissa < 100 else 1
    doubled = 2 * mantissa * precision
    digits = -(-doubled // 2) if round_up else (doubled + 1) // 2
    rounded = Fraction(digits, precision)
    if rounded >= base and exponent + 1 < len(prefixes):
        return _mantissa_and_prefix(base ** (exponent + 1), base, prefixes, round_up)
    text = f"{int(rounded):,}" if rounded.denominator == 1 else f"{float(rounded):g}"
    return text, prefixes[exponent]


def _parse_quantity(value: Any, description: str, hint: str) -> tuple[Fraction, str]:
    """Return the number, exact, and the letters after it."""
    if (number := as_int(value)) is not None:
        if abs(number) > _MAX_AMOUNT:
            raise ValueError(f"found a number beyond 10^24, expected {description}; {hint}")
        return Fraction(number), ""
    if isinstance(value, float) and value.is_integer():
        return Fraction(value), ""
    if not isinstance(value, str) or len(value) > _MAX_CHARACTERS:
        raise ValueError(f"{value!r} is not {description}; {hint}")
    if not (match := _NUMBER.fullmatch(value)):
        raise ValueError(f"{value!r} is not {description}; {hint}")
    return Fraction(match[1].replace(",", "").replace("_", "")), match[2].strip()


def _wrong_unit_message(value: Any, unit: str, word: str, hint: str) -> str:
    if re.fullmatch("[kmgtp]?i?b(ytes?)?|[kmgtp]i", word):
        if word == "b":
            return f"{value!r} could mean bytes or billions; write G for 10^9 {unit}"
        return f"{value!r} is an amount of memory, expected a number of {unit}; {hint}"
    for other_unit, spellings in _UNIT_SPELLINGS.items():
        if word in spellings or word[1:].strip() in spellings:
            conversion = " (1 MAC is 2 FLOPs)" if "parameters" not in (other_unit, unit) else ""
            return f"{value!r} counts {other_unit}, expected {unit}{conversion}; {hint}"
    return f"{value!r} is not a number of {unit}; {hint}"


def _wrong_prefix_message(value: Any, unit: str, prefix: str, hint: str) -> str:
    if prefix in ("b", "B"):
        return f"{value!r} could mean bytes or billions; write G for 10^9 {unit}"
    if prefix.upper() in COUNT_PREFIXES:
        return (
            f"{value!r} has a small {prefix}; write {prefix.upper()} for "
            f"1000^{COUNT_PREFIXES.index(prefix.upper())} {unit}"
        )
    return f"{value!r} is not a number of {unit}; {hint}"


def _require_positive(number: int, value: Any, unit: str) -> int:
    if number > _MAX_AMOUNT:
        raise ValueError(f"found {value!r}, expected at most 10^24 {unit}")
    if number < 1:
        raise ValueError(f"{value!r} is {number} {unit}, expected at least 1")
    return number


def as_int(value: Any) -> int | None:
    """Return the value as a Python int, or None where it is none; True and 16.0 are none."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
