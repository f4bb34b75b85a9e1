"""Columns that number or name the rows: they tell a row's place in the file, not what it is.

Where a file is sorted by its target, a row number tells the target, and tells nothing of new rows.
A column is judged over the whole file, before rows without a target are left out:

| its name | it is dropped where its values are |
|---|---|
| none, `Unnamed: 0`, `index`, `id`, … | whole numbers, all different or restarting (joined files) |
| `customer_id`, `PassengerId`, `uuid`, … | whole numbers or text, all different |
| another; no year, age, price or the like | whole numbers that count on, or rise and skip few |

Entry point: `drop_row_numbers`.
"""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .dataset import RawData
from .table import format_names, is_text

IntArray = NDArray[np.int64]

MIN_PRESENT_SHARE = 0.9
"""Share of the rows that a number must stand in: some may have been lost."""

MIN_COPIES_SHARE = 1 / 4
"""Distinct values to each row from which a column without a name numbers files that were joined."""

MIN_RUN = 20
"""Rows on average that a numbering counts on before it starts again, in joined files."""

MAX_SKIPPED_SHARE = 0.5
"""Numbers left out, of all between the first and the last, by rows that were filtered away."""

YEARS = (1500, 2200)

_NO_NAME = re.compile(
    r"(Unnamed: \d+.*|\.{3}\d+|__index_level_\d+__|level_\d+|index|row[ _.]?(names?|numbers?|num)"
    r"|)",
    re.IGNORECASE,
)
"""What a column without a name is called by pandas, readr and Parquet."""

_R_NAMES = ("X", "V1")
"""What R calls one; it may be a name as well."""

_NUMBERING = re.compile(
    r"\#|case|caseno|entry|idx|index|instance|instanceid|key|line|lineno|lp|no|nr|nro|obs"
    r"|obsno|observation|pk|recno|record|ref|rn|row|rowid|rowindex|rowname|rownames|rownum"
    r"|rownumber|rownr|seq|seqno|sequence|serial|serialno|serialnumber|slno|sn|sno|sr|srno"
    r"|zeile|lfdnr|id|ids|i|num|number|numero|numéro|n[°º]|№|序号|编号|番号|sample|sampleno"
)
"""Names of columns that number rows, in lower case and without signs between the words."""

_IDENTIFIER = frozenset(("id", "ids", "uid", "uuid", "guid", "oid", "pid", "sid"))
_JOINED_IDENTIFIER = re.compile(
    r"(account|app|case|client|customer|cust|device|employee|emp|event|file|game|guest|house|image"
    r"|img|invoice|item|listing|loan|member|movie|object|obs|order|passenger|patient|person|player"
    r"|plot|post|product|property|record|row|sample|session|store|student|subject|ticket|trans"
    r"|transaction|trip|user|vehicle)(id|no|nr|num|number)"
)
_QUANTITY = re.compile(
    r"(^|_)(year|years|yr|jahr|annee|anno|ano|age|alter|edad|time|t|date|day|days|doy|dow|week|weeks"
    r"|month|months|mon|quarter|qtr|hour|hours|hr|minute|minutes|min|second|seconds|sec|season|decade"
    r"|price|preis|prix|precio|cost|amount|income|salary|wage|dose|temp|temperature|speed|distance"
    r"|dist|depth|height|length|width|weight|mass|size|area|volume|count|total|sum|score|value"
    r"|mileage|altitude|elevation|latitude|longitude|angle|pressure|humidity|voltage|current|power"
    r"|concentration|calories|tenure|trial|visit|wave|round|lap|cycle|turn|frame|y|z|frequency|freq|wavelength|generation|period|lag|epoch|step|iteration|level)(_|$)"
)  # fmt: skip


def drop_row_numbers(raw: RawData) -> RawData:
    """Return the data without columns that number or name its rows, and notes that say so.

    Args:
        raw: As read; arrays and tensors have no columns and are returned as they are.
    """
    if not isinstance(raw.inputs, pd.DataFrame):
        return raw
    kinds: dict[str, list[str]] = {}
    for name, column in raw.inputs.items():
        kind = row_naming(str(name), column)
        if kind is not None:
            kinds.setdefault(kind, []).append(str(name))
    if not kinds:
        return raw
    dropped = [name for names in kinds.values() for name in names]
    return replace(
        raw,
        inputs=raw.inputs.drop(columns=dropped),
        notes=(
            *raw.notes,
            *(
                f"dropped columns that {kind}: {format_names(names)}"
                for kind, names in kinds.items()
            ),
        ),
    )


