"""The network as ONNX, where torch exports it, checked by running it where onnxruntime is there.

Entry point: `write_onnx`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...objectives.data.streams.batch import Batch, find_tensors, map_tensors
from ...objectives.errors import describe_error
from ...objectives.interrupt import raise_if_interrupt
from ..errors import SearchError

_NEEDED = ("onnx", "onnxscript")

_RELATIVE, _ABSOLUTE = 1e-3, 1e-4
"""How far outputs may differ: other kernels add up in another order."""


class OnnxFailure(SearchError):
    """There is no ONNX file, for a reason that the sentence gives."""


def write_onnx(network: nn.Module, batch: Batch, file: Path) -> str:
    """Write a network as ONNX; return in a sentence how it was checked.

    Batches of any size go into it where torch can export it so; else samples one by one.

    Args:
        network: On the CPU, in eval mode.
        batch: At least two samples that it takes.
        file: Where to.

    Raises:
        OnnxFailure: A package is missing, torch cannot export it, or it gives other outputs.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise OnnxFailure(
            f"no model.onnx: {' and '.join(missing)} not installed; "
            '`pip install "widthwise[onnx]"` adds what writes it'
        )
    any_size = True
    try:
        program = _exported(network, batch, any_size=True)
    except Exception as error:
        raise_if_interrupt(error)
        any_size = False
        batch = batch.select(slice(0, 1))
        try:
            program = _exported(network, batch, any_size=False)
        except Exception as second:
            raise_if_interrupt(second)
            raise OnnxFailure(
                f"no model.onnx: torch cannot export this network ({_reason(second)})"
            ) from error
    with _silent():
        program.save(str(file))
    size = "batches of any size" if any_size else "one sample at a time"
    if find_spec("onnxruntime") is None:
        return f"model.onnx takes {size}; it was not run, as onnxruntime is not installed."
    difference = _largest_difference(network, batch, file)
    if difference is None:
        for path in file.parent.glob(f"{file.name}*"):
            path.unlink()
        raise OnnxFailure(
            "no model.onnx: run by onnxruntime, what torch exports gives other outputs than the "
            "network"
        )
    return (
        f"model.onnx takes {size}; run by onnxruntime its outputs differ by at most "
        f"{difference:.1g} from the network's."
    )


def _exported(network: nn.Module, batch: Batch, *, any_size: bool) -> Any:
    """Return torch's export of a network; what it prints, and its own libraries warn of, is kept.

    Raises:
        Exception: Whatever torch raises for what it cannot export.
    """
    shapes = None
    if any_size:
        rows, dynamic = batch.rows, torch.export.Dim.DYNAMIC
        shapes_of = {
            "args": map_tensors(lambda value: _dynamic_axes(value, rows, dynamic), batch.args),
            "kwargs": map_tensors(lambda value: _dynamic_axes(value, rows, dynamic), batch.kwargs),
        }
        shapes = dict(shapes_of["kwargs"]) if batch.kwargs else tuple(shapes_of["args"])
    with _silent(), torch.no_grad():
        return torch.onnx.export(
            network,
            tuple(batch.args),
            kwargs=dict(batch.kwargs) or None,
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
            external_data=False,
        )


def _dynamic_axes(value: Any, rows: int, dynamic: Any) -> Any:
    """Return which axes of an argument are of any size: the first one, of what has a row each."""
    if isinstance(value, Tensor) and value.ndim and len(value) == rows:
        return {0: dynamic}
    return None


def _largest_difference(network: nn.Module, batch: Batch, file: Path) -> float | None:
    """Return by how much onnxruntime's outputs differ; None where that is too much."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(file), sess_options=options, providers=["CPUExecutionProvider"]
    )
    tensors = list(find_tensors((batch.args, dict(batch.kwargs))))
    names = [one.name for one in session.get_inputs()]
    if len(names) != len(tensors):
        return None  # an input that the outputs do not depend on was dropped: not this network
    fed = {name: value.numpy() for name, value in zip(names, tensors, strict=True)}
    actual = session.run(None, fed)
    with torch.no_grad():
        expected = list(find_tensors(_plain(batch.call(network))))
    if len(expected) != len(actual):
        return None
    largest = 0.0
    for wanted, got in zip(expected, map(torch.as_tensor, actual), strict=True):
        if wanted.shape != got.shape or not torch.allclose(
            got.double(), wanted.double(), rtol=_RELATIVE, atol=_ABSOLUTE
        ):
            return None
        if wanted.numel():
            largest = max(largest, float((got.double() - wanted.double()).abs().max()))
    return largest


def _plain(output: Any) -> Any:
    """Return a model's output as tuples and mappings; a library's own class may be a mapping."""
    return dict(output) if hasattr(output, "items") else output


def _reason(error: BaseException) -> str:
    """Return what torch says, in the words of the first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{describe_error(error).splitlines()[0]:.200}"


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what torch's exporter prints and warns of: what a person must know, we say."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
