"""Workers that are forks of this process: where they can be, and how they end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import widthwise
from torch import nn
from widthwise.search.errors import SpecError
from widthwise.search.fleet.forked_worker import ForkedWorker, check_fork
from widthwise.search.worker.options import FleetWorkerOptions
from widthwise.storage.database.database import resolve_url


@pytest.mark.parametrize(
    ("device", "threads", "sentence"),
    [
        ("cuda", 1, 'the device is "cuda", which a fork of this program cannot use'),
        ("cuda:1", 1, 'the device is "cuda:1"'),
        ("cpu", 2, "threads: found 2, but workers that are forks of this program train on one"),
    ],
)
def test_where_no_fork_can_be_a_sentence_says_so(device: str, threads: int, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence) as caught:
        check_fork(device, threads)
    assert "define the functions in a module, which workers can import" in str(caught.value)


def test_a_fork_on_the_cpu_is_fine() -> None:
    check_fork("cpu", 1)


def ended(worker: ForkedWorker) -> Any:
    deadline = time.monotonic() + 60
    while (worker_exit := worker.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return worker_exit


def test_a_worker_whose_study_is_not_there_says_so_with_its_exit_code(tmp_path: Path) -> None:
    url = resolve_url(f"sqlite:///{tmp_path / 'none.db'}")
    worker = ForkedWorker(url, "none", FleetWorkerOptions())
    worker_exit = ended(worker)
    worker.close()
    assert worker_exit.exit_code == 69
    assert worker_exit.message.startswith("error: ")


GIVEN: Mapping[str, Any] = {
    "widths": {"a": [2, 4, 8, 16]},
    "data": "iris",
    "trials": 4,
    "epochs": 2,
    "folds": 1,
    "batch_size": 32,
    "learning_rate": 0.05,
    "engine": "plain",
    "at_once": 1,
    "parametrisation": "standard",
    "workers": 2,
    "lease": 2.0,
    "confirm": False,
    "progress": False,
    "untrained_ok": True,
}


def closure(effect: Callable[[int], None] = lambda _width: None) -> Callable[..., nn.Module]:
    class Net(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.width = width
            self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

        def forward(self, x: Any) -> Any:
            if os.getpid() != parent:
                effect(self.width)
            return self.layers(x)

    parent = os.getpid()
    return lambda widths: Net(widths["a"])


@pytest.mark.slow
def test_forks_know_how_many_share_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WIDTHWISE_DEVICE_WORKERS", raising=False)

    def note(_width: int) -> None:
        told = os.environ.get("WIDTHWISE_DEVICE_WORKERS", "")
        (tmp_path / f"told {os.getpid()}").write_text(told)

    widthwise.search(**{**GIVEN, "build": closure(note)})
    assert {file.read_text() for file in tmp_path.glob("told *")} == {"2"}
    assert "WIDTHWISE_DEVICE_WORKERS" not in os.environ


@pytest.mark.slow
def test_what_kills_a_fork_leaves_this_process_and_the_budget_alone(tmp_path: Path) -> None:
    once = tmp_path / "once"

    def die(width: int) -> None:
        if width == 4 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    # The other worker waits for the lease of the dead one's trial, and trains that.
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    result = widthwise.search(**GIVEN, build=closure(die), storage=storage, name="forks")
    assert once.exists()
    assert (result.table["outcome"] == "complete").all()
    assert sorted(result.table["a"]) == [2, 4, 8, 16]
