"""What each of several workers on a device plans with: GPUs and their figures are made up."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import torch
from widthwise.search.fleet.devices import assign_workers
from widthwise.search.problem.device_memory import HostMemory, candidates_in_memory
from widthwise.search.problem.memory_share import (
    MemoryShare,
    device_label,
    gpu_identity,
    held_by,
    siblings_on_device,
)
from widthwise.storage.study.workers import WorkerActivity, WorkerRow

CPU, GPU = torch.device("cpu"), torch.device("cuda")
GIB = 1 << 30


class Machine(NamedTuple):
    total: int
    available: int


@dataclass
class Properties:
    total_memory: int = 80 * GIB
    uuid: str = "8e2a41c7-0000-0000-0000-000000000000"


@pytest.fixture
def host(tmp_path: Path) -> HostMemory:
    """A machine of 16 GiB with 8 available, and no container."""
    return HostMemory(read_machine=lambda: Machine(16 * GIB, 8 * GIB), cgroup=tmp_path)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU of 80 GiB with 60 GiB free."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (60 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: Properties())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


def worker(**changes: object) -> WorkerRow:
    row = WorkerRow(
        name="other",
        host="here",
        pid=1,
        device="cpu: 16 GiB",
        study=None,
        activity=WorkerActivity.TRAINING,
        trials=(),
        version="0",
        age_seconds=0.0,
        alive=True,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def test_whoever_is_alone_plans_with_what_is_free(host: HostMemory) -> None:
    assert MemoryShare.measure(CPU, [], host).part(1) == 8 * GIB


def test_workers_of_a_machine_share_what_is_free(host: HostMemory) -> None:
    assert MemoryShare.measure(CPU, [], host).part(4) == 2 * GIB


def test_what_siblings_hold_is_not_counted_twice(host: HostMemory) -> None:
    own_bytes = psutil.Process().memory_info().rss
    share = MemoryShare.measure(CPU, [worker(pid=os.getpid())], host)
    assert share.pool is not None
    assert share.free == 8 * GIB
    assert share.pool == pytest.approx(8 * GIB + own_bytes, rel=0.02)
    assert share.part(2) == share.pool // 2


def test_a_pool_is_never_more_than_the_machine_has(tmp_path: Path) -> None:
    nearly_all = HostMemory(read_machine=lambda: Machine(GIB, GIB - 1), cgroup=tmp_path)
    assert MemoryShare.measure(CPU, [worker(pid=os.getpid())], nearly_all).pool == GIB


def test_a_worker_that_has_ended_holds_nothing() -> None:
    assert held_by([2**22 + 1]) == 0


def test_a_machine_that_says_nothing_bounds_nothing(tmp_path: Path) -> None:
    def silent() -> Machine:
        raise OSError("no such file")

    unknown = HostMemory(read_machine=silent, cgroup=tmp_path)
    assert MemoryShare.measure(CPU, [], unknown).part(3) is None


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("workers", "part"), [(1, 60), (2, 40), (4, 20), (8, 10)])
def test_workers_of_a_gpu_share_all_of_it(workers: int, part: int) -> None:
    assert MemoryShare.measure(GPU, []).part(workers) == part * GIB


@pytest.mark.usefixtures("gpu")
def test_six_workers_on_four_gpus_plan_with_no_more_than_there_is() -> None:
    """GPUs 0 and 1 have two workers each, 2 and 3 one: 40 GiB for each, or the 60 that are free."""
    devices = assign_workers("cuda", 6, {}, lambda: 4)
    parts = [MemoryShare.measure(GPU, []).part(device.sharing) for device in devices]
    assert parts == [40 * GIB, 40 * GIB, 60 * GIB, 60 * GIB, 40 * GIB, 40 * GIB]
    # 60 % of a part, in candidates of 1 GiB.
    assert [candidates_in_memory(GIB, part) for part in parts] == [24, 24, 36, 36, 24, 24]


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"host": "elsewhere"}, False),
        ({"device": "cuda: H200, 80 GiB, GPU-1"}, False),
        ({"device": None}, False),
        ({"alive": False}, False),
        ({"name": "mine"}, False),
    ],
    ids=str,
)
def test_siblings_are_alive_on_the_same_host_and_device(
    changes: dict[str, object], counts: bool
) -> None:
    found = siblings_on_device(
        [worker(**changes)], own_name="mine", label="cpu: 16 GiB", host="here"
    )
    assert len(found) == counts


def test_the_label_of_a_cpu_is_its_class(host: HostMemory) -> None:
    assert device_label(CPU, host) == "cpu: 16 GiB"


@pytest.mark.usefixtures("gpu")
def test_the_label_of_a_gpu_says_which_it_is() -> None:
    assert device_label(GPU, environment={}) == "cuda: NVIDIA H200, 80 GiB, GPU-8e2a41c7"


@pytest.mark.parametrize(
    ("index", "uuid", "visible", "identity"),
    [
        (0, "8e2a41c7-11", "", "GPU-8e2a41c7"),
        (0, "GPU-8e2a41c7-11", "3", "GPU-8e2a41c7"),
        (1, "8e2a41c7-11", "MIG-a, MIG-b", "MIG-b"),
        (1, None, "4,6", "GPU 6"),
        (2, None, "", "GPU 2"),
    ],
    ids=str,
)
def test_what_tells_a_gpu_from_the_others(
    index: int, uuid: str | None, visible: str, identity: str
) -> None:
    assert gpu_identity(index, uuid, {"CUDA_VISIBLE_DEVICES": visible}) == identity
