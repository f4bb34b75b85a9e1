"""A training may take its process down; the worker that holds the lease goes on."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from .command import CommandStudy

SPEC = """\
study = {{ name = "deadly", trials = {trials} }}
model = {{ build = "deadly.py:build" }}
widths = {{ a = {{ low = 2, high = 5 }} }}
proxy = {{ data = "deadly_data.py:load", epochs = {epochs}, batch_size = 32, patience = 0, \
at_once = {at_once}, engine = "plain", parametrisation = "standard" }}
"""
MODEL = """\
import asyncio, ctypes, os, time
from torch import nn

class Abort(BaseException):
    pass

class Deadly(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        # A short last batch is seen in training only, neither traced nor checked beforehand.
        if self.width in {trouble} and self.training and len(x) == 16:
            {fault}
        return self.layers(x)

def build(widths):
    return Deadly(widths["a"])
"""
DATA = """\
import torch

def load():
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, :3].argmax(1)
    return x[:48], y[:48], x[48:72], y[48:72], x[72:], y[72:]
"""
SEGMENTATION_FAULT = "ctypes.string_at(0)"
EXIT = "os._exit(3)"
USER_CODE_PROMISE = "user code ends only its trial"
# Its process is written down, and it outlives whoever started it.
LEAVES_A_PROCESS = "os.system('(sleep 600 & echo $! >> helpers)'); time.sleep(0.3)"
HOLDS_THE_LOCK = "ctypes.PyDLL(None).usleep(3_100_000)"


class DeadlyStudy(CommandStudy):
    """The study `deadly`."""

    def write(
        self, fault: str, trouble: set[int], *, trials: int = 4, epochs: int = 2, at_once: int = 1
    ) -> None:
        """Write the study's files, and put it into the database."""
        (self.folder / "deadly.py").write_text(MODEL.format(fault=fault, trouble=trouble))
        (self.folder / "deadly_data.py").write_text(DATA)
        text = SPEC.format(trials=trials, epochs=epochs, at_once=at_once)
        (self.folder / "deadly.toml").write_text(text)
        self.submit("deadly.toml")


@pytest.fixture
def study(tmp_path: Path) -> DeadlyStudy:
    return DeadlyStudy(tmp_path, "deadly")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("fault", "message", "at_once"),
    [
        pytest.param(
            *(SEGMENTATION_FAULT, "SIGSEGV", 1),
            id="segmentation fault",
            marks=pytest.mark.promise("OOM and poison"),
        ),
        pytest.param(EXIT, "code 3", 3, id="exit among three"),
        *(
            pytest.param(
                fault, message, at_once, id=name, marks=pytest.mark.promise(USER_CODE_PROMISE)
            )
            for name, fault, message, at_once in (
                ("cancelled", "raise asyncio.CancelledError", "CancelledError", 1),
                ("interrupted among three", "raise KeyboardInterrupt", "KeyboardInterrupt", 3),
                ("an ending of its own", "raise Abort('enough')", "Abort: enough", 1),
            )
        ),
    ],
)
def test_a_trial_that_kills_its_process_is_tried_three_times_and_given_up(
    study: DeadlyStudy, record_counts: Callable[..., None], fault: str, message: str, at_once: int
) -> None:
    study.write(fault, {3}, at_once=at_once)
    worked = study.run_in_process("worker", "deadly")
    assert worked.code == 0, worked.err
    report = study.report()
    assert report["trials"] == {
        "complete": 3,
        "running": 0,
        "failed": 1,
        "pruned": 0,
        "waiting": 0,
    }
    (failure,) = report["failures"]
    assert (failure["outcome"], failure["widths"]) == ("error", {"a": 3})
    assert message in failure["reason"]
    assert {trial["widths"]["a"] for trial in report["history"]} == {2, 4, 5}
    record_counts(**study.audit(), quarantined=1)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.promise("heartbeats are independent")
