"""Which GPU each worker gets."""

from __future__ import annotations

import pytest
from widthwise.search.fleet.devices import assign_gpus, describe_assignment

ALL = None


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
        (3, {"CUDA_VISIBLE_DEVICES": "1,0,-1,2"}, None, ["1", "0", "1"]),
    ],
    ids=str,
)
def test_workers_take_the_gpus_in_turn(workers, environment, count, gpus):
    counter = never if count is None else lambda: count
    assert assign_gpus("cuda", workers, environment, counter) == gpus


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_a_device_that_is_named_is_for_all(device):
    assert assign_gpus(device, 3, {}, never) == [ALL] * 3


def test_the_assignment_in_words():
    assert describe_assignment(["0", "1", "0"]) == "GPU 0: workers 1, 3; GPU 1: worker 2"
    assert describe_assignment([None, None]) is None
