"""Dates: recognised in text and in typed columns, and turned into numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from widthwise.tests.objectives.data.sources import (
    DAYS,
    ROWS,
    all_inputs,
    joined_notes,
    load,
)


@pytest.mark.parametrize(
    ("style", "parts"),
    [
        ("%Y-%m-%d", 3),
        ("%Y-%m-%d %H:%M:%S", 4),
        ("%d.%m.%Y", 3),
        ("%m/%d/%Y", 3),
        ("%d %b %Y", 3),
        ("%Y-%m-%dT%H:%M:%S+02:00", 4),
    ],
)
def test_dates_in_text_become_numbers(style: str, parts: int, tmp_path: Path) -> None:
    data = load(tmp_path, when=DAYS.strftime(style))
    assert data.input_shape == (parts,)
    assert "turned dates into day, month and weekday" in joined_notes(data)
    assert torch.isfinite(all_inputs(data)).all()


def test_american_dates_are_distinguished_from_european_ones(tmp_path: Path) -> None:
    same = [load(tmp_path, when=DAYS.strftime(style)) for style in ("%m/%d/%Y", "%Y-%m-%d")]
    torch.testing.assert_close(same[0].train.inputs, same[1].train.inputs)


def test_date_columns_of_a_parquet_file(tmp_path: Path) -> None:
    when = DAYS.to_series().reset_index(drop=True)
    when[::7] = pd.NaT
    data = load(tmp_path, suffix=".parquet", when=when, lasting=when - when.min())
    assert data.features >= 5
    assert torch.isfinite(all_inputs(data)).all()


def test_numbers_and_codes_are_no_dates(tmp_path: Path) -> None:
    data = load(tmp_path, a=np.array(["A-1", "B-2", "12-X"])[np.arange(ROWS) % 3])
    assert data.input_shape == (3,)
    assert "dates" not in joined_notes(data)
