"""A study of real trainings that are over in a moment, for tests of what is around them."""

from __future__ import annotations

from pathlib import Path

SPEC = """\
study = {{ name = "{name}", trials = {trials} }}
model = {{ build = "small.py:build" }}
widths = {{ a = {{ low = 2, high = 64 }}, b = {{ low = 2, high = 64 }} }}
proxy = {{ data = "small_data.py:load", epochs = {epochs}, batch_size = 32, patience = 0, \
learning_rate = 0.02, parametrisation = "standard", engine = "plain", at_once = 1 }}
"""
MODEL = """\
import pathlib, time
from torch import nn

class Small(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU(), nn.Linear(b, 3)
        )

    def forward(self, x):
        # A short last batch is seen in training only, neither traced nor checked beforehand.
        if self.training and len(x) == 16:
            if pathlib.Path("broken").exists():
                raise RuntimeError("the disk of the data is away")
            while pathlib.Path("wait").exists():
                time.sleep(0.02)
            if pathlib.Path("slow").exists():
                time.sleep(0.3)
        return self.layers(x)

def build(widths):
    return Small(widths["a"], widths["b"])
"""
DATA = """\
import torch

def load():
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, :3].argmax(1)
    return x[:48], y[:48], x[48:72], y[48:72], x[72:], y[72:]
"""


def write_small_study(folder: Path, trials: int, *, epochs: int = 2, name: str = "small") -> str:
    """Write the study's files; returns the name of the spec.

    Its trainings raise while there is a file `broken`, wait while there is a file `wait`, and take
    0.3 s an epoch while there is a file `slow`.
    """
    spec = f"{name}.toml"
    (folder / spec).write_text(SPEC.format(name=name, trials=trials, epochs=epochs))
    (folder / "small.py").write_text(MODEL)
    (folder / "small_data.py").write_text(DATA)
    return spec