def test_a_training_that_holds_the_interpreters_lock_keeps_its_lease(
    study: DeadlyStudy, record_counts: Callable[..., None]
) -> None:
    study.write(HOLDS_THE_LOCK, {2, 3, 4, 5}, trials=2, epochs=2)
    worked = study.run_in_process("resume", "deadly", "--workers", "2", "--lease", "1")
    assert worked.code == 0, worked.err
    kinds = study.event_kinds()
    assert "reclaimed" not in kinds
    assert kinds.count("claimed") == kinds.count("done") == 2
    figures = study.audit()
    assert (figures["complete"], figures["running"], figures["duplicates"], figures["lost"]) == (
        2,
        0,
        0,
        0,
    )
    record_counts(**figures)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.promise("no process is left behind")
@pytest.mark.parametrize("victim", ["trainer", "worker"])
def test_what_a_training_started_ends_with_its_trainer(
    study: DeadlyStudy, record_counts: Callable[..., None], victim: str
) -> None:
    """It holds the trainer's pipes open, and yet the trial goes on in another process at once."""
    study.write(LEAVES_A_PROCESS, {2, 3, 4, 5}, trials=2, epochs=6)
    helpers = study.folder / "helpers"
    worker = study.start("worker", "deadly", "--lease", "3")
    study.wait_until(worker, lambda: helpers.exists() and helpers.read_text().endswith("\n"))
    if victim == "trainer":
        [trainer] = psutil.Process(worker.pid).children()
        trainer.kill()
    else:
        worker.kill()
        worker.communicate()
        worker = study.start("worker", "deadly", "--lease", "3")
    _, err = worker.communicate(timeout=240)
    assert worker.returncode == 0, err
    figures = study.audit()
    assert (figures["complete"], figures["running"]) == (2, 0)
    started = [int(line) for line in helpers.read_text().splitlines()]
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in started if psutil.pid_exists(pid)], timeout=30
    )
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert len(started) >= 12
    record_counts(**figures, helpers=len(started))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_killed_trainer_is_replaced(study: DeadlyStudy) -> None:
    study.write("time.sleep(0.3)", {2, 3, 4, 5}, trials=2, epochs=6)
    worker = study.start("worker", "deadly")
    trainer = wait_for_trainer(study, worker)
    trainer.kill()
    _, err = worker.communicate(timeout=240)
    assert worker.returncode == 0, err
    report = study.report()
    assert report["trials"]["complete"] == 2
    assert "failed" in study.event_kinds()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_stop_waits_no_longer_than_the_grace_it_was_given(study: DeadlyStudy) -> None:
    study.write("time.sleep(60)", {2, 3, 4, 5}, trials=2, epochs=6)
    run = study.start("resume", "deadly", "--lease", "1")
    trainer = wait_for_trainer(study, run)
    worker = trainer.parent()
    assert worker is not None
    worker.kill()
    _, alive = psutil.wait_procs([trainer], timeout=30)
    assert not alive, "the trainer outlived its worker"
    run.communicate(timeout=240)
    lone_worker = study.start("worker", "deadly", "--grace", "1", "--lease", "2")
    trainer = wait_for_trainer(study, lone_worker, claims=2)
    lone_worker.send_signal(signal.SIGTERM)
    _, err = lone_worker.communicate(timeout=60)
    assert lone_worker.returncode == 75, err
    assert not trainer.is_running()
    assert "leased" not in study.slot_states()


def wait_for_trainer(
    study: DeadlyStudy, process: subprocess.Popen[str], claims: int = 1
) -> psutil.Process:
    """Wait until so many slots were claimed and one is in training; returns what trains it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if sum("claimed" in kind for kind in study.event_kinds()) >= claims:
            for child in psutil.Process(process.pid).children(recursive=True):
                if any("trainer" in part for part in child.cmdline()):
                    time.sleep(0.5)
                    return child
        time.sleep(0.05)
    raise AssertionError(f"no training began: {study.slot_states()}")
