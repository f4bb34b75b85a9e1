"""Where a search from Python starts its workers, and how many."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import widthwise
from rich.console import Console
from torch import nn
from widthwise.objectives.held_objects import hold, release
from widthwise.search.errors import SpecError
from widthwise.search.fleet.worker_fleet import Launcher
from widthwise.search.python.launching import launcher_for, resolve_workers
from widthwise.search.worker.options import FleetWorkerOptions

OPTIONS = FleetWorkerOptions()


@pytest.fixture
def closure() -> Iterator[list[str]]:
    references = [hold(lambda widths: widths, "closure")]
    yield references
    release(references)


def test_one_that_auto_means_trains_in_this_process(
    closure: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("widthwise.search.fleet.worker_count.usable_cpus", lambda: 1)
    workers = resolve_workers("auto", "cpu", OPTIONS, Console(quiet=True))
    assert workers == 1
    with launcher_for(closure, workers, "cpu", 1) as launcher:
        assert launcher is Launcher.IN_PROCESS


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "auto"])
def test_auto_on_one_gpu_is_this_process(
    device: str, closure: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    workers = resolve_workers("auto", device, OPTIONS, Console(quiet=True))
    with launcher_for(closure, workers, device, 1) as launcher:
        assert launcher is Launcher.IN_PROCESS
    with (
        pytest.raises(SpecError, match='the device is "cuda'),
        launcher_for(closure, 2, device, 1),
    ):
        pass


def test_auto_of_one_builds_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("widthwise.search.fleet.worker_count.usable_cpus", lambda: 1)
    seen: set[int] = set()

    def build(widths: Mapping[str, int]) -> nn.Module:
        seen.add(os.getpid())
        return nn.Sequential(nn.Linear(4, widths["a"]), nn.ReLU(), nn.Linear(widths["a"], 3))

    given: Any = {"engine": "plain", "confirm": False, "progress": False, "workers": "auto"}
    result = widthwise.search(
        build=build, widths={"a": [2, 4]}, data="iris", trials=1, epochs=1, folds=1, **given
    )
    assert seen == {os.getpid()}
    assert {str(record.worker).rpartition(":")[2] for record in result.evidence.records} == {
        str(os.getpid())
    }


@pytest.mark.slow
def test_workers_find_the_modules_beside_a_script(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    (scripts / "their_models").mkdir(parents=True)
    (scripts / "their_models" / "__init__.py").touch()
    (scripts / "their_models" / "small.py").write_text(
        "from torch import nn\n"
        "def build(widths):\n"
        "    return nn.Sequential(nn.Linear(4, widths['a']), nn.Linear(widths['a'], 3))\n"
    )
    (scripts / "their_rows.py").write_text(
        "import torch\n"
        "from sklearn.datasets import load_iris\n"
        "from torch.utils.data import Dataset\n"
        "class Iris(Dataset):\n"
        "    def __init__(self):\n"
        "        self.x, self.y = load_iris(return_X_y=True)\n"
        "    def __len__(self):\n"
        "        return len(self.x)\n"
        "    def __getitem__(self, row):\n"
        "        return torch.tensor(self.x[row], dtype=torch.float32), int(self.y[row])\n"
    )
    (scripts / "main.py").write_text(
        "import sys, widthwise\n"
        "from their_models.small import build\n"
        "from their_rows import Iris\n"
        "result = widthwise.search(build=build, widths={'a': [2, 4]}, data=Iris(), trials=1,\n"
        "    epochs=1, folds=1, engine='plain', workers=2, confirm=False)\n"
        "print(result.complete, list(result.table['outcome']))\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, scripts / "main.py"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True ['complete']\n"
