"""The dense engine's compiled functions by themselves, and how they are compiled."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from widthwise.objectives.engines.dense import kernel
from widthwise.objectives.engines.dense.activations import CHUNK, exp_inplace, smooth_activation
from widthwise.objectives.engines.dense.program import SmoothActivation, Workspace


def space() -> Workspace:
    scratch = np.empty((2, CHUNK))
    flat = np.empty(0)
    return Workspace(flat, flat.reshape(2, 0), flat, scratch, scratch[1].view(np.int64))


def test_exponentials_are_exact_to_the_last_digits() -> None:
    x = np.linspace(-700, 700, CHUNK)
    actual = x.copy()
    exp_inplace(actual, space())
    assert np.abs(actual / np.exp(x) - 1).max() < 5e-16


def test_exponentials_of_what_is_out_of_range() -> None:
    actual = np.array([math.nan, -math.inf, -1e6, 1e6, math.inf, 0.0])
    exp_inplace(actual, space())
    assert math.isnan(actual[0])
    assert (actual[1:3] < 1e-300).all()
    assert (actual[3:5] > 1e300).all()
    assert actual[5] == 1


EXACT = {
    SmoothActivation.SIGMOID: lambda x: 1 / (1 + math.exp(-x)),
    SmoothActivation.SILU: lambda x: x / (1 + math.exp(-x)),
    SmoothActivation.TANH: math.tanh,
    SmoothActivation.ELU: lambda x: x if x > 0 else math.expm1(x),
    SmoothActivation.GELU: lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
}


@pytest.mark.parametrize("activation", SmoothActivation, ids=lambda one: one.name)
def test_activations_and_their_slopes(activation: SmoothActivation) -> None:
    x = np.linspace(-30, 31, 2 * CHUNK + 7)  # without 0, where an ELU bends
    values, slopes = x.copy(), np.empty_like(x)
    smooth_activation(int(activation), 1.0, values, slopes, space())
    exact = EXACT[activation]
    assert np.abs(values - [exact(item) for item in x]).max() < 2e-14
    step = 1e-6
    differences = [(exact(item + step) - exact(item - step)) / (2 * step) for item in x]
    assert np.abs(slopes - differences).max() < 1e-8
    values[:] = math.nan
    smooth_activation(int(activation), 1.0, values, slopes, space())
    assert np.isnan(values).all()


@pytest.mark.parametrize("stage", ["when asked for", "when used"])
def test_without_a_cache_on_disk_it_is_compiled_all_the_same(stage: str) -> None:
    def compiler(*, cache: bool = False, **_: Any) -> Any:
        if cache and stage == "when asked for":
            raise RuntimeError("cannot cache function: no locator available")

        def broken(*_: Any) -> None:
            raise OSError("no space left on device")

        return lambda function: broken if cache else function

    used: list[Any] = []

    def attempt(compiled: kernel.CompiledKernels) -> None:
        if stage == "when used" and not used:
            used.append(compiled.train)
            compiled.train()

    compiled = kernel.CompiledKernels(attempt, compiler)
    assert compiled.train.__name__ == "train"
    assert compiled.evaluate.__name__ == "evaluate"


def test_a_change_of_any_compiled_source_changes_the_checksum(tmp_path: Path) -> None:
    for file in Path(kernel.__file__).parent.glob("*.py"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = kernel.source_checksum(tmp_path)
    assert before == kernel.source_checksum(tmp_path) == kernel.source_checksum()
    for file in tmp_path.iterdir():
        file.write_text(file.read_text() + "# changed")
        after = kernel.source_checksum(tmp_path)
        assert after != before
        before = after
