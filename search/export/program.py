"""The program of five lines that loads an exported network, and runs it once.

Entry point: `loading_program`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...objectives.training.step import TensorSpec


def loading_program(folder: Path, inputs: Any, *, has_weights: bool) -> str:
    """Return the lines, as they run from where `folder` is relative to.

    Args:
        folder: Of the export.
        inputs: What the network is called with: specs of positional or of keyword arguments.
        has_weights: Whether there are weights to load.
    """
    call = (
        f"**{_source(inputs)}"
        if isinstance(inputs, Mapping)
        else ", ".join(_source(value) for value in inputs)
    )
    model, weights = (
        json.dumps((folder / name).as_posix(), ensure_ascii=False)
        for name in ("model.py", "weights.safetensors")
    )
    build = f'network = runpy.run_path({model})["build"]()'
    lines = ["import runpy, torch"]
    if has_weights:
        lines += [
            "from safetensors.torch import load_file",
            build,
            f"network.load_state_dict(load_file({weights}))",
        ]
    else:
        lines += [build]
    return "\n".join([*lines, f"print(network.eval()({call}))"])


def _source(value: Any) -> str:
    """Return an expression for one argument, a sample of zeros in the place of each spec."""
    if isinstance(value, TensorSpec):
        sizes = ", ".join(map(str, value.sizes(1)))
        kind = "" if value.dtype is torch.float32 else f", dtype={value.dtype}"
        return f"torch.zeros({sizes}{kind})" if sizes else f"torch.zeros((){kind})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_source(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_source, value)) + "]"
    if isinstance(value, tuple):
        return "(" + "".join(f"{_source(item)}, " for item in value).rstrip() + ")"
    return repr(value)
