"""The user's own training under fire: its budget is exact, its folder is found again.

The function keeps a checkpoint in `trial.folder` and appends a line to a witness for each step that
it trains, so that a step which is trained twice is seen. What it is done to, files beside it say.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.study.control import continue_trial, pause_trial
from widthwise.storage.study.study import load_study

from .command import CommandStudy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

STEPS = 8
PROMISE = "own training goes on in its folder"
SPEC = f"""\
study = {{ name = "own", trials = 3 }}
widths = {{ a = {{ low = 2, high = 9 }} }}
proxy = {{ train = "own.py:train", direction = "maximize", epochs = {STEPS} }}
"""
CODE = """\
import time
from pathlib import Path

HERE = Path(__file__).parent

def train(widths, trial):
    checkpoint = trial.folder / "step"
    first = int(checkpoint.read_text()) + 1 if checkpoint.exists() else 1
    for step in range(first, trial.epochs + 1):
        while (HERE / f"wait{step}").exists():
            time.sleep(0.02)
            if trial.should_stop:
                return 0.0
        with (HERE / "witness").open("a") as file:
            file.write(f"{trial.number} {step} {trial.seed}\\n")
        checkpoint.write_text(str(step))
        trial.report(step, step * widths["a"] / 100)
    return widths["a"] / 10
"""
TROUBLE = """\
import os, sys
import torch

def train(widths, trial):
    trial.report(1, 0.1)
    print("what it prints is in nobody's way")
    # DEEDS
    assert torch.get_default_dtype() == torch.float32
    assert os.getcwd() != "/"
    torch.set_default_dtype(torch.float64)
    os.chdir("/")
    return widths["a"] / 10
"""

RecordCounts = Callable[..., None]


class OwnStudy(CommandStudy):
    """The study `own`, in the database and not begun."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        super().__init__(folder, "own", url)
        (folder / "own.py").write_text(CODE)
        (folder / "own.toml").write_text(SPEC)
        self.environment["WIDTHWISE_CHECKPOINTS"] = str(folder / "checkpoints")
        self.submit("own.toml")

    def steps(self, trial: int = 0) -> list[int]:
        """The steps that a trial was ever trained."""
        path = self.folder / "witness"
        lines = path.read_text().splitlines() if path.exists() else []
        return [int(line.split()[1]) for line in lines if line.split()[0] == str(trial)]

    def wait_at(self, step: int) -> None:
        """Let the trainings wait before a step."""
        (self.folder / f"wait{step}").touch()

    def go_on(self, step: int) -> None:
        (self.folder / f"wait{step}").unlink()

    def train_until(self, step: int, *options: str) -> subprocess.Popen[str]:
        """A worker whose first trial waits before a step."""
        self.wait_at(step)
        worker = self.start("worker", "own", *options)
        self.wait_until(worker, lambda: len(self.steps()) == step - 1)
        return worker

    def files(self) -> list[str]:
        """Names of the files that the trials left."""
        return sorted(path.name for path in self.folder.glob("checkpoints/own-*/*/files/*"))

    def curves(self) -> list[list[float]]:
        results = self.query_rows("select result from widthwise_slot order by number")
        return [json.loads(result)["curve"] for (result,) in results]

    def attempts(self) -> list[int]:
        rows = self.query_rows("select attempts from widthwise_slot order by number")
        return [attempts for (attempts,) in rows]

    def assert_settled(self, record_counts: RecordCounts, **figures: int) -> None:
        """Each step of each trial was trained once, by one seed a trial, and nothing is left."""
        lines = (self.folder / "witness").read_text().splitlines()
        expected = {f"{trial} {step}" for trial in range(3) for step in range(1, STEPS + 1)}
        assert Counter(line.rpartition(" ")[0] for line in lines) == Counter(expected)
        assert len({(line.split()[0], line.split()[2]) for line in lines}) == 3
        audited = self.audit()
        assert (audited["complete"], audited["running"]) == (3, 0)
        assert (audited["duplicates"], audited["lost"]) == (0, 0)
        assert [len(curve) for curve in self.curves()] == [STEPS] * 3
        assert self.files() == [], "settled trials keep no files"
        record_counts(**audited, **figures)


@pytest.fixture
def study(tmp_path: Path) -> OwnStudy:
    return OwnStudy(tmp_path)


@pytest.fixture
def postgresql_study(tmp_path: Path, postgresql_url: str) -> OwnStudy:
    return OwnStudy(tmp_path, postgresql_url)


def trainer_of(worker: subprocess.Popen[str]) -> psutil.Process:
    [trainer] = psutil.Process(worker.pid).children()
    return trainer


def finish(worker: subprocess.Popen[str]) -> str:
    _, err = worker.communicate(timeout=120)
    assert worker.returncode == 0, err
    return err


