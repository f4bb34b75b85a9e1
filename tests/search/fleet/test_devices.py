"""How many workers a fleet has, and which GPU each of them gets; the list of devices is made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from widthwise.search.fleet.devices import (
    assign_workers,
    auto_worker_count,
    describe_assignment,
    usable_cpus,
)

ALL = None
GIB = 2**30


def never() -> int:
    raise AssertionError("nobody need count")


@pytest.mark.parametrize(
    ("workers", "environment", "count", "gpus"),
    [
        (4, {}, 4, ["0", "1", "2", "3"]),
        (2, {}, 4, ["0", "1"]),
        (5, {}, 2, ["0", "1", "0", "1", "0"]),
        (3, {}, 1, [ALL] * 3),
        (2, {}, 0, [ALL] * 2),
        (3, {"CUDA_VISIBLE_DEVICES": "2,5"}, None, ["2", "5", "2"]),
        (2, {"CUDA_VISIBLE_DEVICES": "GPU-8e2a, MIG-1/0/0"}, None, ["GPU-8e2a", "MIG-1/0/0"]),
        (2, {"CUDA_VISIBLE_DEVICES": "3"}, None, [ALL] * 2),
        (2, {"CUDA_VISIBLE_DEVICES": ""}, None, [ALL] * 2),
        (2, {"CUDA_VISIBLE_DEVICES": "-1"}, None, [ALL] * 2),
        (3, {"CUDA_VISIBLE_DEVICES": "1,0,-1,2"}, None, ["1", "0", "1"]),
        # Slurm's own numbers of a step are no names to CUDA within its control group.
        (2, {"SLURM_STEP_GPUS": "6", "CUDA_VISIBLE_DEVICES": "0"}, None, [ALL] * 2),
    ],
    ids=str,
)
def test_workers_take_the_gpus_in_turn(workers, environment, count, gpus):
    counter = never if count is None else lambda: count
    devices = assign_workers("cuda", workers, environment, counter)
    assert [device.gpu for device in devices] == gpus


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_a_device_that_is_named_is_for_all(device):
    devices = assign_workers(device, 3, {}, never)
    assert [(assigned.gpu, assigned.sharing) for assigned in devices] == [(ALL, 3)] * 3


def test_six_workers_on_four_gpus():
    devices = assign_workers("cuda", 6, {}, lambda: 4)
    assert [(device.gpu, device.sharing) for device in devices] == [
        ("0", 2),
        ("1", 2),
        ("2", 1),
        ("3", 1),
        ("0", 2),
        ("1", 2),
    ]
    assert devices[4].environment() == {
        "CUDA_VISIBLE_DEVICES": "0",
        "WIDTHWISE_DEVICE_WORKERS": "2",
    }
    line = describe_assignment(devices, "cuda", 1)
    assert line is not None
    assert line.startswith("GPU 0: workers 1, 5; GPU 1: workers 2, 6; GPU 2: worker 3; GPU 3: ")
    assert "more than 1 on a GPU (--workers-per-gpu): they share its memory" in line
    meant = describe_assignment(devices, "cuda", 2)
    assert meant is not None
    assert "more than" not in meant


def test_one_gpu_for_several_is_said():
    devices = assign_workers("cuda", 3, {}, lambda: 1)
    assert describe_assignment(devices, "cuda", 1) == (
        "GPU: workers 1, 2, 3; more than 1 on a GPU (--workers-per-gpu): they share its memory"
    )
    assert describe_assignment(assign_workers("cuda", 1, {}, lambda: 1), "cuda", 1) is None
    assert describe_assignment(assign_workers("cpu", 4, {}, never), "cpu", 1) is None


@pytest.mark.parametrize(
    ("device", "environment", "per_gpu", "expected"),
    [
        ("cuda", {}, 1, 4),
        ("cuda", {}, 2, 8),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "GPU-1a,GPU-2b"}, 1, 2),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "-1"}, 1, 1),
        ("cuda:1", {}, 3, 3),
        ("mps", {}, 1, 1),
        ("cpu", {}, 1, 8),
    ],
    ids=str,
)
def test_auto_counts_what_there_is(device, environment, per_gpu, expected):
    counted = auto_worker_count(
        device,
        environment,
        threads=2,
        workers_per_gpu=per_gpu,
        gpu_count=lambda: 4,
        cpu_count=lambda: 16,
        free_bytes=lambda: 64 * GIB,
    )
    assert counted == expected


@pytest.mark.parametrize(
    ("cpus", "free", "expected"),
    [(16, 3 * GIB, 3), (16, None, 4), (2, 64 * GIB, 1), (16, GIB // 2, 1)],
    ids=["memory", "unknown", "fewer than threads", "hardly any memory"],
)
def test_auto_on_a_cpu_is_what_cpus_and_memory_take(cpus, free, expected):
    counted = auto_worker_count(
        "cpu",
        {},
        threads=4,
        workers_per_gpu=1,
        gpu_count=never,
        cpu_count=lambda: cpus,
        free_bytes=lambda: free,
    )
    assert counted == expected


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("damaged", None)],
)
def test_a_containers_quota_bounds_the_cpus(tmp_path: Path, quota: str, expected: int | None):
    file = tmp_path / "cpu.max"
    file.write_text(f"{quota}\n")
    own = len(os.sched_getaffinity(0))
    assert usable_cpus(file) == (own if expected is None else expected)
    assert usable_cpus(tmp_path / "none") == own
