"""Models, weights and rows, from what a person names; what is wrong in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_model
from torch import nn
from widthwise.objectives.errors import DataError, ModelError, ObjectiveError
from widthwise.objectives.growth.load import load_diagnosis_data, load_model, load_weights

SOURCE = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

def build(widths):
    return nn.Linear(4, widths["hidden"])

ready = make()

def nothing():
    return "a model"

def broken():
    raise RuntimeError("no file")

def rows():
    x = torch.randn(200, 4)
    return x, (x[:, 0] > 0).long()

def masked():
    ids = torch.arange(200)[:, None].repeat(1, 3)
    return {"x": (ids, ids > 1), "y": torch.arange(200)}

def named():
    return {"ids": torch.arange(200), "mask": torch.ones(200)}, torch.linspace(0, 1, 200)

def uneven():
    return {"x": (torch.ones(3), torch.ones(4)), "y": torch.ones(3)}

def few():
    x = torch.randn(30, 4)
    return x, (x[:, 0] > 0).long()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def test_a_function_a_builder_and_a_module(folder: Path) -> None:
    assert isinstance(load_model("mine.py:make", folder, None), nn.Sequential)
    assert isinstance(load_model("mine.py:ready", folder, None), nn.Sequential)
    assert load_model("mine.py:build", folder, {"hidden": 7}).out_features == 7


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("build", "takes 'widths': give its widths"),
        ("nothing", "must return a torch.nn.Module"),
        ("broken", "raised RuntimeError: no file"),
        ("missing", "has no 'missing'"),
    ],
)
def test_no_model(folder: Path, name: str, sentence: str) -> None:
    with pytest.raises(ObjectiveError) as refused:
        load_model(f"mine.py:{name}", folder, None)
    assert sentence in str(refused.value)


def test_weights_in_every_form(folder: Path) -> None:
    trained = load_model("mine.py:make", folder, None)
    torch.save(trained.state_dict(), folder / "plain.pt")
    torch.save({"epoch": 3, "model_state_dict": trained.state_dict()}, folder / "checkpoint.pth")
    save_model(trained, str(folder / "safe.safetensors"))
    for name in ("plain.pt", "checkpoint.pth", "safe.safetensors"):
        fresh = load_model("mine.py:make", folder, None)
        load_weights(fresh, folder / name)
        for mine, theirs in zip(fresh.parameters(), trained.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_weights_that_are_none(folder: Path) -> None:
    model = load_model("mine.py:make", folder, None)
    torch.save(nn.Linear(3, 3).state_dict(), folder / "other.pt")
    torch.save(model, folder / "whole.pt")  # a pickled module, which would run code
    (folder / "text.safetensors").write_text("hello")
    for name, sentence in (
        ("other.pt", "the weights of another model"),
        ("whole.pt", "no weights that can be read safely"),
        ("text.safetensors", "no weights that can be read safely"),
        ("absent.pt", "cannot be read"),
    ):
        with pytest.raises(ModelError) as refused:
            load_weights(model, folder / name)
        assert sentence in str(refused.value)
        assert "\n" not in str(refused.value)


def test_rows_of_one_input_are_divided_as_a_search_does(folder: Path) -> None:
    model = load_model("mine.py:make", folder, None)
    data = load_diagnosis_data("mine.py:rows", model, base=folder)
    assert (data.training.rows, data.held_out.rows) == (120, 40)
    assert data.loss_name == "cross_entropy"


def test_rows_of_several_inputs(folder: Path) -> None:
    model = nn.Linear(1, 1)
    masked = load_diagnosis_data("mine.py:masked", model, base=folder)
    assert [tensor.shape for tensor in masked.training.inputs] == [(120, 3), (120, 3)]
    assert torch.equal(masked.training.inputs[0][:, 0], masked.training.targets)
    named = load_diagnosis_data("mine.py:named", model, base=folder)
    assert set(named.training.named) == {"ids", "mask"}
    assert named.loss_name == "mse"
    seen = torch.cat([named.training.named["ids"], named.held_out.named["ids"]])
    assert len(seen.unique()) == 160


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("uneven", "give each as many"), ("few", "expected at least 20"), ("broken", "no file")],
)
def test_rows_that_will_not_do(folder: Path, name: str, sentence: str) -> None:
    model = load_model("mine.py:make", folder, None)
    with pytest.raises(DataError) as refused:
        load_diagnosis_data(f"mine.py:{name}", model, base=folder)
    assert sentence in str(refused.value)
