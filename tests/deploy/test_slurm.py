"""The Slurm script under bash, with real workers; `squeue` and `scontrol` are stand-ins."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from widthwise.storage.database.database import resolve_url

from .command import Command
from .compose import ROOT
from .napping import LedgerWatch, wait_until, write_study
from .verbs import default_grace

SCRIPT = ROOT / "deploy" / "slurm" / "widthwise.sbatch"
FAKE_SCONTROL = """\
#!/bin/sh
echo "$(basename "$0") $*" >> "{log}"
[ "$(basename "$0")" = scontrol ] || echo "{state}"
"""


class SlurmTask:
    """A task of an array, as Slurm would start it on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = resolve_url(f"sqlite:///{folder / 'study.db'}")
        self._log = folder / "slurm.log"
        (folder / "bin").mkdir()
        self.set_slurm_state("RUNNING")

    def set_slurm_state(self, state: str) -> None:
        """What Slurm holds the task's state to be."""
        for name in ("squeue", "scontrol"):
            program = self.folder / "bin" / name
            program.write_text(FAKE_SCONTROL.format(log=self._log, state=state))
            program.chmod(0o755)

    @property
    def command(self) -> Command:
        path = f"{self.folder / 'bin'}:{Command(self.folder, self.url).environment['PATH']}"
        variables = {
            "PATH": path,
            "SLURM_JOB_ID": "43",
            "SLURM_ARRAY_JOB_ID": "41",
            "SLURM_ARRAY_TASK_ID": "2",
            "SLURM_CPUS_PER_TASK": "1",
        }
        return Command(self.folder, self.url, variables)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", SCRIPT, *arguments],
            cwd=self.folder,
            env=self.command.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def requeued(self) -> list[str]:
        if not self._log.exists():
            return []
        lines = self._log.read_text().splitlines()
        return [line for line in lines if line.startswith("scontrol")]


@pytest.fixture
def task(tmp_path: Path) -> SlurmTask:
    return SlurmTask(tmp_path)


def sbatch_options() -> dict[str, str]:
    """The script's #SBATCH lines."""
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    directives = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (line.partition("=") for line in directives)}


def test_bash_can_read_it() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True, timeout=60)


def test_slurm_is_asked_for_an_array_that_is_warned_and_comes_back() -> None:
    requested = sbatch_options()
    assert re.fullmatch(r"\d+-\d+", requested["array"])
    assert "requeue" in requested
    # B: the script gets the signal, and passes it on to its worker.
    to, name, seconds = re.split("[:@]", requested["signal"])
    assert (to, name) == ("B", "TERM")
    assert float(seconds) >= default_grace() + 10
    assert "%A_%a" in requested["output"]
    assert requested["open-mode"] == "append"
    assert "##SBATCH --gres=gpu:1" in SCRIPT.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_task_that_runs_out_of_time_gives_its_trial_back_and_queues_again(
    task: SlurmTask,
) -> None:
    write_study(task.folder, trials=2, sleep_seconds=0.2, epochs=200)
    task.command.run("submit", "nap.toml")
    watch = LedgerWatch(task.url)
    running = task.start("nap")
    wait_until(watch.any_leased)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=100)
    assert running.returncode == 75, err
    assert task.requeued() == ["scontrol requeue 41_2"]
    watch.assert_nothing_charged()


@pytest.mark.slow
def test_a_cancelled_task_stays_away(task: SlurmTask) -> None:
    """`scancel` signals every process of the task, its worker's trainer among them."""
    write_study(task.folder, trials=2, sleep_seconds=0.2, epochs=200)
    task.command.run("submit", "nap.toml")
    watch = LedgerWatch(task.url)
    running = task.start("nap")
    wait_until(watch.any_leased)
    task.set_slurm_state("COMPLETING")
    os.killpg(running.pid, signal.SIGTERM)
    _, err = running.communicate(timeout=100)
    assert running.returncode == 75, err
    assert task.requeued() == []
    watch.assert_nothing_charged()


@pytest.mark.slow
def test_a_task_ends_with_its_study(task: SlurmTask) -> None:
    write_study(task.folder, trials=3, sleep_seconds=0.0, epochs=2)
    task.command.run("submit", "nap.toml")
    running = task.start("nap")
    _, err = running.communicate(timeout=100)
    assert running.returncode == 0, err
    assert task.requeued() == []
    LedgerWatch(task.url).assert_exact(3)


def test_an_error_ends_the_task_with_its_code(task: SlurmTask) -> None:
    write_study(task.folder, trials=3)
    task.command.run("submit", "nap.toml")
    running = task.start("no-such-study")
    _, err = running.communicate(timeout=100)
    assert running.returncode == 2, err
    assert "no study 'no-such-study'" in err
    assert task.requeued() == []


def test_a_study_must_be_named(task: SlurmTask) -> None:
    running = task.start()
    _, err = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "the study's name is missing" in err
    assert not (task.folder / "study.db").exists()
