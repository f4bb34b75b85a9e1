"""More data or more width, from a learning curve as records of a follow-up study hold it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from widthwise.search.report.diagnosis.interval import Effect
from widthwise.search.report.diagnosis.power_law import NoLaw, PowerLaw
from widthwise.search.report.diagnosis.rows import RowsDiagnosis, diagnose_rows
from widthwise.storage.ledger.slot import SlotRecord
from widthwise.tests.search.report.diagnosis.planted import make_record

WIDTHS = {"h1": 64, "h2": 32}
DOUBLE = {"h1": 128, "h2": 64}
SHARES = (0.1, 0.25, 0.5, 1.0)
ROWS, EXPONENT, AMPLITUDE, NOISE = 1_000, 0.6, 1.6, 0.003
TRUE_GAIN = AMPLITUDE * ROWS**-EXPONENT * (1 - 2**-EXPONENT)


def curve(seed: int, *, wide_gain: float = 0.0, seeds: int = 4) -> list[SlotRecord]:
    rng = np.random.default_rng(seed)
    plans = [(WIDTHS, share, 0.0) for share in SHARES] + [(DOUBLE, 1.0, wide_gain)]
    return [
        replace(
            make_record(
                number,
                widths,
                0.95 - AMPLITUDE * (share * ROWS) ** -EXPONENT + gain + rng.normal(0, NOISE),
                {},
            ),
            overrides={"proxy.train_share": share},
        )
        for number, (widths, share, gain) in enumerate(plans * seeds)
    ]


def diagnose(
    records: list[SlotRecord], wider: Effect | None = None, rows: int | None = ROWS
) -> RowsDiagnosis:
    return diagnose_rows("digits", records, WIDTHS, wider, sign=1.0, rows=rows, metric="accuracy")


def test_a_planted_learning_curve_is_within_its_interval() -> None:
    exponents, gains = [], []
    for seed in range(20):
        found = diagnose(curve(seed))
        assert isinstance(found.law, PowerLaw)
        assert found.doubling is not None
        exponents.append(found.law.exponent.low <= EXPONENT <= found.law.exponent.high)
        gains.append(found.doubling.low <= TRUE_GAIN <= found.doubling.high)
    assert sum(exponents) >= 18
    assert sum(gains) >= 18


@pytest.mark.parametrize(
    ("wide_gain", "words"),
    [
        (-0.01, "More data rather than more width."),
        (0.04, "More width rather than more data."),
        (0.0085, "neither is clearly the better."),
    ],
    ids=["data", "width", "either"],
)
def test_rows_are_set_against_width(wide_gain: float, words: str) -> None:
    found = diagnose(curve(0, wide_gain=wide_gain))
    assert words in found.sentence()
    assert found.wider is not None
    assert found.wider.low < wide_gain < found.wider.high


def test_the_surrogates_word_counts_where_no_wider_network_was_trained() -> None:
    effect = Effect(mean=0.001, low=-0.001, high=0.003, probability_positive=0.8)
    only_shares = [record for record in curve(0) if record.widths == WIDTHS]
    assert diagnose(only_shares, effect).wider == effect
    assert diagnose(only_shares).wider is None
    assert "twice the width" not in diagnose(only_shares).sentence()


def test_shares_alone_tell_as_much_where_the_rows_are_unknown() -> None:
    by_rows, by_share = diagnose(curve(0)), diagnose(curve(0), rows=None)
    assert by_rows.doubling is not None
    assert by_share.doubling is not None
    assert by_rows.doubling.value == pytest.approx(by_share.doubling.value)


def test_without_a_follow_up_the_command_is_named() -> None:
    found = diagnose([])
    assert "widthwise sweep digits --rows" in found.sentence()
    values = found.to_json()
    assert values == json.loads(json.dumps(values, allow_nan=False))
    assert values["law"] is values["reason"] is values["twice_the_rows"] is None


def test_where_rows_do_not_matter_no_law_is_told() -> None:
    flat = [replace(record, value=0.9) for record in curve(0)]
    noise = np.random.default_rng(0).normal(0, NOISE, len(flat))
    found = diagnose([replace(each, value=0.9 + n) for each, n in zip(flat, noise, strict=True)])
    assert isinstance(found.law, NoLaw)
    assert "does not rise with rows" in found.sentence()
    assert found.to_json()["reason"] == found.law.reason
