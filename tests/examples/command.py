"""Running an example as its user does, `widthwise run NAME.toml`, in a folder of its own."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from widthwise.objectives.loop.train import train
from widthwise.search.problem.build import load_objective, proxy_settings
from widthwise.search.spec.spec import load_spec
from widthwise.tests.command_line import run_in_process

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run_example(name: str, folder: Path, *, trials: int = 2) -> dict[str, Any]:
    """Return the report of a run without confirmation, by the real command line in one process.

    Args:
        name: Of the spec and its file.
        folder: Where it is copied, and where its database lies.
        trials: Trainings.
    """
    for suffix in (".toml", ".py"):
        shutil.copy(EXAMPLES / f"{name}{suffix}", folder)
    options = ["--trials", trials, "--workers", "1", "--no-confirm", "--json"]
    storage = ["--storage", "sqlite:///studies.db"]
    done = run_in_process(
        folder, {"OMP_NUM_THREADS": "1"}, "run", f"{name}.toml", *map(str, options), *storage
    )
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    report: dict[str, Any] = done.json
    assert report["trials"]["complete"] == trials, done.err
    return report


def train_example(name: str, widths: Mapping[str, int]) -> float:
    """Return the metric of one training of an example, without the search around it."""
    spec = load_spec(EXAMPLES / f"{name}.toml")
    assert spec.to_space().explain(widths) is None
    objective = load_objective(spec, EXAMPLES)
    settings = proxy_settings(spec, objective.data)
    return train(objective, widths, settings, seed=0).value


def load_example(name: str) -> ModuleType:
    """Return an example's module, for a test's own road to what it must have learned."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def best_trial(report: dict[str, Any]) -> dict[str, Any]:
    """Return the best trial of a report."""
    best: dict[str, Any] = report["best"]
    return best
