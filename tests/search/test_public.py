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


def test_status_needs_no_torch() -> None:
    code = "import sys, widthwise.search.cli.app, widthwise.search.study; "
    code += "print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"


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
    assert "trial 1" in capfd.readouterr().err
