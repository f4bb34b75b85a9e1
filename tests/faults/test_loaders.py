"""Trainings whose data comes from loader workers: under fire, under a memory cap, and broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from .command import CommandStudy

SPEC = """\
study = { name = "loaders", trials = 2, seed = 3 }
model = { build = "loaders.py:build" }
widths = { a = [2, 4] }
proxy = { data = "loaders.py:load", metric = "cross_entropy", epochs = 4, patience = 0, \
at_once = 1, parametrisation = "standard", learning_rate = 0.02 }
"""
USER_CODE = """\
import os, pathlib, time
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info

FOLDER = pathlib.Path(__file__).parent

class Rows(Dataset):
    def __init__(self, rows, slow):
        generator = torch.Generator().manual_seed(rows)
        self.x, self.slow = torch.randn(rows, 4, generator=generator), slow

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        if get_worker_info() is not None:
            with (FOLDER / "loaders").open("a") as file:
                file.write(f"{os.getpid()}\\n")
        if self.slow and (FOLDER / "slow").exists():
            time.sleep(0.02)
        if (FOLDER / "broken").exists() and row == 30:
            raise OSError("the disk of the data is away")
        x = self.x[row]
        return x + 0.1 * torch.randn(4) if self.slow else x, int(x[:3].argmax())

def load():
    return {
        "train": DataLoader(Rows(48, True), batch_size=8, num_workers=2),
        "val": DataLoader(Rows(24, False), batch_size=8, num_workers=1, persistent_workers=True),
    }

def build(widths):
    return nn.Sequential(nn.Linear(4, widths["a"]), nn.ReLU(), nn.Linear(widths["a"], 3))
"""


def new_study(folder: Path) -> CommandStudy:
    (folder / "loaders.toml").write_text(SPEC)
    (folder / "loaders.py").write_text(USER_CODE)
    study = CommandStudy(folder, "loaders")
    study.submit("loaders.toml")
    return study


@pytest.fixture
def study(tmp_path: Path) -> CommandStudy:
    return new_study(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The metric of each network, trained in peace."""
    study = new_study(tmp_path_factory.mktemp("undisturbed"))
    worked = study.run_in_process("worker", "loaders")
    assert worked.code == 0, worked.err
    return values(study)


def loader_workers(study: CommandStudy) -> set[int]:
    """The processes that have ever loaded a sample."""
    file = study.folder / "loaders"
    return set(map(int, file.read_text().split())) if file.exists() else set()


def values(study: CommandStudy) -> dict[int, float]:
    """The metric of each network."""
    return {trial["widths"]["a"]: trial["metric"]["value"] for trial in study.report()["history"]}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.promise("no process is left behind")
@pytest.mark.parametrize("victim", ["trainer", "worker"])
def test_loader_workers_end_with_their_trainer_and_the_training_goes_on_with_equal_batches(
    study: CommandStudy,
    record_counts: Callable[..., None],
    undisturbed: dict[int, float],
    victim: str,
) -> None:
    (study.folder / "slow").touch()
    (study.folder / "loaders").unlink(missing_ok=True)
    worker = study.start("worker", "loaders", "--lease", "3")
    study.wait_until(
        worker, lambda: "bound" in study.event_kinds() and len(loader_workers(study)) > 2
    )
    if victim == "trainer":
        [trainer] = psutil.Process(worker.pid).children()
        trainer.kill()
    else:
        worker.kill()
        worker.communicate()
        worker = study.start("worker", "loaders", "--lease", "3")
    (study.folder / "slow").unlink()
    _, err = worker.communicate(timeout=240)
    assert worker.returncode == 0, err
    figures = study.audit()
    assert (figures["complete"], figures["running"]) == (2, 0)
    assert values(study) == undisturbed
    started = loader_workers(study)
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in started if psutil.pid_exists(pid)], timeout=30
    )
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    record_counts(**figures, loader_workers=len(started))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_sample_that_raises_in_a_loader_worker_fails_its_trial_with_a_sentence(
    study: CommandStudy,
) -> None:
    (study.folder / "broken").touch()
    worked = study.run_in_process("worker", "loaders")
    assert worked.code == 4, worked.err
    reasons = [failure["reason"] for failure in study.report()["failures"]]
    assert reasons
    for reason in reasons:
        assert reason.startswith("DataError: loaders.py:load: the training data, batch ")
        assert "loading sample 30 raised OSError: the disk of the data is away (at" in reason
    assert "Traceback" not in worked.err


CAPPED_SPEC = """\
study = { name = "capped", trials = 1 }
model = { build = "capped.py:build" }
widths = { a = [2, 3] }
proxy = { data = "capped.py:load", epochs = 1, patience = 0, at_once = 1, engine = "plain", \
metric = "mse", parametrisation = "standard", device = "cpu" }
"""
CAPPED = """\
import resource
from pathlib import Path
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

CAP, ROWS, WIDTH = {cap}, {rows}, {width}

class Read(Dataset):
    def __len__(self):
        return ROWS

    def __getitem__(self, row):
        with open("rows.bin", "rb") as file:
            file.seek(4 * WIDTH * row)
            x = torch.from_numpy(np.frombuffer(file.read(4 * WIDTH), dtype=np.float32).copy())
        return x, x[:1]

def load():
    import torch._dynamo  # what the first optimizer imports is no data: some 70 MiB
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + CAP, resource.RLIM_INFINITY))
    try:
        np.fromfile("rows.bin", dtype=np.float32)
    except MemoryError:
        Path("does not fit").touch()
    train = DataLoader(Read(), batch_size=16, num_workers=2)
    return train, Subset(Read(), range(32))

def build(widths):
    return nn.Sequential(nn.Linear(WIDTH, widths["a"]), nn.Linear(widths["a"], 1))
"""
CAP, WIDTH, ROWS = 128 << 20, 65_536, 5_120  # bytes; rows of 256 KiB


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_network_trains_on_ten_times_the_memory_that_it_may_take(tmp_path: Path) -> None:
    with (tmp_path / "rows.bin").open("wb") as file:
        file.truncate(10 * CAP)
        for row in range(ROWS):
            file.seek(4 * WIDTH * row)
            file.write(np.float32(row / ROWS).tobytes())
    (tmp_path / "capped.toml").write_text(CAPPED_SPEC)
    (tmp_path / "capped.py").write_text(CAPPED.format(cap=CAP, rows=ROWS, width=WIDTH))
    study = CommandStudy(tmp_path, "capped")
    study.environment |= {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = study.run_command("run", "capped.toml", "--no-confirm")
    assert done.code == 0, done.err
    assert (tmp_path / "does not fit").exists()
    # Not inside this process: the report reads the data, and the cap would stay with the tests.
    reported = study.run_command("report", study.name, "--json")
    assert reported.json["trials"]["complete"] == 1, reported.err
