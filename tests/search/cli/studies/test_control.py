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
class StudyProcesses:
    """Studies on SQLite, and the processes that work on them."""

    cli: Any
    processes: list[subprocess.Popen[str]]

    def write(
        self, name: str, training_code: str = SLEEP, *, trials: int = 2, epochs: int = 200
    ) -> str:
        self.cli.write("data.py", DATA)
        self.cli.write("slow", "")
        self.cli.write(f"{name}_model.py", MODEL.format(what=training_code))
        text = SPEC.format(name=name, trials=trials, epochs=epochs)
        self.cli.write(f"{name}.toml", text)
        return f"{name}.toml"

    def submit(
        self, name: str, training_code: str = SLEEP, *arguments: str, **options: Any
    ) -> None:
        self.run_command("submit", self.write(name, training_code, **options), *arguments)

    def run_command(self, *arguments: str) -> Any:
        """What a command does that has to work."""
        result = self.cli.run_in_process(*arguments)
        assert result.code == 0, result.err
        return result

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = self.cli.start(*arguments, *QUICK)
        self.processes.append(process)
        return process

    def status(self, name: str) -> dict[str, Any]:
        payload: dict[str, Any] = self.run_command("status", name, "--json").json
        return payload

    def workers(self) -> list[dict[str, Any]]:
        return list(self.run_command("status", "--workers", "--json").json)

    def events(self, name: str) -> list[dict[str, Any]]:
        recorded: list[dict[str, Any]] = self.run_command(
            "status", name, "--json", "--events", "999"
        ).json["events"]
        return recorded

    def holders(self, name: str) -> list[dict[str, Any]]:
        """Who holds a trial; nobody while there is no such study yet."""
        result = self.cli.run_in_process("status", name, "--json")
        return list(result.json["workers"]) if result.code == 0 else []

    def wait_until_training(self, name: str) -> int:
        """Wait until a trial is in training; returns its number."""
        held_slots: list[dict[str, Any]] = []
        wait_until(
            lambda: bool(held_slots.extend(self.holders(name)) or held_slots), self.processes
        )
        return int(held_slots[0]["trial"])

    def finish_quickly(self) -> None:
        """Let trainings be quick from now on."""
        (self.cli.folder / "slow").unlink()


