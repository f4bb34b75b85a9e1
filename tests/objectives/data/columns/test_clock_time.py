"""Clock times and zones, as hours."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from widthwise.objectives.data.columns.clock_time import parse_clock_times, zone_hours


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("10:30", 10.5),
        ("9:05:36", 9.0933333),
        ("11:59 PM", 23.9833333),
        ("12:00 a.m.", 0),
        ("5 pm", 17),
        ("18.30.00", 18.5),
        ("100:15", 100.25),
        ("10:75", math.nan),
        ("13:00 PM", math.nan),
        ("1.5", math.nan),
        ("noon", math.nan),
    ],
)
def test_clock_times_are_hours(text: str, hours: float) -> None:
    assert parse_clock_times(pd.Series([text], dtype="str")) == pytest.approx([hours], nan_ok=True)


def test_zones_are_hours_ahead_of_utc() -> None:
    zones = pd.Series(["+02:00", "-0530", "+01", "z", "est", None], dtype="str")
    assert zone_hours(zones).tolist() == [2, -5.5, 1, 0, -5, 0]
