"""Interrupted trials go on where they were, and end as if nothing had ever happened to them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from widthwise.objectives.training import checkpoint_file
from widthwise.objectives.training.snapshot import Snapshot
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.study.control import continue_trial, pause_trial
from widthwise.storage.study.study import load_study

from .command import CommandStudy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.promise("drain")]

EPOCHS, BATCHES = 8, 6
SPEC = f"""\
study = {{ name = "slow", trials = 2 }}
model = {{ build = "slow.py:build" }}
widths = {{ a = {{ low = 2, high = 9 }} }}
proxy = {{ data = "slow_data.py:load", epochs = {EPOCHS}, batch_size = 8, patience = 0, \
at_once = 1, engine = "plain" }}
"""
MODEL = """\
import os, time
from pathlib import Path
import torch
from torch import nn

NAP = float(os.environ.get("NAP", "0"))
PASSES = Path(__file__).with_name("passes.txt")

class Slow(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(width, 3),
        )

    def forward(self, x):
        if self.training and type(x) is torch.Tensor:
            time.sleep(NAP)
            x = x + 0.01 * torch.randn_like(x)
            with PASSES.open("a") as file:
                file.write(f"{self.width}\\n")
        return self.layers(x)

def build(widths):
    return Slow(widths["a"])
"""
DATA = """\
import torch

def load():
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, :3].argmax(1)
    return x[:48], y[:48], x[48:72], y[48:72], x[72:], y[72:]
"""

SETS = (
    DATA.replace("def load():", "def arrays():")
    + """\