@pytest.mark.promise(PROMISE)
def test_a_killed_trainers_training_goes_on_from_its_own_checkpoint(
    study: OwnStudy, record_counts: RecordCounts
) -> None:
    worker = study.train_until(5)
    assert study.files() == ["step"]
    trainer_of(worker).kill()
    study.go_on(5)
    finish(worker)
    assert study.attempts()[0] == 2
    study.assert_settled(record_counts, kills=1)


@pytest.mark.promise(PROMISE)
def test_a_killed_workers_training_goes_on_with_another_worker(
    postgresql_study: OwnStudy, record_counts: RecordCounts
) -> None:
    study = postgresql_study
    worker = study.train_until(5, "--lease", "2")
    trainer = trainer_of(worker)
    worker.kill()
    worker.communicate()
    _, alive = psutil.wait_procs([trainer], timeout=60)
    assert not alive, "the trainer outlived its worker"
    study.go_on(5)
    finish(study.start("worker", "own"))
    assert study.attempts()[0] == 2
    study.assert_settled(record_counts, kills=1)


@pytest.mark.promise(PROMISE)
def test_a_drained_training_is_not_charged_and_goes_on(
    study: OwnStudy, record_counts: RecordCounts
) -> None:
    worker = study.train_until(5)
    worker.send_signal(signal.SIGTERM)
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 75, err
    assert "Traceback" not in err
    assert set(study.slot_states()) == {"free"}
    assert study.attempts()[0] == 0
    study.go_on(5)
    finish(study.start("worker", "own"))
    study.assert_settled(record_counts, drained=1)


@pytest.mark.promise(PROMISE)
def test_a_paused_training_goes_on_where_it_was(
    postgresql_study: OwnStudy, record_counts: RecordCounts
) -> None:
    study = postgresql_study
    worker = study.train_until(5, "--lease", "1.5")
    with Database.open(resolve_url(study.url, {})) as database:
        row = load_study(database, "own")
        pause_trial(database, row, 0, worker="somebody")
        # The second one waits at the same step, with the worker that was told to leave the first.
        study.wait_until(worker, lambda: len(study.steps(1)) == 4)
        assert study.slot_states().count("free") >= 1
        continue_trial(database, row, 0, worker="somebody")
    study.go_on(5)
    finish(worker)
    assert study.attempts() == [1, 1, 1]
    study.assert_settled(record_counts, paused=1)


@pytest.mark.promise(PROMISE)
def test_a_training_whose_lease_was_lost_leaves_it_to_who_has_it(
    study: OwnStudy, record_counts: RecordCounts
) -> None:
    """Its worker stands still for longer than the lease: another one takes the trial over."""
    worker = study.train_until(5, "--lease", "3")
    trainer = trainer_of(worker)
    for process in (worker, trainer):
        process.send_signal(signal.SIGSTOP)
    other = study.start("worker", "own")
    study.wait_until(other, lambda: "reclaimed" in study.event_kinds())
    for process in (worker, trainer):
        process.send_signal(signal.SIGCONT)
    # It has left the trial once it trains another one.
    study.wait_until(worker, lambda: len(study.steps(1)) == 4)
    study.go_on(5)
    finish(worker)
    finish(other)
    study.assert_settled(record_counts, lost_leases=1)


@pytest.mark.promise("own training ends only its trial")
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(
            {
                3: ("raise ValueError('no such cell')", "error", "no such cell"),
                4: ("return float('nan')", "nan", "the value returned is nan"),
                5: (
                    "raise torch.OutOfMemoryError('CUDA out of memory')",
                    "out_of_memory",
                    "out of memory",
                ),
            },
            id="outcomes",
        ),
        pytest.param({3: ("os._exit(7)", "error", "ended with code 7")}, id="hard exit"),
    ],
)
def test_what_a_training_does_is_recorded_and_the_next_one_is_unharmed(
    tmp_path: Path, record_counts: RecordCounts, faults: dict[int, tuple[str, str, str]]
) -> None:
    study = OwnStudy(tmp_path)
    deeds = "\n".join(
        f"    if widths['a'] == {width}:\n        {deed}" for width, (deed, *_) in faults.items()
    )
    (tmp_path / "own.py").write_text(TROUBLE.replace("    # DEEDS", deeds))
    (tmp_path / "trouble.toml").write_text(
        'study = { name = "trouble", trials = 6 }\n'
        "widths = { a = [2, 3, 4, 5, 6, 7] }\n"
        'proxy = { train = "own.py:train", direction = "maximize", epochs = 8 }\n'
    )
    study.name = "trouble"
    study.submit("trouble.toml")
    worked = study.run_command("worker", "trouble")
    assert worked.code == 0, worked.err
    assert worked.out == ""
    report: Any = study.report()
    failures = {failure["widths"]["a"]: failure for failure in report["failures"]}
    assert failures.keys() == faults.keys()
    for width, (_, outcome, words) in faults.items():
        assert failures[width]["outcome"] == outcome
        assert words in failures[width]["reason"]
    trained = {trial["widths"]["a"] for trial in report["history"]}
    assert trained == {2, 3, 4, 5, 6, 7} - faults.keys()
    record_counts(**study.audit())
