"""A column of text: numbers, dates, true/false or words, and what is a gap in it."""

from __future__ import annotations

import pandas as pd
from widthwise.objectives.data.columns.column import read_columns


def test_each_column_of_a_table_is_read_in_its_order() -> None:
    table = pd.DataFrame({"n": ["1", "", "2.5"], "t": ["a", "b", "-"]}, dtype=str)
    numbers, words = read_columns(table)
    assert (numbers.name, numbers.kind, numbers.empty) == ("n", "number", 1)
    assert numbers.values.tolist()[::2] == [1.0, 2.5]
    assert (words.name, words.kind, words.values.tolist()) == ("t", "text", ["a", "b", "-"])
