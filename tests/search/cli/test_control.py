"""Studies and trials are paused, continued and cancelled while real workers train them."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

MODEL = """
import time
from pathlib import Path
from torch import nn

class Slow(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        # A short last batch is seen in training only, neither traced nor checked beforehand.
        if self.training and len(x) == 16:
            {what}
        return self.layers(x)

def build(widths):
    return Slow(widths["a"])
"""
DATA = """
import torch

def load():
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, :3].argmax(1)
    return x[:48], y[:48], x[48:72], y[48:72], x[72:], y[72:]
"""
SPEC = """
study = {{ name = "{name}", trials = {trials} }}
model = {{ build = "{name}_model.py:build" }}
widths = {{ a = {{ low = 2, high = 9 }} }}
proxy = {{ data = "data.py:load", epochs = {epochs}, batch_size = 32, patience = 0, at_once = 1, \
parametrisation = "standard", engine = "plain" }}
"""
# Slow for as long as the test wants it.
SLEEP = "time.sleep(0.2 * Path('slow').exists())"
PASS = "pass"
RAISE = "raise RuntimeError('the moon is full')"
# A beat comes every second.
QUICK = ("--lease", "3")


@dataclass
class Studies:
    """Studies on SQLite, and the processes that work on them."""

    cli: Any
    processes: list[subprocess.Popen[str]]

    def write(self, name: str, what: str = SLEEP, *, trials: int = 2, epochs: int = 200) -> str:
        self.cli.write("data.py", DATA)
        self.cli.write("slow", "")
        self.cli.write(f"{name}_model.py", MODEL.format(what=what))
        text = SPEC.format(name=name, trials=trials, epochs=epochs)
        self.cli.write(f"{name}.toml", text)
        return f"{name}.toml"

    def submit(self, name: str, what: str = SLEEP, *arguments: str, **how: Any) -> None:
        self.told("submit", self.write(name, what, **how), *arguments)

    def told(self, *arguments: str) -> Any:
        """What a command does that has to work."""
        ran = self.cli.inside(*arguments)
        assert ran.code == 0, ran.err
        return ran

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = self.cli.start(*arguments, *QUICK)
        self.processes.append(process)
        return process

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.told("status", name, "--json").json
        return found

    def workers(self) -> list[dict[str, Any]]:
        return list(self.told("status", "--workers", "--json").json)

    def events(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.told("status", name, "--json", "--events", "999").json[
            "events"
        ]
        return found

    def holders(self, name: str) -> list[dict[str, Any]]:
        """Who holds a trial; nobody while there is no such study yet."""
        ran = self.cli.inside("status", name, "--json")
        return list(ran.json["workers"]) if ran.code == 0 else []

    def until_training(self, name: str) -> int:
        """Wait until a trial is in training; returns its number."""
        found: list[dict[str, Any]] = []
        until(lambda: bool(found.extend(self.holders(name)) or found), self.processes)
        return int(found[0]["trial"])

    def hurry(self) -> None:
        """Let trainings be quick from now on."""
        (self.cli.folder / "slow").unlink()


def until(true: Callable[[], bool], alive: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 250
    while not true():
        assert time.monotonic() < deadline
        for process in alive:
            assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def trainers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a zombie, too, is one
            if any("trainer" in part for part in child.cmdline()):
                found.append(child)
    return found


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=200)
    return process.returncode, err


@pytest.fixture
def studies(cli: Any) -> Iterator[Studies]:
    found = Studies(cli, [])
    yield found
    for process in found.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_pause_frees_the_device_and_nothing_is_lost_by_it(studies: Studies) -> None:
    run = studies.start("run", studies.write("s"))
    studies.until_training("s")
    studies.told("pause", "s")
    until(lambda: not studies.status("s")["workers"] and not trainers(run), [run])
    paused = studies.status("s")
    assert (paused["status"], paused["trials"]["waiting"]) == ("paused", 2)
    until(lambda: studies.workers()[0]["activity"] == "waiting", [run])
    (worker,) = studies.workers()
    assert (worker["study"], worker["trials"], worker["alive"]) == ("s", [], True)
    studies.told("continue", "s")
    studies.hurry()
    code, err = ended(run)
    assert code == 0, err
    assert "study s is paused" in err
    assert "study s goes on" in err
    assert studies.status("s")["trials"]["complete"] == 2
    kinds = [event["kind"] for event in studies.events("s")]
    assert kinds.count("released") == 1
    assert "failed" not in kinds
    assert studies.workers() == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_cancelled_study_ends_its_run_and_resume_opens_it_again(studies: Studies) -> None:
    run = studies.start("run", studies.write("s", trials=2))
    studies.until_training("s")
    studies.told("cancel", "s")
    code, err = ended(run)
    assert code == 75, err
    assert "cancelled with 0 of 2 trials done" in err
    assert studies.status("s")["trials"]["waiting"] == 2
    # A worker of that study has nothing to do, and says so.
    code, err = ended(studies.start("worker", "s"))
    assert code == 0, err
    assert "was cancelled" in err
    studies.hurry()
    again = studies.cli("resume", "s", "--json", *QUICK)
    assert again.code == 0, again.err
    assert "was cancelled, is open again" in again.err
    assert again.json["trials"]["complete"] == 2


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_one_trial_is_cancelled_and_another_waits_for_its_turn(studies: Studies) -> None:
    run = studies.start("run", studies.write("s", trials=3))
    number = studies.until_training("s")
    studies.told("cancel", "s", "--trial", str(number))
    studies.told("pause", "s", "--trial", "2")
    studies.hurry()
    until(lambda: studies.status("s")["trials"]["complete"] == 1, [run])
    assert studies.status("s")["paused"] == 1
    studies.told("continue", "s", "--trial", "2")
    code, err = ended(run)
    assert code == 0, err
    assert studies.status("s")["trials"] == {
        "complete": 2,
        "running": 0,
        "failed": 0,
        "pruned": 1,
        "waiting": 0,
    }
    refused = studies.cli.inside("pause", "s", "--trial", str(number))
    assert refused.code == 2
    assert "cancelled" in refused.err


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_worker_of_the_pool_serves_what_runs_here_and_drains(studies: Studies) -> None:
    studies.submit("urgent", PASS, "--priority", "3", epochs=1)
    studies.submit("usual", PASS, epochs=1)
    studies.submit("changed", PASS, "--priority", "9", epochs=1)
    studies.submit("failing", RAISE, trials=3, epochs=1)
    with (studies.cli.folder / "changed_model.py").open("a") as file:
        file.write("# another version\n")
    worker = studies.start("worker")
    done = {"urgent": 2, "usual": 2}
    until(
        lambda: (
            all(studies.status(name)["trials"]["complete"] == n for name, n in done.items())
            and studies.events("failing")[-1]["trial"] is None
        ),
        [worker],
    )
    # It stays, and serves what comes.
    studies.submit("late", SLEEP)
    studies.until_training("late")
    worker.send_signal(signal.SIGTERM)
    code, err = ended(worker)
    assert code == 75, err
    assert err.index("trial 0: complete") < err.index("serving usual")
    assert [line for line in err.splitlines() if "changed is set aside" in line]
    assert "fingerprint" in err
    assert [event["kind"] for event in studies.events("changed")] == ["created"]
    last = studies.events("failing")[-1]
    assert (last["kind"], last["trial"]) == ("failed", None)
    assert "in a row" in last["detail"]["error"]
    assert "failing is set aside" in err
    late = studies.status("late")
    assert (late["trials"]["waiting"], late["workers"]) == (2, [])
    assert {"claimed", "released"} <= {event["kind"] for event in studies.events("late")}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_second_ctrl_c_ends_a_worker_of_the_pool_at_once(studies: Studies) -> None:
    studies.submit("s", "time.sleep(100)", trials=1)
    worker = studies.start("worker", "--grace", "90")
    studies.until_training("s")
    worker.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert worker.poll() is None
    worker.send_signal(signal.SIGINT)
    code, _ = ended(worker)
    assert code == 130
    assert studies.status("s")["workers"] == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_worker_waits_for_a_paused_study_and_hears_a_stop(studies: Studies) -> None:
    studies.submit("s")
    studies.told("pause", "s")
    worker = studies.start("worker", "s")
    until(lambda: bool(studies.workers()), [worker])
    assert trainers(worker) == []
    worker.send_signal(signal.SIGTERM)
    code, err = ended(worker)
    assert code == 75, err
    assert [event["kind"] for event in studies.events("s")] == ["created", "paused"]


def test_a_worker_of_the_pool_ends_when_it_was_idle_for_so_long(studies: Studies) -> None:
    studies.told("db", "upgrade")
    code, err = ended(studies.start("worker", "--idle", "0.5"))
    assert code == 0, err
    assert "no work for 0.5 s" in err


def test_a_worker_of_the_pool_ends_when_the_tables_become_another_release_s(
    studies: Studies,
) -> None:
    studies.told("db", "upgrade")
    worker = studies.start("worker")
    until(lambda: bool(studies.workers()), [worker])
    with closing(sqlite3.connect(studies.cli.folder / "study.db")) as connection, connection:
        connection.execute("update widthwise_schema set version = version + 1")
    code, err = ended(worker)
    assert code == 5, err
    assert "schema version" in err


def test_submit_puts_a_study_in_the_queue_and_changes_its_priority(studies: Studies) -> None:
    spec = studies.write("s", PASS)
    first = studies.told("submit", spec, "--priority", "-2", "--json").json
    assert (first["study"], first["status"], first["priority"]) == ("s", "open", -2)
    assert (first["budget"], first["trials"]["waiting"]) == (2, 2)
    studies.told("pause", "s")
    again = studies.told("submit", spec, "--priority", "5", "--trials", "4")
    assert "there already" in again.err
    assert "it is paused: `widthwise continue s`" in again.out
    now = studies.status("s")
    assert (now["priority"], now["status"], now["budget"]) == (5, "paused", 4)
    # Without a priority it keeps the one it has.
    assert studies.told("submit", spec, "--trials", "4", "--json").json["priority"] == 5


def test_pause_continue_and_cancel_say_what_is_so(studies: Studies) -> None:
    studies.submit("s", PASS)
    assert "is paused" in studies.told("pause", "s").out
    assert "is paused" in studies.told("pause", "s").out
    assert "was paused and is open again" in studies.told("continue", "s").out
    assert "was open already" in studies.told("continue", "s").out
    assert "is cancelled" in studies.told("cancel", "s").out
    assert "cancelled │" in studies.told("status").out
    refused = studies.cli.inside("pause", "s")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "widthwise continue s" in refused.err
    studies.told("continue", "s")
    for verb in ("pause", "continue", "cancel", "cancel"):
        assert "trial 1 of s" in studies.told(verb, "s", "--trial", "1").out
    kinds = [event["kind"] for event in studies.events("s") if event["trial"] is None]
    assert kinds == ["created", "paused", "continued", "cancelled", "continued"]
    told = studies.told("status", "s", "--events", "2").out
    assert "trial 1 cancelled by" in told
    assert "no workers" in told


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("pause", "nobody"), ["nobody", "s"]),
        (("continue", "nobody"), ["nobody", "s"]),
        (("cancel", "nobody"), ["nobody", "s"]),
        (("pause", "s", "--trial", "2"), ["no trial 2", "2 trials"]),
        (("cancel", "s", "--trial", "-1"), ["-1", "0 to"]),
        (("continue", "s", "--trial", "first"), ["first", "whole number"]),
        (("pause", "s", "--trial", "0"), ["Trial 0", "cancelled"]),
        (("submit", "s.toml", "--priority", "high"), ["high", "-1,000,000"]),
        (("submit", "s.toml", "--priority", "1000001"), ["1000001", "1,000,000"]),
        (("submit",), ["submit needs a spec file"]),
        (("worker", "s", "--idle", "3"), ["--idle"]),
        (("run", "s.toml", "--on", "moon"), ["moon", "local or ray"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_is_refused_with_one_sentence(
    refusing: Studies, arguments: tuple[str, ...], parts: list[str]
) -> None:
    ran = refusing.cli.inside(*arguments)
    assert ran.code == 2, ran.err
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    """A study of two trials, the first one cancelled."""
    from ..conftest import Cli

    folder = tmp_path_factory.mktemp("refusing")
    found = Studies(Cli(folder, f"sqlite:///{folder / 'study.db'}"), [])
    found.submit("s", PASS)
    found.told("cancel", "s", "--trial", "0")
    return found
