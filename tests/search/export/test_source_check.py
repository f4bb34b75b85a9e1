"""Whether a written module builds its network: what is said where it does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn
from widthwise.search.export.source_check import build_failure, tensor_shapes

EXPECTED = tensor_shapes(nn.Linear(3, 2))


def written(folder: Path, body: str) -> Path:
    file = folder / "model.py"
    file.write_text(f"import sys\nfrom torch import nn\ndef build():\n    {body}\n")
    return file


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("return nn.Linear(3, 2)", None),
        ("return nn.LazyLinear(2)", None),
        ("return nn.Linear(4, 2)", "its weight is (2, 4), that of the network (2, 3)"),
        ("return nn.Linear(3, 2, bias=False)", "its bias is None, that of the network (2,)"),
        ("return missing", "it raises NameError: name 'missing' is not defined"),
        ("sys.exit(3)", "it raises SystemExit"),
    ],
)
def test_it_says_what_is_wrong(tmp_path: Path, body: str, failure: str | None) -> None:
    found = build_failure(written(tmp_path, body), EXPECTED)
    assert (found is None) == (failure is None)
    assert found is None or (failure is not None and found.startswith(failure))


def test_it_leaves_no_trace_in_this_program(tmp_path: Path) -> None:
    before = list(sys.path)
    body = "sys.path.append('/nowhere'); sys.modules['widthwise_exported_x'] = sys; return 1 / 0"
    assert build_failure(written(tmp_path, body), EXPECTED) is not None
    assert sys.path == before
    assert "widthwise_exported_x" not in sys.modules