def wait_until(condition: Callable[[], bool], processes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 250
    while not condition():
        assert time.monotonic() < deadline
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def trainer_processes(process: subprocess.Popen[str]) -> list[psutil.Process]:
    collected = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a zombie, too, is one
            if any("trainer" in part for part in child.cmdline()):
                collected.append(child)
    return collected


def wait_for_exit(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=200)
    return process.returncode, err


@pytest.fixture
def studies(cli: Any) -> Iterator[StudyProcesses]:
    study_processes = StudyProcesses(cli, [])
    yield study_processes
    for process in study_processes.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_pause_frees_the_device_and_nothing_is_lost_by_it(studies: StudyProcesses) -> None:
    run = studies.start("run", studies.write("s"))
    studies.wait_until_training("s")
    studies.run_command("pause", "s")
    wait_until(lambda: not studies.status("s")["workers"] and not trainer_processes(run), [run])
    paused = studies.status("s")
    assert (paused["status"], paused["trials"]["waiting"]) == ("paused", 2)
    wait_until(lambda: studies.workers()[0]["activity"] == "waiting", [run])
    (worker,) = studies.workers()
    assert (worker["study"], worker["trials"], worker["alive"]) == ("s", [], True)
    studies.run_command("continue", "s")
    studies.finish_quickly()
    code, err = wait_for_exit(run)
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
def test_a_cancelled_study_ends_its_run_and_resume_opens_it_again(studies: StudyProcesses) -> None:
    run = studies.start("run", studies.write("s", trials=2))
    studies.wait_until_training("s")
    studies.run_command("cancel", "s")
    code, err = wait_for_exit(run)
    assert code == 75, err
    assert "cancelled with 0 of 2 trials done" in err
    assert studies.status("s")["trials"]["waiting"] == 2
    # A worker of that study has nothing to do, and says so.
    code, err = wait_for_exit(studies.start("worker", "s"))
    assert code == 0, err
    assert "was cancelled" in err
    studies.finish_quickly()
    again = studies.cli.run_in_process("resume", "s", "--json", *QUICK)
    assert again.code == 0, again.err
    assert "was cancelled, is open again" in again.err
    assert again.json["trials"]["complete"] == 2


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_one_trial_is_cancelled_and_another_waits_for_its_turn(studies: StudyProcesses) -> None:
    run = studies.start("run", studies.write("s", trials=3))
    number = studies.wait_until_training("s")
    studies.run_command("cancel", "s", "--trial", str(number))
    studies.run_command("pause", "s", "--trial", "2")
    studies.finish_quickly()
    wait_until(lambda: studies.status("s")["trials"]["complete"] == 1, [run])
    assert studies.status("s")["paused"] == 1
    studies.run_command("continue", "s", "--trial", "2")
    code, err = wait_for_exit(run)
    assert code == 0, err
    assert studies.status("s")["trials"] == {
        "complete": 2,
        "running": 0,
        "failed": 0,
        "pruned": 1,
        "waiting": 0,
    }
    refused = studies.cli.run_in_process("pause", "s", "--trial", str(number))
    assert refused.code == 2
    assert "cancelled" in refused.err


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_worker_of_the_pool_serves_what_runs_here_and_drains(studies: StudyProcesses) -> None:
    studies.submit("urgent", PASS, "--priority", "3", epochs=1)
    studies.submit("usual", PASS, epochs=1)
    studies.submit("changed", PASS, "--priority", "9", epochs=1)
    studies.submit("failing", RAISE, trials=3, epochs=1)
    with (studies.cli.folder / "changed_model.py").open("a") as file:
        file.write("# another version\n")
    worker = studies.start("worker")
    done = {"urgent": 2, "usual": 2}
    wait_until(
        lambda: (
            all(studies.status(name)["trials"]["complete"] == n for name, n in done.items())
            and studies.events("failing")[-1]["trial"] is None
        ),
        [worker],
    )
    # It stays, and serves what comes.
    studies.submit("late", SLEEP)
    studies.wait_until_training("late")
    worker.send_signal(signal.SIGTERM)
    code, err = wait_for_exit(worker)
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
def test_a_second_ctrl_c_ends_a_worker_of_the_pool_at_once(studies: StudyProcesses) -> None:
    studies.submit("s", "time.sleep(100)", trials=1)
    worker = studies.start("worker", "--grace", "90")
    studies.wait_until_training("s")
    worker.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert worker.poll() is None
    worker.send_signal(signal.SIGINT)
    code, _ = wait_for_exit(worker)
    assert code == 130
    assert studies.status("s")["workers"] == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_worker_waits_for_a_paused_study_and_hears_a_stop(studies: StudyProcesses) -> None:
    studies.submit("s")
    studies.run_command("pause", "s")
    worker = studies.start("worker", "s")
    wait_until(lambda: bool(studies.workers()), [worker])
    assert trainer_processes(worker) == []
    worker.send_signal(signal.SIGTERM)
    code, err = wait_for_exit(worker)
    assert code == 75, err
    assert [event["kind"] for event in studies.events("s")] == ["created", "paused"]


def test_a_worker_of_the_pool_ends_when_it_was_idle_for_so_long(studies: StudyProcesses) -> None:
    studies.run_command("db", "upgrade")
    code, err = wait_for_exit(studies.start("worker", "--idle", "0.5"))
    assert code == 0, err
    assert "no work for 0.5 s" in err


def test_a_worker_of_the_pool_ends_when_the_tables_become_another_release_s(
    studies: StudyProcesses,
) -> None:
    studies.run_command("db", "upgrade")
    worker = studies.start("worker")
    wait_until(lambda: bool(studies.workers()), [worker])
    with closing(sqlite3.connect(studies.cli.folder / "study.db")) as connection, connection:
        connection.execute("update widthwise_schema set version = version + 1")
    code, err = wait_for_exit(worker)
    assert code == 5, err
    assert "schema version" in err


def test_submit_puts_a_study_in_the_queue_and_changes_its_priority(studies: StudyProcesses) -> None:
    spec = studies.write("s", PASS)
    first = studies.run_command("submit", spec, "--priority", "-2", "--json").json
    assert (first["study"], first["status"], first["priority"]) == ("s", "open", -2)
    assert (first["budget"], first["trials"]["waiting"]) == (2, 2)
    studies.run_command("pause", "s")
    again = studies.run_command("submit", spec, "--priority", "5", "--trials", "4")
    assert "there already" in again.err
    assert "it is paused: `widthwise continue s`" in again.out
    now = studies.status("s")
    assert (now["priority"], now["status"], now["budget"]) == (5, "paused", 4)
    # Without a priority it keeps the one it has.
    assert studies.run_command("submit", spec, "--trials", "4", "--json").json["priority"] == 5


def test_pause_continue_and_cancel_say_what_is_so(studies: StudyProcesses) -> None:
    studies.submit("s", PASS)
    assert "is paused" in studies.run_command("pause", "s").out
    assert "is paused" in studies.run_command("pause", "s").out
    assert "was paused and is open again" in studies.run_command("continue", "s").out
    assert "was open already" in studies.run_command("continue", "s").out
    assert "is cancelled" in studies.run_command("cancel", "s").out
    assert "cancelled │" in studies.run_command("status").out
    refused = studies.cli.run_in_process("pause", "s")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "widthwise continue s" in refused.err
    studies.run_command("continue", "s")
    for verb in ("pause", "continue", "cancel", "cancel"):
        assert "trial 1 of s" in studies.run_command(verb, "s", "--trial", "1").out
    kinds = [event["kind"] for event in studies.events("s") if event["trial"] is None]
    assert kinds == ["created", "paused", "continued", "cancelled", "continued"]
    output = studies.run_command("status", "s", "--events", "2").out
    assert "trial 1 cancelled by" in output
    assert "no workers" in output


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
    refusing_studies: StudyProcesses, arguments: tuple[str, ...], parts: list[str]
) -> None:
    result = refusing_studies.cli.run_in_process(*arguments)
    assert result.code == 2, result.err
    (line,) = result.err.splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


@pytest.fixture(scope="module")
def refusing_studies(tmp_path_factory: pytest.TempPathFactory) -> StudyProcesses:
    """A study of two trials, the first one cancelled."""
    from ...conftest import CommandLine

    folder = tmp_path_factory.mktemp("refusing")
    study_processes = StudyProcesses(CommandLine(folder, f"sqlite:///{folder / 'study.db'}"), [])
    study_processes.submit("s", PASS)
    study_processes.run_command("cancel", "s", "--trial", "0")
    return study_processes
