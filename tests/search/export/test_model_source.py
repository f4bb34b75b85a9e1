"""The module that builds a network: which files it takes along, and what it says it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from widthwise.objectives.discovery.resizing.resizable import find_resizable
from widthwise.objectives.held_objects import hold, release
from widthwise.objectives.training.step import TensorSpec
from widthwise.objectives.user_code import load_object
from widthwise.search.errors import SpecError
from widthwise.search.export.model_source import (
    MARK,
    DiscoveredModel,
    local_sources,
    model_source,
)
from widthwise.search.export.source_check import build_failure
from widthwise.search.spec.spec import Spec, parse_spec


def spec(build: str, name: str = "s") -> Spec:
    return parse_spec(
        {
            "study": {"name": name},
            "model": {"build": build},
            "widths": {"a": [2, 4]},
            "proxy": {"data": "iris"},
        }
    )


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_file_takes_along_what_it_imports_and_nothing_else(tmp_path: Path) -> None:
    write(
        tmp_path,
        model="import torch\nimport blocks\nfrom layers.norm import Norm\nimport json\n",
        blocks="from helpers import scale\n",
        helpers="import model\n",  # a circle
        layers__norm="class Norm: ...\n",
        layers__other="import alone\n",
        data="rows = 1\n",
        alone="",
    )
    found = local_sources(tmp_path / "model.py", tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in found}
    assert names == {
        "model.py", "blocks.py", "helpers.py", "layers/norm.py", "layers/other.py", "alone.py",
    }  # fmt: skip


def test_a_module_of_a_package_takes_the_package_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path,
        mypack__nets="from .parts import size\ndef build(widths):\n    return size, widths\n",
        mypack__parts="size = 3\n",
    )
    (tmp_path / "mypack" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    source = model_source(spec("mypack.nets:build"), tmp_path, {"a": 4}, family_options={})
    assert {path.as_posix() for path in source.copies} == {
        "model_source/mypack/__init__.py",
        "model_source/mypack/nets.py",
        "model_source/mypack/parts.py",
    }


def test_a_file_of_the_same_name_builds_with_the_widths(tmp_path: Path) -> None:
    write(tmp_path, model="def build(widths):\n    return sorted(widths.items())\n")
    source = model_source(spec("model.py:build", 'x"""y'), tmp_path, {"a": 4}, family_options={})
    out = tmp_path / "out"
    for target, original in source.copies.items():
        (out / target).parent.mkdir(parents=True)
        (out / target).write_bytes(original.read_bytes())
    (out / "model.py").write_text(source.text, encoding="utf-8")
    (tmp_path / "model.py").unlink()
    names: dict[str, Any] = {"__file__": str(out / "model.py")}
    exec(compile(source.text, "model.py", "exec"), names)
    assert names["build"]() == [("a", 4)]
    assert names["build"]({"a": 2}) == [("a", 2)]
    assert MARK in source.text.splitlines()[0]
    assert source.needs == ()


def test_an_installed_module_is_imported_and_said_to_be_needed(tmp_path: Path) -> None:
    source = model_source(spec("torch.nn:Identity"), tmp_path, {"a": 4}, family_options={})
    assert source.needs == ("torch",)
    assert not source.copies
    names: dict[str, Any] = {}
    exec(compile(source.text, "model.py", "exec"), names)
    assert type(names["build"]()).__name__ == "Identity"


def test_an_object_of_a_program_has_no_file(tmp_path: Path) -> None:
    reference = hold(lambda widths: widths, "build")
    try:
        with pytest.raises(SpecError, match="is an object of the Python program that searched"):
            model_source(spec(reference), tmp_path, {"a": 4}, family_options={})
    finally:
        release([reference])


NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, hidden=8, activation=nn.ReLU):
        super().__init__()
        self.first, self.second = nn.Linear(4, hidden), nn.Linear(hidden, 3)
        self.activation = activation()

    def forward(self, x):
        return self.second(self.activation(self.first(x)))

def make_model():
    return Net(hidden=12)

def make_stack():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
"""


@pytest.mark.parametrize(("name", "by_call"), [("make_model", True), ("make_stack", False)])
def test_a_discovered_model_is_built_by_its_call_or_by_us(
    tmp_path: Path, name: str, by_call: bool
) -> None:
    write(tmp_path, net=NET)
    inputs = (TensorSpec(shape=(4,)),)
    resizable = find_resizable(load_object(f"net.py:{name}", tmp_path), inputs)
    (group,) = resizable.discovery.groups
    widths = {group.name: 5}
    assert (resizable.call(widths) is not None) == by_call
    source = model_source(
        spec("net.py:make_model"),
        tmp_path,
        widths,
        family_options={},
        discovered=DiscoveredModel(
            reference=f"net.py:{name}",
            call=resizable.call(widths),
            inputs=inputs,
            options={"only": (), "keep": (), "per_layer": False},
        ),
    )
    assert source.needs == (() if by_call else ("widthwise",))
    assert ("Net(" in source.text) == by_call
    out = tmp_path / "out"
    for target, original in source.copies.items():
        (out / target).parent.mkdir(parents=True)
        (out / target).write_bytes(original.read_bytes())
    (out / "model.py").write_text(source.text, encoding="utf-8")
    layers = ("first", "second") if by_call else ("0", "2")
    expected = {f"{layers[0]}.weight": (5, 4), f"{layers[0]}.bias": (5,)}
    expected |= {f"{layers[1]}.weight": (3, 5), f"{layers[1]}.bias": (3,)}
    assert build_failure(out / "model.py", expected) is None
