"""How many workers share a device, as a variable says it."""

from __future__ import annotations

import pytest
from widthwise.objectives.device_workers import device_workers


@pytest.mark.parametrize(
    ("value", "workers"),
    [(None, 1), ("", 1), ("1", 1), ("6", 6), ("0", 1), ("-2", 1), ("many", 1), ("²", 1)],
    ids=str,
)
def test_the_variable_is_a_number_or_nothing(value: str | None, workers: int) -> None:
    environment = {} if value is None else {"WIDTHWISE_DEVICE_WORKERS": value}
    assert device_workers(environment) == workers
