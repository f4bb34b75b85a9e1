"""Text columns: numbers are read as numbers, words that the user names are gaps."""

from __future__ import annotations

import pandas as pd
import pytest
from widthwise.objectives.data.text_columns import read_text_columns


def test_numbers_become_numbers_and_words_stay() -> None:
    text = pd.DataFrame({"n": ["1", "", "2.5"], "t": ["a", "b", "-"]}, dtype=str)
    table, notes = read_text_columns(text)
    assert table["n"].tolist()[::2] == [1.0, 2.5]
    assert table["n"].isna().tolist() == [False, True, False]
    assert table["t"].tolist() == ["a", "b", "-"]
    assert notes == ()


@pytest.mark.parametrize("word", ["?", "-", "unknown"])
def test_a_word_that_the_user_names_is_a_gap(word: str) -> None:
    table, _ = read_text_columns(pd.DataFrame({"n": ["1", word, "2"]}, dtype=str), (word,))
    assert table["n"].isna().tolist() == [False, True, False]
