"""Words that stand for a missing number or date, and how many of them a column may have.

In a column of words no word is a gap: "None" and "NA" may be classes. Among numbers or dates a word
cannot be a value, so there the usual ones are gaps at any share, and others where they are rare.

Entry points: `is_missing_word`, `accept_as_missing`.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MISSING_WORDS = frozenset(
    word
    for line in (
        "?|??|???|-|--|---|–|—|.|..|...|…|*|**|/|//|\\n|:|_|#",
        "na|n.a.|n.a|n/a|n\\a|#n/a|#na|nan|-nan|nat|null|(null)|none|nil|void|<na>|<null>|<none>",
        "nd|n.d.|n.d|n/d|n.v.|k.a.|k.a|s/d|s.d.|s.o.|n.b.|n.k.|n/k|n/r|n.r.|nr|n/s|tbd|tba",
        "no data|no_data|nodata|unknown|unk|not known|undefined|undef|undetermined|pending",
        "missing|(missing)|empty|(empty)|blank|(blank)|not available|unavailable|not applicable",
        "not reported|not recorded|not specified|unspecified|not given|not stated|not provided",
        "not measured|not tested|does not apply|no answer|no response|prefer not to say",
        "don't know|undisclosed|withheld|keine angabe|sin datos|brak danych|non disponible",
        "#value!|#div/0!|#ref!|#null!|#num!|#name?|1.#ind|-1.#ind|1.#qnan|-1.#qnan",
        "0000-00-00|00.00.0000|00/00/0000|0000-00-00 00:00:00",
    )
    for word in line.split("|")
)
"""In lower case: what R, pandas, Excel, SAS, SQL, Eurostat and people write for no value."""

MAX_RARE_SHARE = 0.05
"""Share of a column's rows up to which any words among its numbers are gaps."""

MAX_ODD_SHARE = 0.5
"""The same where the words are few: a gap of its own says as much as a word does."""

MAX_ODD_WORDS = 10

MIN_DISTINCT_VALUES = 10
"""Distinct numbers from which on a column is one of numbers. Below, as in 0, 1, 2, '3+', a word is
another category."""


def is_missing_word(words: "pd.Series[Any]") -> NDArray[np.bool_]:
    """Return for each text whether it usually stands for a missing value."""
    return words.str.lower().isin(MISSING_WORDS).to_numpy(dtype=bool)


def accept_as_missing(
    words: "pd.Series[Any]", counts: NDArray[np.int64], is_value: NDArray[np.bool_]
) -> bool:
    """Return whether all texts of a column that are no values can be taken as gaps.

    Args:
        words: The column's distinct texts.
        counts: Rows of each.
        is_value: Whether each is a value (a number, say).
    """
    if not is_value.any():
        return False
    odd = ~is_value & ~is_missing_word(words)
    if not odd.any():
        return True
    odd_rows = int(counts[odd].sum())
    share = odd_rows / (odd_rows + int(counts[is_value].sum()))
    few_words = odd.sum() <= MAX_ODD_WORDS and share <= MAX_ODD_SHARE
    return bool(is_value.sum() > MIN_DISTINCT_VALUES and (share <= MAX_RARE_SHARE or few_words))
