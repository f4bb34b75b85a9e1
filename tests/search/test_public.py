"""The public interface is what `__all__` says, loaded when asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import widthwise
from widthwise.search.spec.spec import parse_spec


@pytest.mark.parametrize("name", widthwise.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(widthwise, name).__doc__


def test_what_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'torch'"):
        _ = widthwise.torch
    assert dir(widthwise) == sorted(widthwise.__all__)


SUPERVISION = ("cli.verbs", "study", "fleet.run", "worker.pool", "trial.checkpoints")
"""Modules of `search` that a command needs to show, start or watch over trainings of others."""
TRAINING = (
    "worker.trainer",
    "problem.problem",
    "trial.runner",
    "report.recommendation.recommendation",
)
"""Modules of `search` that a trainer needs whatever it trains."""


@pytest.mark.parametrize(
    ("modules", "unneeded"),
    [
        pytest.param(SUPERVISION, "torch sklearn pandas numba", id="supervision"),
        pytest.param(TRAINING, "sklearn numba", id="training"),
    ],
)
def test_a_process_does_not_load_what_it_does_not_need(
    modules: tuple[str, ...], unneeded: str
) -> None:
    imports = ", ".join(f"widthwise.search.{module}" for module in modules)
    code = f"import sys, {imports}; print({{*{unneeded.split()}}} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"


def test_a_search_from_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spec = parse_spec(
        {
            "study": {"name": "python", "trials": 2},
            "model": {"family": "mlp"},
            "widths": {"a": {"low": 2, "high": 8}},
            "proxy": {"data": "iris", "epochs": 1},
        }
    )
    report = widthwise.run(spec, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert report["trials"]["complete"] == 2
    assert report["recommended"]["widths"]
    progress = capfd.readouterr().err
    assert "trial 1" in progress
    assert "not confirmed: 2 of its trainings are complete, and 4 are needed" in progress
