"""How busy a GPU is: nvidia-smi's figures, here from a program of its name that prints some."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.proxy.utilisation import measure_utilisation

SMI = """#!{python}
import sys, time
assert "--id=GPU-0123" in sys.argv and "--query-gpu=utilization.gpu" in sys.argv
print({shown}, flush=True)
open({sign!r}, "w").close()
time.sleep(60)
"""


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A GPU that is not there, with an nvidia-smi that tells of it."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    properties = SimpleNamespace(uuid="0123")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    sign = tmp_path / "has spoken"

    def reporting(smi_output: str) -> Path:
        program = tmp_path / "nvidia-smi"
        text = SMI.format(python=sys.executable, shown=repr(smi_output), sign=str(sign))
        program.write_text(text)
        program.chmod(0o755)
        return sign

    return SimpleNamespace(saying=reporting, device=torch.device("cuda"))


def wait_for(sign: Path) -> None:
    while not sign.exists():
        pass


def test_the_mean_of_what_was_seen(gpu: SimpleNamespace) -> None:
    sign = gpu.saying("40\n90\n80")
    with measure_utilisation(gpu.device) as busy:
        wait_for(sign)
    assert busy == [70.0]


def test_a_gpu_that_does_not_tell(gpu: SimpleNamespace) -> None:
    sign = gpu.saying("[N/A]")
    with measure_utilisation(gpu.device) as busy:
        wait_for(sign)
    assert busy == []


def test_a_cpu_is_not_watched() -> None:
    with measure_utilisation(torch.device("cpu")) as busy:
        pass
    assert busy == []
