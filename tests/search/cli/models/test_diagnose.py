"""`widthwise diagnose`: the bottleneck of a trained model, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from widthwise.tests.command_line import CommandResult, run_in_process

SOURCE = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    sizes = (64, 32, 2, 32, 10)
    layers = []
    for before, after in zip(sizes, sizes[1:]):
        layers += [nn.Linear(before, after), nn.ELU()]
    return nn.Sequential(*layers[:-1])

def build(widths):
    return nn.Linear(64, widths["a"])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def diagnose(folder: Path, *flags: str) -> CommandResult:
    threads = torch.get_num_threads()
    try:
        return run_in_process(folder, {"COLUMNS": "80"}, "diagnose", "mine.py:make", *flags)
    finally:
        torch.set_num_threads(threads)


def test_the_bottleneck_of_a_model_that_is_trained_first(folder: Path) -> None:
    done = diagnose(folder, "--data", "digits", "--epochs", "30", "--json")
    assert done.code == 0, done.err
    answer = done.json
    assert answer["trained"] is True
    assert answer["bottleneck"] == "2"
    assert "is the bottleneck" in answer["sentences"][0]
    layers = {layer["layer"]: layer for layer in answer["layers"]}
    assert layers["2"]["rank"]["srank"] <= 2
    assert layers["6"]["first_order"] is None
    assert "last layer" in layers["6"]["reason"]


def test_an_untrained_model_is_said_to_be_so_within_80_columns(folder: Path) -> None:
    done = diagnose(folder, "--data", "digits")
    assert done.code == 0, done.err
    assert done.out.startswith("Not trained: the held-out loss is")
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "diagnose needs --data"),
        (["--data", "digits", "--weights", "absent.pt"], "absent.pt cannot be read"),
        (["--data", "digits", "--weights", "w.pt", "--epochs", "2"], "give one"),
        (["--data", "digits", "--task", "guess"], '--task: found "guess"'),
        (["--data", "iris"], "make it take"),
        (["--data", "digits", "--epochs", "0"], "--epochs"),
        (["--data", "digits", "--loss", "mse"], "for a regression"),
        (["--data", "digits", "--widths", "a"], "expected NAME=NUMBER"),
    ],
    ids=str,
)
def test_bad_input(folder: Path, flags: list[str], sentence: str) -> None:
    done = diagnose(folder, *flags)
    assert done.code == 2
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert not done.out
