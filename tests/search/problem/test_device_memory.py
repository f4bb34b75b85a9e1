"""How many candidates fit into memory: what the system says of this machine and container."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import torch
from widthwise.search.problem.device_memory import (
    HostMemory,
    candidates_in_memory,
    classify_device,
    free_memory,
)

CPU = torch.device("cpu")
GIB = 1 << 30
MIB = 1 << 20
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class Machine(NamedTuple):
    total: int
    available: int


def ask_nobody() -> Machine:
    raise OSError("no such file")


@pytest.fixture
def host(tmp_path: Path) -> HostMemory:
    """A machine with 8 GiB available, and no container."""
    return HostMemory(read_machine=lambda: Machine(16 * GIB, 8 * GIB), cgroup=tmp_path)


def contain(host: HostMemory, limit: str, used: int, stat: str = "") -> None:
    (host.cgroup / "memory.max").write_text(f"{limit}\n")
    (host.cgroup / "memory.current").write_text(f"{used}\n")
    (host.cgroup / "memory.stat").write_text(stat)


def test_a_machine_without_a_container_has_what_is_available(host: HostMemory) -> None:
    assert free_memory(CPU, host) == 8 * GIB


def test_this_machine_is_asked_through_psutil() -> None:
    free = free_memory(CPU)
    assert free is not None
    assert 0 < free <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [
        (str(2 * GIB), GIB, GIB),
        (str(64 * GIB), GIB, 8 * GIB),
        ("max", GIB, 8 * GIB),
        (str(GIB), 2 * GIB, 0),
    ],
    ids=["tight", "wide", "without limit", "overdrawn"],
)
def test_a_containers_limit_counts_too(host: HostMemory, limit: str, used: int, free: int) -> None:
    contain(host, limit, used)
    assert free_memory(CPU, host) == free


def test_pages_of_files_that_can_be_given_up_are_free(host: HostMemory) -> None:
    contain(host, str(2 * GIB), 2 * GIB, f"anon 5\ninactive_file {GIB}\nactive_file 7\n")
    assert free_memory(CPU, host) == GIB


def test_a_system_that_says_nothing_bounds_nothing(tmp_path: Path) -> None:
    host = HostMemory(read_machine=ask_nobody, cgroup=tmp_path)
    assert free_memory(CPU, host) is None
    assert candidates_in_memory(1000, free_memory(CPU, host)) is None


@pytest.mark.parametrize(
    ("largest", "together"),
    [(None, None), (GIB, 4), (8 * GIB, 1), (100 * GIB, 1), (8 * GIB // 100, 60)],
)
def test_so_many_fit_into_six_tenths(largest: int | None, together: int | None) -> None:
    assert candidates_in_memory(largest, 8 * GIB) == together


def limit_process(limit: int | None) -> Callable[[int], tuple[int, int]]:
    limits = {resource.RLIMIT_AS: UNLIMITED if limit is None else (limit, limit)}
    return lambda kind: limits.get(kind, UNLIMITED)


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
    tmp_path: Path, total: int | None, container: str | None, process: int | None, name: str
) -> None:
    if container is not None:
        (tmp_path / "memory.max").write_text(f"{container}\n")
    host = HostMemory(
        read_machine=ask_nobody if total is None else lambda: Machine(total, 1024),
        cgroup=tmp_path,
        read_process_limit=limit_process(process),
    )
    assert classify_device(CPU, host) == name


def test_the_class_of_a_gpu_is_its_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        total_memory = 150_019_440_640

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties())
    assert classify_device(torch.device("cuda")) == "cuda: NVIDIA H200, 140 GiB"
