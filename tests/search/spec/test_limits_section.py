"""The limits of a spec: numbers with their units, and shares of what a reference costs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from widthwise.objectives.cost.registry import LIMITABLE_COSTS
from widthwise.search.space.limits import Limits
from widthwise.search.spec.limits_section import LimitsSection


def test_there_is_a_key_for_each_limitable_cost() -> None:
    keys = tuple(key for key in LimitsSection.model_fields if key != "memory_for")
    assert keys == tuple(cost.name for cost in LIMITABLE_COSTS)
    assert keys == (
        *("flops", "macs", "parameters", "train_memory", "inference_memory", "file_size"),
        "latency",
    )


def test_what_memory_is_counted_for_is_no_bound() -> None:
    section = LimitsSection(train_memory="64 MiB", memory_for="cuda")
    assert section.bounds == {"train_memory": 2**26}
    assert section.resolve({}).memory_for == "cuda"
    assert "memory_for" not in LimitsSection().model_dump(exclude_none=True)


def test_memory_for_a_device_that_is_none() -> None:
    with pytest.raises(ValidationError, match='found "gpu", expected "cpu", "cuda" or'):
        LimitsSection(memory_for="gpu")


def test_limits_are_read_in_their_units() -> None:
    section = LimitsSection(flops="2M", train_memory="64 MiB", file_size="1 kB", latency="5 ms")
    assert section.to_limits() == Limits(flops=2_000_000, train_memory=2**26, file_size=1000)
    assert section.counted_limits == ("flops", "train_memory", "file_size")
    assert section.measured_limits == {"latency": 0.005}


def test_what_is_stored_can_be_read_again() -> None:
    section = LimitsSection(parameters="60% of today", latency="200 us")
    assert section.model_dump_json(exclude_none=True) == (
        '{"parameters":"60% of today","latency":"0.0002 s"}'
    )
    stored = LimitsSection.model_validate_json(section.model_dump_json(), strict=False)
    assert stored == section


def test_shares_of_a_reference_become_numbers() -> None:
    section = LimitsSection(flops="60% of today", parameters="100 % of big", macs="1k")
    assert section.relative_bounds == {"flops": (0.6, "today"), "parameters": (1.0, "big")}
    resolved = section.resolve({"today": {"flops": 1001}, "big": {"parameters": 77}})
    assert resolved.to_limits().as_dict() == {"flops": 600, "macs": 1000, "parameters": 77}


def test_a_measured_limit_is_no_share() -> None:
    with pytest.raises(ValidationError, match="not a length of time"):
        LimitsSection(latency="50% of today")
