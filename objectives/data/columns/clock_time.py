"""Clock times and zones, as hours: "23:59", "11:59:30.5 pm", "+02:00", "EST".

Entry points: `CLOCK` and `ZONE` are patterns in lower case; `clock_hours`, `zone_hours`;
`parse_clock_times` reads a column without dates.
"""

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CLOCK = r"(\d{1,3}[:.h]\d\d(?:[:.]\d\d(?:[.,]\d{1,9})?)?|\d\d?(?= ?[ap]\.?m))"
"""Hours and minutes, maybe seconds; or hours before AM or PM."""

HALF = r"(?: ?([ap])\.?m\.?)?"
"""AM or PM, or neither."""

_ZONES = {
    "z": 0.0,
    "utc": 0.0,
    "gmt": 0.0,
    "est": -5.0,
    "edt": -4.0,
    "cst": -6.0,
    "cdt": -5.0,
    "mst": -7.0,
    "mdt": -6.0,
    "pst": -8.0,
    "pdt": -7.0,
    "wet": 0.0,
    "bst": 1.0,
    "west": 1.0,
    "cet": 1.0,
    "cest": 2.0,
    "eet": 2.0,
    "eest": 3.0,
    "msk": 3.0,
    "jst": 9.0,
}
"""Hours ahead of UTC, by name: those of RFC 822 (1982), of Europe and Japan."""

ZONE = rf"({'|'.join(sorted(_ZONES, key=len, reverse=True))}|[+-]\d\d(?::?\d\d)?)"

_LONE_CLOCK = rf"^{CLOCK}{HALF}$"


def parse_clock_times(texts: "pd.Series[Any]") -> NDArray[np.float64]:
    """Return texts as hours, where they are clock times or durations; else NaN.

    Args:
        texts: Of dtype str.
    """
    if not texts.str.contains(r"^\d{1,3}[:.h]\d\d|\d ?[aApP]\.?[mM]").any():
        return np.full(len(texts), np.nan)
    parts = texts.str.lower().str.extract(_LONE_CLOCK, flags=re.ASCII)
    return clock_hours(parts[0], parts[1]).where(parts[0].notna()).to_numpy(dtype=np.float64)


def clock_hours(clocks: "pd.Series[Any]", halves: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return clock times in hours; NaN where there is no such time, 0 for no text.

    Args:
        clocks: Texts that match `CLOCK`, or NaN.
        halves: 'a' and 'p' for AM and PM, or NaN.
    """
    figures = clocks.str.extract(r"^(\d+)(?:[:.h](\d\d))?(?:[:.](\d\d(?:[.,]\d+)?))?$")
    hours, minutes, seconds = (
        pd.to_numeric(figures[part].str.replace(",", ".", regex=False))
        .fillna(0.0)
        .astype("float64")
        for part in figures
    )
    has_half = halves.notna()
    valid = (minutes < 60) & (seconds < 61) & ~(has_half & ((hours < 1) | (hours > 12)))
    hours = hours.mask(has_half, hours % 12 + 12 * (halves == "p"))
    return (hours + minutes / 60 + seconds / 3600).where(valid)


def zone_hours(zones: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return how many hours zones are ahead of UTC; 0 for no text.

    Args:
        zones: Texts that match `ZONE`, or NaN.
    """
    figures = zones.str.extract(r"^([+-])(\d\d):?(\d\d)?$")
    hours = pd.to_numeric(figures[1]) + pd.to_numeric(figures[2]).fillna(0.0) / 60
    ahead = hours * np.where(figures[0] == "-", -1.0, 1.0)
    return ahead.fillna(zones.map(_ZONES)).fillna(0.0).astype("float64")
