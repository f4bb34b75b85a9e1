"""One table: a search by the command line's own `run`, and its network against other models.

Entry point: `measure`, which a process of a pool can be given.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from .compare import compare
from .tables import TABLES, write_table


def measure(job: tuple[str, Path | None, int, bool, str | None]) -> dict[str, Any]:
    """Search one table, and compare the recommended network with the other models."""
    name, packages, splits, confirm, given = job
    [table] = [table for table in TABLES if table.name == name]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = write_table(table, Path(folder), packages)
        report = {} if given else _search(path, table.target, confirm=confirm)
        rows = len(path.read_text().splitlines()) - 1
        widths = (
            dict(zip(("hidden1", "hidden2"), map(int, given.split(",")), strict=True))
            if given
            else report["recommended"]["widths"]
        )
        return {
            "rows": rows,
            "widths": widths,
            "report": report,
            **compare(path, table.target, widths, splits),
        }


def _search(path: Path, target: str, *, confirm: bool) -> dict[str, Any]:
    """Return what the report of a search by default options says of the answer."""
    arguments = ["run", "--data", str(path), "--target", target, "--trials", "8"]
    if not confirm:
        arguments.append("--no-confirm")
    completed = subprocess.run(
        [Path(sys.executable).with_name("widthwise"), *arguments, "--json"],
        cwd=path.parent,
        env={**os.environ, "WIDTHWISE_STORAGE": f"sqlite:///{path.parent}/study.db"},
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        raise RuntimeError(f"{path.name}: {completed.stderr[-2000:]}")
    report = json.loads(completed.stdout)
    keys = ("recommended", "verdict", "baselines", "better_model")
    return {key: report[key] for key in keys}
