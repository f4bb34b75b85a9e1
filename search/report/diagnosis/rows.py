"""More data or more width? What twice the training rows would bring, from a learning curve.

The recommended network is trained on shares of the rows with several seeds (the follow-up study
"learning curve"), and the power law of `power_law` is fitted to validation metric against rows; a
constant number of optimiser steps keeps the trainings comparable. Twice the rows is set against
twice the width: the same follow-up where it trained that, else the surrogate's or the law's word.

Entry point: `diagnose_rows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....storage.ledger.slot import SlotRecord, TrialOutcome
from ...command import format_command
from ...follow_up_kind import SHARE_KEY
from .interval import Effect
from .power_law import Estimated, NoLaw, PowerLaw, fit_power_law
from .returns import describe_exponent, estimated_json, format_estimated


@dataclass(frozen=True, kw_only=True)
class RowsDiagnosis:
    """Quality against the number of training rows.

    Attributes:
        study: Name of the study.
        law: The law over shares of the rows, or why there is none; None without a follow-up.
        doubling: Gain of twice the rows; None without a law.
        wider: Gain of twice the width; None where it is not known.
        rows: Rows of a training on all of them; None where the data are not on this machine.
        metric: What a gain is in, `gain_unit`.
    """

    study: str
    law: PowerLaw | NoLaw | None
    doubling: Estimated | None
    wider: Effect | None
    rows: int | None
    metric: str

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        law = self.law
        return {
            "rows": self.rows,
            "law": {"exponent": estimated_json(law.exponent)}
            if isinstance(law, PowerLaw)
            else None,
            "reason": law.reason if isinstance(law, NoLaw) else None,
            "twice_the_rows": estimated_json(self.doubling) if self.doubling else None,
            "twice_the_width": self.wider.to_json() if self.wider else None,
        }

    def sentence(self) -> str:
        """Return what a person reads."""
        if self.law is None:
            command = format_command("sweep", self.study, options=["--rows", "auto"])
            return f"More data or more width? `{command}` trains on shares of the rows and tells."
        if isinstance(self.law, NoLaw):
            return f"More data: {self.law.reason}."
        assert self.doubling is not None
        gain = (
            f"Twice the rows would bring {format_estimated(self.doubling)} {self.metric} "
            f"({describe_exponent(self.law.exponent)})"
        )
        if self.wider is None:
            return f"{gain}."
        width = f"twice the width {self.wider}"
        if self.doubling.low > self.wider.high:
            return f"More data rather than more width. {gain}, {width}."
        if self.doubling.high < self.wider.low:
            return f"More width rather than more data. {gain}, {width}."
        return f"{gain}, {width}: neither is clearly the better."


def diagnose_rows(
    study: str,
    records: Sequence[SlotRecord],
    widths: Mapping[str, int],
    wider: Effect | None,
    *,
    sign: float,
    rows: int | None,
    metric: str,
) -> RowsDiagnosis:
    """Fit the learning curve of the recommended network.

    Args:
        study: Name of the study.
        records: Of the follow-up study; empty where there is none.
        widths: The recommended ones.
        wider: Gain of twice the width, where it is known from elsewhere.
        sign: −1 where a lower metric is better.
        rows: Rows of a training on all of them, where that is known.
        metric: What a gain is in, `gain_unit`.
    """
    trained = [
        (float(record.overrides[SHARE_KEY]), dict(record.widths or {}), sign * record.value)
        for record in records
        if record.outcome == TrialOutcome.COMPLETE
        and record.value is not None
        and SHARE_KEY in record.overrides
    ]
    same = [(share, value) for share, each, value in trained if each == dict(widths)]
    law: PowerLaw | NoLaw | None = None
    if same:
        shares, values = (np.array(column) for column in zip(*same, strict=True))
        unit = 1.0 if rows is None else float(rows)
        law = fit_power_law(shares * unit, values, what="rows")
    full = 1.0 if rows is None else float(rows)
    return RowsDiagnosis(
        study=study,
        law=law,
        doubling=law.gain(full, 2.0) if isinstance(law, PowerLaw) else None,
        wider=_measured_wider(trained, widths) or wider,
        rows=rows,
        metric=metric,
    )


def _measured_wider(
    trained: Sequence[tuple[float, Mapping[str, int], float]], widths: Mapping[str, int]
) -> Effect | None:
    """Return what twice the width has over the recommended network, both on all rows.

    The interval is Welch's (Biometrika 34, 1947) of the difference of two means.
    """
    from scipy.stats import t as t_distribution

    from .interval import TAIL

    own = [value for share, each, value in trained if share == 1.0 and each == dict(widths)]
    wide = [
        value
        for share, each, value in trained
        if share == 1.0
        and all(each.get(name, 0) >= width for name, width in widths.items())
        and each != dict(widths)
    ]
    if min(len(own), len(wide)) < 2:
        return None
    parts = [np.var(values, ddof=1) / len(values) for values in (own, wide)]
    difference, variance = float(np.mean(wide) - np.mean(own)), float(sum(parts))
    if variance <= 0:
        return Effect(
            mean=difference,
            low=difference,
            high=difference,
            probability_positive=float(difference > 0),
        )
    freedom = variance**2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (own, wide), strict=True)
    )
    spread = float(t_distribution.ppf(1.0 - TAIL, freedom)) * variance**0.5
    return Effect(
        mean=difference,
        low=difference - spread,
        high=difference + spread,
        probability_positive=float(t_distribution.cdf(difference / variance**0.5, freedom)),
    )
