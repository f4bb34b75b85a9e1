"""Decimal signs and groups of digits, decided by all numbers of a column together.

In "1,234" alone it cannot be told what the comma is. Beside "12,5" or "0,750" it is the decimal
sign; beside "950.25" or "1,234,567" it groups thousands. Where nothing tells, three digits after
every comma are thousands, unless other columns of the file have decimal commas.

Entry points: `decide_style`, `fits_style`, `parse_digits`.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DecimalSign = Literal[".", ","]

GROUPINGS = {"": "", ",": "commas", ".": "points", " ": "spaces", "'": "apostrophes"}
"""What may stand between groups of digits, and its name."""

_STYLES: dict[DecimalSign, tuple[str, ...]] = {".": ("", ",", " ", "'"), ",": ("", ".", " ", "'")}
"""What may group digits beside each decimal sign, the plainer first."""

_EXPONENT = r"(?:[eE][-+]?\d+)?"


@dataclass(frozen=True, kw_only=True)
class NumberStyle:
    """How the numbers of a column are written.

    Attributes:
        decimal: The decimal sign.
        group: What stands between groups of digits; empty for nothing.
        is_proven: Whether some value can be read with this decimal sign only.
        is_ambiguous: Whether all values could as well be read with the other decimal sign, and
            would then be other numbers.
    """

    decimal: DecimalSign
    group: str
    is_proven: bool = False
    is_ambiguous: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression of the unsigned numbers in this style."""
        sign = re.escape(self.decimal)
        plain = rf"\d+(?:{sign}\d*)?|{sign}\d+"
        if not self.group:
            return rf"(?:{plain}){_EXPONENT}"
        # Nobody groups digits before an exponent: 6,620e-01 is 0.662.
        group = re.escape(self.group)
        # Indian numbers have groups of two before the last: 12,34,567.
        inner = r"(?:,\d{2,3})*" if self.group == "," else rf"(?:{group}\d{{3}})*"
        grouped = rf"[1-9]\d{{0,2}}{inner}{group}\d{{3}}(?:{sign}\d*)?"
        return rf"(?:{plain}){_EXPONENT}|{grouped}"


def decide_style(
    digits: "pd.Series[Any]", counts: NDArray[np.int64], expected: DecimalSign | None = None
) -> NumberStyle:
    """Return the style in which most rows are numbers.

    Args:
        digits: Distinct texts of digits, points, commas, blanks and apostrophes, without sign.
        counts: Rows of each.
        expected: The decimal sign of the file's other columns, for where the column's own values
            do not tell.
    """
    signs: tuple[DecimalSign, ...] = (",", ".") if expected == "," else (".", ",")
    styles = [NumberStyle(decimal=sign, group=group) for sign in signs for group in _STYLES[sign]]
    if expected is None:
        # Commas that all have three digits behind them: thousands before decimal signs.
        styles.sort(key=lambda style: bool(style.group) and style.group != ",")
    fits = [fits_style(digits, style) for style in styles]
    rows = [int(counts[fit].sum()) for fit in fits]
    best = int(np.argmax(rows))
    chosen = styles[best]
    others = [k for k, style in enumerate(styles) if style.decimal != chosen.decimal]
    has_signs = bool(digits[fits[best]].str.contains("[.,]").any())
    return NumberStyle(
        decimal=chosen.decimal,
        group=chosen.group if _is_grouped(digits[fits[best]], chosen) else "",
        is_proven=has_signs and rows[best] > max(rows[k] for k in others),
        is_ambiguous=has_signs and any(np.array_equal(fits[best], fits[k]) for k in others),
    )


def parse_digits(digits: "pd.Series[Any]", style: NumberStyle) -> NDArray[np.float64]:
    """Return unsigned numbers in a style, of texts that fit it."""
    if style.group:
        digits = digits.str.replace(style.group, "", regex=False)
    if style.decimal == ",":
        digits = digits.str.replace(",", ".", regex=False)
    numbers = pd.to_numeric(digits, errors="coerce")
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def fits_style(digits: "pd.Series[Any]", style: NumberStyle) -> NDArray[np.bool_]:
    """Return whether each text is an unsigned number in a style; False for NaN."""
    return digits.str.fullmatch(style.pattern).fillna(False).to_numpy(dtype=bool)


def _is_grouped(digits: "pd.Series[Any]", style: NumberStyle) -> bool:
    return bool(style.group) and bool(digits.str.contains(style.group, regex=False).any())
