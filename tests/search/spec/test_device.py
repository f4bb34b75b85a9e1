"""Names of devices: what is trained on, and what memory is counted for."""

from __future__ import annotations

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.spec.device import check_device, parse_memory_device, parse_memory_option


@pytest.mark.parametrize(
    ("name", "kind", "capability"),
    [
        ("cpu", "cpu", None),
        ("cuda", "cuda", None),
        ("cuda:9.0", "cuda", (9, 0)),
        ("cuda:12.0", "cuda", (12, 0)),
        ("cuda:8.9", "cuda", (8, 9)),
    ],
)
def test_what_memory_is_counted_for(
    name: str, kind: str, capability: tuple[int, int] | None
) -> None:
    assert parse_memory_device(name) == (kind, capability)
    assert parse_memory_option(name) == name


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:9", "cuda:0.1", "cuda:9.01", "CUDA"])
def test_no_device_that_memory_is_counted_for(name: str) -> None:
    with pytest.raises(SpecError, match=r'--for: found ".*expected "cpu", "cuda" or "cuda:9.0"'):
        parse_memory_option(name)


def test_a_gpu_by_its_number_is_what_is_trained_on() -> None:
    assert check_device("cuda:1") == "cuda:1"
    with pytest.raises(ValueError, match='found "cuda:9'):
        check_device("cuda:9.0")
