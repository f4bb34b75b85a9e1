"""`widthwise discover`, and `init`, `check` and `run` of a model that exists, end to end."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

MODEL = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
    def forward(self, x):
        return x + self.down(self.up(self.norm(x)).relu())

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(64, 16)
        self.blocks = nn.ModuleList(Block(16, 24) for _ in range(2))
        self.head = nn.Linear(16, 10)
    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)

def make_model():
    return Net()

def fixed():
    return nn.Linear(64, 10)

def needs(width):
    return nn.Linear(64, width)
"""


@pytest.fixture
def models(cli: Any) -> Any:
    cli.write("net.py", MODEL)
    return cli


def test_json_names_groups_members_and_what_is_fixed(models: Any) -> None:
    found = models.run_in_process("discover", "net.py:make_model", "--input", "64", "--json").json
    assert {*found} == {"groups", "fixed", "how"}
    widths = {group["name"]: group for group in found["groups"] if not group.get("depth")}
    assert sorted(group["size"] for group in widths.values()) == [16, 24]
    inner = next(group for group in widths.values() if group["size"] == 24)
    assert {(m["module"], m["parameter"], m["dim"]) for m in inner["members"]} == {
        (f"blocks.{block}.{layer}", parameter, dim)
        for block in (0, 1)
        for layer, parameter, dim in (("up", "weight", 0), ("up", "bias", 0), ("down", "weight", 1))
    }
    assert {(layer["module"], layer["reason"]) for layer in found["fixed"]} == {
        ("stem", "input size (64)"),
        ("head", "output size (10)"),
    }


def test_layers_may_be_apart_or_kept_or_chosen(models: Any) -> None:
    def sizes(*flags: str) -> list[int]:
        found = models.run_in_process(
            "discover", "net.py:make_model", "--input", "64", "--json", *flags
        ).json
        return sorted(group["size"] for group in found["groups"] if not group.get("depth"))

    assert sizes("--per-layer") == [16, 24, 24]
    assert sizes("--keep", "stem") == [24]
    assert sizes("--only", "blocks.*.up", "--only", "blocks.*.down") == [24]


def test_the_report_fits_eighty_columns(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = models.run_in_process("discover", "net.py:make_model", "--input", "64").out
    assert "blocks.0–1.up" in shown
    assert "stem: input size (64)" in shown
    assert "head: output size (10)" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["discover", "net.py:make_model"], "--input"),
        (["discover", "net.py:make_model", "--input", "63"], "cannot be called with this example"),
        (["discover", "net.py:make_model", "--input", "x"], "expected the shape of one sample"),
        (["discover", "net.py:mak_model", "--input", "64"], "did you mean 'make_model'"),
        (["discover", "net.py:needs", "--input", "64"], "needs the arguments width"),
        (["discover", "net.py:make_model", "--input", "64", "--keep", "nosuch"], "nosuch"),
        (["init", "--model", "net.py:make_model"], "--input"),
        (["init", "--model", "net.py:fixed", "--input", "64"], "no width to search"),
        (["init", "--data", "digits"], "--data goes with --model"),
        (["init", "--per-layer"], "--per-layer goes with --model"),
    ],
)
def test_bad_input_is_a_sentence(models: Any, command: list[str], words: str) -> None:
    result = models.run_in_process(*command)
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err


def test_a_model_that_exists_is_searched_no_line_of_it_touched(models: Any) -> None:
    written = models.run_in_process("init", "--model", "net.py:make_model", "--data", "digits")
    assert written.code == 0, written.err
    spec = tomllib.loads((models.folder / "widthwise.toml").read_text())
    assert spec["model"] == {"discover": "net.py:make_model", "input": "64"}
    assert sorted(spec["references"]["today"].values()) == [16, 24]
    assert spec["limits"] == {"flops": "100% of today", "parameters": "100% of today"}
    checked = models.run_in_process("check", "widthwise.toml", "--json")
    assert checked.code == 0, checked.err
    costs = checked.json["costs"]
    # 64·16 + 16, two blocks of 16·2 + 2·16·24 + 24 + 16, 16·10 + 10.
    assert costs["today"]["parameters"] == 1040 + 2 * 840 + 170
    assert costs["today"]["feasible"]
    assert not costs["largest"]["feasible"]
    assert (
        "a training step of today's model took"
        in models.run_in_process("check", "widthwise.toml").out
    )


def test_a_spec_names_some_widths_or_none(models: Any) -> None:
    sections = """
study = {{ name = "some", trials = 3 }}
model = {{ discover = "net.py:make_model", input = "64" }}
{widths}
proxy = {{ data = "digits", epochs = 1, folds = 1, engine = "plain" }}
"""
    inner = next(
        group["name"]
        for group in models.run_in_process(
            "discover", "net.py:make_model", "--input", "64", "--json"
        ).json["groups"]
        if group["size"] == 24
    )

    def check(widths: str) -> Any:
        models.write("some.toml", sections.format(widths=widths))
        return models.run_in_process("check", "some.toml", "--json")

    some = check(f'widths = {{ "{inner}" = [8, 40] }}').json["costs"]
    assert some["smallest"]["widths"] == {inner: 8}
    assert some["smallest"]["parameters"] == 1040 + 2 * (32 + 2 * 16 * 8 + 8 + 16) + 170
    none = check("").json["costs"]
    assert sorted(none["smallest"]["widths"].values()) == [4, 8]
    assert sorted(none["largest"]["widths"].values()) == [32, 48]
    unknown = check("widths = { inner = [8] }")
    assert unknown.code == 2
    assert "widths.inner: the model has no such width" in unknown.err
    models.write("some.toml", sections.format(widths=f'widths = {{ "{inner}" = [8, 40] }}'))
    run = models.run_in_process("run", "some.toml", "--workers", "1")
    assert run.code == 0, run.err
