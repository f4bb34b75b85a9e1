"""A study's trials as a table: a row each, with its widths, its metric, its costs and its outcome.

Entry point: `trials_table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...storage.ledger.slot import SlotRecord

if TYPE_CHECKING:
    import pandas as pd

_FIGURES = ("test", "train", "epochs", "seconds", "seed")
"""Entries of a training's result that have a column."""


def trials_table(records: Sequence[SlotRecord], widths: Sequence[str], metric: str) -> pd.DataFrame:
    """Return a table of all trials that have widths, by number.

    Args:
        records: Of the study.
        widths: Names of the widths, in their order.
        metric: Name of the metric; its column holds the validation metric, NaN where there is none.

    Returns:
        Columns: the widths; the metric, its standard error ("spread") over folds and replicas; the
        metrics reported beside it; the costs, as counted before the training, and what was measured
        of them; "origin" (who proposed the widths) and "outcome"; test and training metric, epochs,
        seconds and seed.
    """
    import pandas as pd

    bound = [record for record in records if record.widths is not None]
    rows = [_row(record, widths, metric) for record in sorted(bound, key=lambda each: each.number)]
    index = pd.Index(
        [record.number for record in sorted(bound, key=lambda each: each.number)], name="trial"
    )
    if not rows:
        return pd.DataFrame(columns=[*widths, metric, "origin", "outcome"], index=index)
    return pd.DataFrame(rows, index=index)


def _row(record: SlotRecord, widths: Sequence[str], metric: str) -> dict[str, Any]:
    result, values = record.result or {}, record.widths or {}
    searched = {
        **{name: values.get(name) for name in widths},
        metric: float("nan") if record.value is None else record.value,
    }
    others = {
        "spread": _number(result.get("attributes", {}).get("spread")),
        **{name: _number(value) for name, value in result.get("reported", {}).items()},
        **result.get("costs", {}),
        **result.get("measured", {}),
        "origin": record.origin,
        "outcome": str(record.outcome or record.state),
        **{name: _number(result.get(name)) for name in _FIGURES if name != "seed"},
        "seed": result.get("seed", record.seed),
    }
    # A width may be called as any of them is.
    return {**searched, **others, **searched}


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
