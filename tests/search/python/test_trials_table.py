"""The table of trials, from records as the ledger gives them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from widthwise.search.python.trials_table import trials_table
from widthwise.storage.ledger.slot import SlotRecord, SlotState, TrialOutcome


def record(number: int, **changes: Any) -> SlotRecord:
    values: dict[str, Any] = {
        "number": number,
        "state": SlotState.DONE,
        "outcome": TrialOutcome.COMPLETE,
        "widths": {"a": 4},
        "origin": "sampler",
        "value": 0.5,
        "result": {"costs": {"flops": 80}, "seed": 7, "epochs": 3, "reported": {"f1": 0.4}},
        "trial_id": number,
        "worker": "w",
        "attempts": 1,
        "failures": 0,
        "started_at": 0.0,
        "finished_at": 1.0,
        "lease_until": None,
        "paused": False,
        "seed": None,
        "overrides": {},
    }
    return SlotRecord(**{**values, **changes})


def test_a_row_has_widths_metric_costs_and_outcome() -> None:
    table = trials_table([record(1), record(0, value=0.75)], ["a"], "accuracy")
    assert list(table.index) == [0, 1]
    assert table.index.name == "trial"
    row = table.loc[0]
    assert (row["a"], row["accuracy"], row["flops"], row["f1"]) == (4, 0.75, 80, 0.4)
    assert (row["origin"], row["outcome"], row["seed"], row["epochs"]) == (
        "sampler",
        "complete",
        7,
        3,
    )


def test_what_has_no_value_is_nan_and_what_has_no_widths_no_row() -> None:
    failed = record(1, outcome=TrialOutcome.ERROR, value=None, result=None)
    waiting = record(2, state=SlotState.FREE, outcome=None, widths=None, value=None, result=None)
    running = record(3, state=SlotState.LEASED, outcome=None, value=None, result=None)
    table = trials_table([record(0), failed, waiting, running], ["a"], "accuracy")
    assert list(table["outcome"]) == ["complete", "error", "leased"]
    assert math.isnan(table.loc[1, "accuracy"])
    assert math.isnan(table.loc[1, "flops"])


@pytest.mark.parametrize(
    "name",
    [
        *("flops", "spread", "f1", "origin", "outcome"),
        *("test", "train", "epochs", "seconds", "seed"),
    ],
)
def test_a_width_that_is_called_as_another_column_stays_a_width(name: str) -> None:
    table = trials_table([record(0, widths={name: 4})], [name], "accuracy")
    assert table.loc[0, name] == 4
    assert list(table.columns[:2]) == [name, "accuracy"]


def test_no_trials_are_an_empty_table_with_its_columns() -> None:
    table = trials_table([], ["a"], "accuracy")
    assert list(table.columns) == ["a", "accuracy", "origin", "outcome"]
    assert len(table) == 0
