"""Running an example as its user does, `widthwise run NAME.toml`, in a folder of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECONDS = 280.0
"""A run may take on a machine that is busy with others; alone it takes some ten."""


def run_example(name: str, folder: Path, *, trials: int = 2) -> dict[str, Any]:
    """Return the report of a run without confirmation, by the real command line in one process.

    Args:
        name: Of the spec and its file.
        folder: Where it is copied, and where its database lies.
        trials: Trainings.
    """
    for suffix in (".toml", ".py"):
        shutil.copy(EXAMPLES / f"{name}{suffix}", folder)
    widthwise = Path(sys.executable).with_name("widthwise")
    options = ["--trials", str(trials), "--workers", "1", "--no-confirm", "--json"]
    done = subprocess.run(
        [widthwise, "run", f"{name}.toml", *options, "--storage", "sqlite:///studies.db"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["trials"]["complete"] == trials, done.stderr
    return report


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
