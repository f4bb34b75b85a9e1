"""Classes of devices: equal machines are of one class, whatever runs on them at the moment."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from widthwise.search import memory_plan
from widthwise.search.device_class import device_class

CPU = torch.device("cpu")
GIB = 1 << 30
MIB = 1 << 20
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what the kernel says: bytes of memory, of the container, and of the process."""
    monkeypatch.setattr(memory_plan, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory_plan, "_CGROUP", tmp_path)

    def has(total: int | None, container: str | None = None, process: int | None = None) -> None:
        if total is not None:
            (tmp_path / "meminfo").write_text(f"MemTotal: {total >> 10} kB\nMemAvailable: 1 kB\n")
        if container is not None:
            (tmp_path / "memory.max").write_text(f"{container}\n")
        limits = {resource.RLIMIT_AS: UNLIMITED if process is None else (process, process)}
        monkeypatch.setattr(
            memory_plan.resource, "getrlimit", lambda kind: limits.get(kind, UNLIMITED)
        )

    return has


@pytest.mark.parametrize(
    ("total", "container", "process", "name"),
    [
        (24 * GIB, None, None, "cpu: 24 GiB"),
        (24 * GIB - 400 * MIB, None, None, "cpu: 24 GiB"),
        (24 * GIB, "max", None, "cpu: 24 GiB"),
        (24 * GIB, str(8 * GIB), None, "cpu: 8 GiB"),
        (24 * GIB, str(8 * GIB), 5 * GIB, "cpu: 5 GiB"),
        (24 * GIB, str(500 * MIB), None, "cpu: 512 MiB"),
        (24 * GIB, str(1600 * MIB), None, "cpu: 1600 MiB"),
        (None, None, None, "cpu"),
    ],
)
def test_the_class_of_a_cpu_is_what_a_process_may_have(
    machine: Any, total: int | None, container: str | None, process: int | None, name: str
) -> None:
    machine(total, container, process)
    assert device_class(CPU) == name


def test_the_class_of_a_gpu_is_its_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        total_memory = 150_019_440_640

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties())
    assert device_class(torch.device("cuda")) == "cuda: NVIDIA H200, 140 GiB"
