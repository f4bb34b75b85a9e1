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


def measure(job: tuple[str, Path | None, int, bool]) -> dict[str, Any]:
    """Search one table, and compare the recommended network with the other models."""
    name, packages, splits, confirm = job
    [table] = [table for table in TABLES if table.name == name]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = write_table(table, Path(folder), packages)
        arguments = ["run", "--data", str(path), "--target", table.target, "--trials", "8"]
        if not confirm:
            arguments.append("--no-confirm")
        completed = subprocess.run(
            [Path(sys.executable).with_name("widthwise"), *arguments, "--json"],
            cwd=folder,
            env={**os.environ, "WIDTHWISE_STORAGE": f"sqlite:///{folder}/study.db"},
            capture_output=True,
            text=True,
            check=False,
        )
        if completed.returncode:
            raise RuntimeError(f"{table.name}: {completed.stderr[-2000:]}")
        report = json.loads(completed.stdout)
        rows = len(path.read_text().splitlines()) - 1
        widths = report["recommended"]["widths"]
        return {
            "rows": rows,
            "widths": widths,
            "verdict": report["verdict"],
            "report": {
                "recommended": report["recommended"],
                "baselines": report["baselines"],
                "better_model": report.get("better_model"),
            },
            **compare(path, table.target, widths, splits),
        }
