"""How many candidates fit into memory: what the kernel says of this machine and container."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from widthwise.search.problem import device_memory
from widthwise.search.problem.device_memory import (
    candidates_in_memory,
    classify_device,
    free_memory,
)

CPU = torch.device("cpu")
GIB = 1 << 30


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the kernel's tables: 8 GiB available, no container."""
    monkeypatch.setattr(device_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(device_memory, "_CGROUP", tmp_path)
    (tmp_path / "meminfo").write_text(
        f"MemTotal:       16777216 kB\nMemFree:  12 kB\nMemAvailable:   {8 * GIB >> 10} kB\n"
    )
    return tmp_path


def contain(kernel: Path, limit: str, used: int, stat: str = "") -> None:
    (kernel / "memory.max").write_text(f"{limit}\n")
    (kernel / "memory.current").write_text(f"{used}\n")
    (kernel / "memory.stat").write_text(stat)


def test_a_machine_without_a_container_has_what_is_available(kernel: Path) -> None:
    assert free_memory(CPU) == 8 * GIB


@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [
        (str(2 * GIB), GIB, GIB),
        (str(64 * GIB), GIB, 8 * GIB),
        ("max", GIB, 8 * GIB),
        (str(GIB), 2 * GIB, 0),
    ],
    ids=["tight", "wide", "without limit", "overdrawn"],
)
def test_a_containers_limit_counts_too(kernel: Path, limit: str, used: int, left: int) -> None:
    contain(kernel, limit, used)
    assert free_memory(CPU) == left


def test_pages_of_files_that_can_be_given_up_are_free(kernel: Path) -> None:
    contain(kernel, str(2 * GIB), 2 * GIB, f"anon 5\ninactive_file {GIB}\nactive_file 7\n")
    assert free_memory(CPU) == GIB


def test_a_system_that_says_nothing_bounds_nothing(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kernel / "meminfo").unlink()

    def unknown(_: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(device_memory.os, "sysconf", unknown)
    assert free_memory(CPU) is None
    assert candidates_in_memory(1000, CPU) is None


def test_a_system_without_the_table_is_asked_for_its_free_pages(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kernel / "meminfo").unlink()
    monkeypatch.setattr(
        device_memory.os, "sysconf", {"SC_AVPHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__
    )
    assert free_memory(CPU) == 4_096_000


@pytest.mark.parametrize(
    ("largest", "together"),
    [(None, None), (GIB, 4), (8 * GIB, 1), (100 * GIB, 1), (8 * GIB // 100, 60)],
)
def test_so_many_fit_into_six_tenths(
    kernel: Path, largest: int | None, together: int | None
) -> None:
    assert candidates_in_memory(largest, CPU) == together


MIB = 1 << 20
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what the kernel says: bytes of memory, of the container, and of the process."""
    monkeypatch.setattr(device_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(device_memory, "_CGROUP", tmp_path)

    def set_memory(
        total: int | None, container: str | None = None, process: int | None = None
    ) -> None:
        if total is not None:
            (tmp_path / "meminfo").write_text(f"MemTotal: {total >> 10} kB\nMemAvailable: 1 kB\n")
        if container is not None:
            (tmp_path / "memory.max").write_text(f"{container}\n")
        limits = {resource.RLIMIT_AS: UNLIMITED if process is None else (process, process)}
        monkeypatch.setattr(
            device_memory.resource, "getrlimit", lambda kind: limits.get(kind, UNLIMITED)
        )

    return set_memory


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
    assert classify_device(CPU) == name


def test_the_class_of_a_gpu_is_its_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        total_memory = 150_019_440_640

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties())
    assert classify_device(torch.device("cuda")) == "cuda: NVIDIA H200, 140 GiB"