def row_naming(name: str, column: "pd.Series[Any]") -> str | None:
    """Return what a column does to the rows: `only number the rows`, …; None where it says more.

    Args:
        name: Of the column.
        column: All rows of the file.
    """
    is_identifier, is_numbering = _is_identifier(name), _is_numbering(name)
    numbers = _as_integers(column)
    if numbers is None:
        has_ids = is_text(column) or pd.api.types.is_integer_dtype(column)
        return (
            "only identify the rows" if is_identifier and has_ids and _is_unique(column) else None
        )
    distinct = len(np.unique(numbers))
    if distinct < 2:
        return None
    is_unique = distinct == len(numbers)
    if is_unique and is_identifier and not is_numbering:
        return "only identify the rows"
    if is_numbering or is_identifier:
        has_no_name = bool(_NO_NAME.fullmatch(name.strip()))
        copies = has_no_name and distinct >= MIN_COPIES_SHARE * len(numbers)
        numbered = is_unique or copies or _counts_on_again(numbers)
    else:
        numbered = is_unique and not _is_quantity(name, numbers) and _counts_on(numbers)
    return "only number the rows" if numbered else None


def _as_integers(column: "pd.Series[Any]") -> IntArray | None:
    """Return the values of a column of whole numbers, without gaps; None for any other column."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_complex_dtype(column):
        return None
    present = column[column.notna()]
    if len(present) < max(2, MIN_PRESENT_SHARE * len(column)):
        return None
    if is_text(column):
        if not present.astype(str).str.fullmatch(r"\s*\d{1,15}(\.0*)?\s*").all():
            return None
        present = pd.to_numeric(present.astype(str))
    elif not pd.api.types.is_numeric_dtype(column):
        return None
    values = present.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all() or not (values == np.round(values)).all():
        return None
    if np.abs(values).max() > 2**53:
        return None
    return values.astype(np.int64)


def _is_unique(column: "pd.Series[Any]") -> bool:
    present = column[column.notna()]
    return len(present) >= MIN_PRESENT_SHARE * len(column) > 0 and bool(present.is_unique)


def _counts_on(numbers: IntArray) -> bool:
    """Return whether different numbers count on by one, in any order; or rise with few left out."""
    span = int(numbers.max() - numbers.min()) + 1
    if span == len(numbers):
        return True
    steps = np.diff(numbers)
    rises = bool((steps > 0).all())
    is_scale = len(np.unique(steps)) == 1  # 0, 2, 4, …: nobody filters rows like that
    return rises and not is_scale and span - len(numbers) <= MAX_SKIPPED_SHARE * span


def _counts_on_again(numbers: IntArray) -> bool:
    """Return whether numbers, in the order of the rows, start again where files were joined.

    Rows that were filtered away may have left out some.
    """
    steps = np.diff(numbers)
    restarts = np.flatnonzero(steps <= 0)
    if len(restarts) == 0 or len(numbers) < MIN_RUN * (len(restarts) + 1):
        return False
    starts = numbers[np.concatenate([[0], restarts + 1])]
    if np.ptp(starts) > MAX_SKIPPED_SHARE * MIN_RUN:
        return False
    forward = steps[steps > 0]
    return bool((forward == 1).mean() >= MAX_SKIPPED_SHARE)


def _is_identifier(name: str) -> bool:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    lowered = [word.lower() for word in words]
    joined = "".join(lowered)
    return (
        any(word in _IDENTIFIER for word in (*lowered[:1], *lowered[-1:]))
        or _JOINED_IDENTIFIER.fullmatch(joined) is not None
    )


def _is_numbering(name: str) -> bool:
    stripped = re.sub(r"[\s_.\-]+", "", name.lower())
    return (
        _NO_NAME.fullmatch(name.strip()) is not None
        or name.strip() in _R_NAMES
        or _NUMBERING.fullmatch(stripped) is not None
    )


def _is_quantity(name: str, numbers: IntArray) -> bool:
    """Return whether a column is of years, or named as a quantity that may well count on."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    spelled = re.sub(r"[^a-z]+", "_", words.lower())
    in_years = bool(numbers.min() >= YEARS[0]) and bool(numbers.max() <= YEARS[1])
    return in_years or _QUANTITY.search(spelled) is not None