class Rows(torch.utils.data.Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y
    def __len__(self):
        return len(self.y)
    def __getitem__(self, row):
        return self.x[row] + 0.01 * torch.randn(4), self.y[row]

def load():
    parts = arrays()
    return Rows(*parts[:2]), Rows(*parts[2:4]), Rows(*parts[4:])
"""
)

RecordCounts = Callable[..., None]


class DrainStudy(CommandStudy):
    """The study `slow`, in the database and not begun."""

    def __init__(self, folder: Path, data: str = DATA) -> None:
        super().__init__(folder, "slow")
        (folder / "slow.py").write_text(MODEL)
        (folder / "slow_data.py").write_text(data)
        (folder / "slow.toml").write_text(SPEC)
        self.submit("slow.toml")
        self.set_environment(NAP="0")

    def set_environment(self, **environment: str) -> None:
        self.environment.update(environment)

    def first_trial(self) -> tuple[int, int]:
        """The width of the first trial, and how many batches it was ever trained on."""
        ((widths,),) = self.query_rows("select widths from widthwise_slot where number = 0")
        if widths is None:
            return 0, 0
        width = json.loads(widths)["a"]
        path = self.folder / "passes.txt"
        passes = path.read_text().split() if path.exists() else []
        return width, passes.count(str(width))

    def results(self) -> list[Any]:
        """What is recorded of each trial, but for the time that it took."""
        rows = self.query_rows("select outcome, widths, value, result from widthwise_slot")
        parsed = [
            (outcome, widths, value, json.loads(result)) for outcome, widths, value, result in rows
        ]
        for *_, result in parsed:
            del result["seconds"]
        return parsed

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, self.slot_states()
            time.sleep(0.02)

    def attempts(self) -> list[int]:
        return [
            n for (n,) in self.query_rows("select attempts from widthwise_slot order by number")
        ]

    def checkpoints(self) -> list[Path]:
        """Those of the first trial, oldest first."""
        return sorted(self.folder.glob("study.db.checkpoints/slow-*/0/*.safetensors"))

    def train_until(self, passes: int, *arguments: str) -> subprocess.Popen[str]:
        """A worker that has trained the first trial on so many batches."""
        worker = self.start("worker", "slow", *arguments)
        self.wait_for(lambda: self.first_trial()[1] >= passes or worker.poll() is not None)
        assert worker.poll() is None, worker.communicate()
        return worker

    def run_worker(self) -> str:
        """Work to the end; returns what it printed on the way."""
        self.set_environment(NAP="0")
        result = self.run_command("worker", "slow")
        assert result.code == 0, result.err
        assert set(self.slot_states()) == {"done"}
        return result.err


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> DrainStudy:
    study = DrainStudy(tmp_path_factory.mktemp("uninterrupted"))
    study.run_worker()
    return study


@pytest.fixture
def study(tmp_path: Path) -> DrainStudy:
    return DrainStudy(tmp_path)


def assert_same_results(
    study: DrainStudy, uninterrupted: DrainStudy, record_counts: RecordCounts, **figures: int
) -> None:
    assert study.results() == uninterrupted.results()
    assert study.checkpoints() == [], "they are settled"
    states = study.slot_states()
    record_counts(
        budget=len(states),
        complete=states.count("done"),
        running=states.count("leased"),
        **figures,
    )


@pytest.fixture(scope="module")
def uninterrupted_sets(tmp_path_factory: pytest.TempPathFactory) -> DrainStudy:
    study = DrainStudy(tmp_path_factory.mktemp("uninterrupted sets"), SETS)
    study.run_worker()
    return study


def test_a_stop_in_mid_epoch_ends_in_time_and_is_not_charged(
    study: DrainStudy, uninterrupted: DrainStudy, record_counts: RecordCounts
) -> None:
    stop_in_mid_epoch(study, uninterrupted, record_counts)


def test_a_stop_in_mid_epoch_of_data_sets_goes_on_with_the_next_batch(
    tmp_path: Path, uninterrupted_sets: DrainStudy, record_counts: RecordCounts
) -> None:
    stop_in_mid_epoch(DrainStudy(tmp_path, SETS), uninterrupted_sets, record_counts)


def stop_in_mid_epoch(
    study: DrainStudy, uninterrupted: DrainStudy, record_counts: RecordCounts
) -> None:
    """An epoch takes longer than the grace, and the first one is stopped within."""
    uninterrupted_passes = uninterrupted.first_trial()[1]
    study.set_environment(NAP="0.8")
    worker = study.train_until(uninterrupted_passes - EPOCHS * BATCHES + 2, "--grace", "4")
    worker.send_signal(signal.SIGTERM)
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 75, err
    assert "Traceback" not in err
    assert study.slot_states() == ["free", "free"]
    assert study.attempts() == [0, 0]
    assert study.event_kinds().count("released") == 1
    assert study.checkpoints(), "it was written before the end"
    loading = uninterrupted_passes - EPOCHS * BATCHES
    assert study.first_trial()[1] - loading < BATCHES
    study.run_worker()
    assert study.first_trial()[1] <= uninterrupted_passes + loading, "no batch is done twice"
    assert study.attempts() == [1, 1]
    assert_same_results(study, uninterrupted, record_counts, drained=1)


KILLED_AFTER_EPOCHS = 4


@dataclass(frozen=True)
class KilledStudy:
    """A study whose worker and trainer were killed in training; put back before each use.

    Attributes:
        study: It.
        uninterrupted_passes: Batches that a training without any interruption sees.
    """

    study: DrainStudy
    saved: Path
    uninterrupted_passes: int

    @classmethod
    def create(cls, folder: Path, uninterrupted_passes: int) -> KilledStudy:
        (folder / "study").mkdir()
        study = DrainStudy(folder / "study")
        study.set_environment(NAP="0.05", WIDTHWISE_CHECKPOINT_SECONDS="0")
        loading_passes = uninterrupted_passes - EPOCHS * BATCHES
        worker = study.train_until(
            loading_passes + KILLED_AFTER_EPOCHS * BATCHES + 1, "--lease", "1"
        )
        family = psutil.Process(worker.pid)
        for process in [*family.children(recursive=True), family]:
            process.kill()
        worker.communicate()
        assert study.slot_states().count("leased") == 1
        shutil.copytree(study.folder, folder / "saved")
        return cls(study, folder / "saved", uninterrupted_passes)

    def restore(self) -> DrainStudy:
        """The study as the kill left it; it refers to its own folder, so it stays there."""
        shutil.rmtree(self.study.folder)
        shutil.copytree(self.saved, self.study.folder)
        return self.study


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, uninterrupted: DrainStudy) -> KilledStudy:
    folder = tmp_path_factory.mktemp("killed")
    return KilledStudy.create(folder, uninterrupted.first_trial()[1])


def test_killed_workers_trials_go_on_from_their_last_checkpoint(
    killed: KilledStudy, uninterrupted: DrainStudy, record_counts: RecordCounts
) -> None:
    study = killed.restore()
    before = study.first_trial()[1]
    assert len(study.checkpoints()) == 2
    study.run_worker()
    assert (
        study.first_trial()[1] - before
        <= killed.uninterrupted_passes - KILLED_AFTER_EPOCHS * BATCHES
    ), "four epochs were kept"
    assert study.attempts() == [2, 1]
    assert_same_results(study, uninterrupted, record_counts, killed=1)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "all foreign"])
def test_a_checkpoint_that_is_of_no_use_is_passed_over(
    killed: KilledStudy, uninterrupted: DrainStudy, record_counts: RecordCounts, damage: str
) -> None:
    study = killed.restore()
    before = study.first_trial()[1]
    files = study.checkpoints()
    at_most = killed.uninterrupted_passes - (KILLED_AFTER_EPOCHS - 1) * BATCHES
    if damage == "truncated":
        content = files[-1].read_bytes()
        files[-1].write_bytes(content[: len(content) // 2])
    else:
        snapshot = Snapshot(epochs=7.0, tensors={"0.model.a": torch.zeros(3)}, metadata={})
        identity = {"fingerprint": "of another study", "slot": 0, "widths": {"a": 2}, "seed": 1}
        checkpoint_file.write(files[-1].parent, snapshot, identity)
        if damage == "all foreign":
            checkpoint_file.write(files[-1].parent, snapshot, identity)
            at_most = killed.uninterrupted_passes
    stderr_text = study.run_worker()
    assert stderr_text.count("is passed over") == (2 if damage == "all foreign" else 1)
    again = study.first_trial()[1] - before
    assert (again >= EPOCHS * BATCHES) == (damage == "all foreign")
    assert again <= at_most
    assert_same_results(study, uninterrupted, record_counts, damaged=1)


def test_a_paused_trial_goes_on_where_it_was_also_with_the_worker_that_had_it(
    study: DrainStudy, uninterrupted: DrainStudy, record_counts: RecordCounts
) -> None:
    uninterrupted_passes = uninterrupted.first_trial()[1]
    study.set_environment(NAP="0.1")
    worker = study.train_until(uninterrupted_passes - 6 * BATCHES, "--lease", "1.5")
    with Database.open(resolve_url(study.environment["WIDTHWISE_STORAGE"])) as database:
        row = load_study(database, "slow")
        pause_trial(database, row, 0, worker="somebody")
        study.wait_for(lambda: "leased" in study.slot_states()[1:])
        assert study.slot_states()[0] == "free"
        assert study.checkpoints()
        between = study.first_trial()[1]
        continue_trial(database, row, 0, worker="somebody")
    _, err = worker.communicate(timeout=120)
    assert worker.returncode == 0, err
    assert study.attempts() == [1, 1]
    assert study.first_trial()[1] - between <= uninterrupted_passes - 2 * BATCHES
    # What is trained second was chosen without the first one's result.
    assert study.results()[0] == uninterrupted.results()[0]
    record_counts(budget=2, complete=study.slot_states().count("done"), paused=1)


def test_where_no_checkpoint_can_be_written_the_training_goes_on(
    study: DrainStudy, uninterrupted: DrainStudy, record_counts: RecordCounts
) -> None:
    (study.folder / "full").write_text("a file where the folder should be")
    study.set_environment(
        WIDTHWISE_CHECKPOINT_SECONDS="0", WIDTHWISE_CHECKPOINTS=str(study.folder / "full")
    )
    stderr_text = study.run_worker()
    assert stderr_text.count("no checkpoints can be written") == 1
    assert "Traceback" not in stderr_text
    assert_same_results(study, uninterrupted, record_counts)
