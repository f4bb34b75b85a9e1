"""ONNX files: what they take, what they give, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.data.streams.batch import Batch
from widthwise.search.export.onnx_file import OnnxFailure, write_onnx


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.linear = nn.Embedding(9, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.linear(x) + self.embedding(ids).mean(dim=1)
        return hidden, hidden.sum(dim=1)


class Branching(nn.Module):
    """A network whose forward goes by its data."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if float(x.sum()) > 0 else x.flatten()


def test_a_network_of_two_inputs_gives_the_same_for_batches_of_any_size(tmp_path: Path) -> None:
    network, file = TwoInputs().eval(), tmp_path / "model.onnx"
    ids = torch.randint(9, (3, 5))
    said = write_onnx(network, Batch(args=(torch.randn(3, 3), ids)), file)
    assert said.startswith("model.onnx takes batches of any size; run by onnxruntime")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    x, ids = torch.randn(7, 3), torch.randint(9, (7, 5))
    names = [one.name for one in session.get_inputs()]
    hidden, total = session.run(None, dict(zip(names, (x.numpy(), ids.numpy()), strict=True)))
    expected = network(x, ids)
    torch.testing.assert_close(torch.tensor(hidden), expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(total), expected[1], rtol=1e-4, atol=1e-5)


def test_what_torch_cannot_export_is_said(tmp_path: Path, capfd: Any) -> None:
    file = tmp_path / "model.onnx"
    with pytest.raises(OnnxFailure, match=r"^no model\.onnx: torch cannot export this network"):
        write_onnx(Branching().eval(), Batch(args=(torch.ones(3, 4),)), file)
    assert not file.exists()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(OnnxFailure, match=rf"{missing} not installed; .*widthwise\[onnx\]"):
        write_onnx(nn.Identity(), Batch(args=(torch.ones(3, 4),)), tmp_path / "model.onnx")


def test_without_onnxruntime_it_is_not_said_to_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    network = nn.Linear(4, 2).eval()
    said = write_onnx(network, Batch(args=(torch.ones(3, 4),)), tmp_path / "model.onnx")
    assert "it was not run, as onnxruntime is not installed" in said
    assert (tmp_path / "model.onnx").is_file()
