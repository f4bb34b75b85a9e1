"""The dense engine's compiled functions by themselves, and how they come to be compiled."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from widthwise.objectives.engines.dense import kernel
from widthwise.objectives.engines.dense.activations import CHUNK, bend, exponentiate
from widthwise.objectives.engines.dense.program import Smooth, Space


def space() -> Space:
    scratch = np.empty((2, CHUNK))
    flat = np.empty(0)
    return Space(flat, flat.reshape(2, 0), flat, scratch, scratch[1].view(np.int64))


def test_exponentials_are_exact_to_the_last_digits() -> None:
    x = np.linspace(-700, 700, CHUNK)
    found = x.copy()
    exponentiate(found, space())
    assert np.abs(found / np.exp(x) - 1).max() < 5e-16


def test_exponentials_of_what_is_out_of_range() -> None:
    found = np.array([math.nan, -math.inf, -1e6, 1e6, math.inf, 0.0])
    exponentiate(found, space())
    assert math.isnan(found[0])
    assert (found[1:3] < 1e-300).all()
    assert (found[3:5] > 1e300).all()
    assert found[5] == 1


EXACT = {
    Smooth.SIGMOID: lambda x: 1 / (1 + math.exp(-x)),
    Smooth.SILU: lambda x: x / (1 + math.exp(-x)),
    Smooth.TANH: math.tanh,
    Smooth.ELU: lambda x: x if x > 0 else math.expm1(x),
    Smooth.GELU: lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
}


@pytest.mark.parametrize("activation", Smooth, ids=lambda one: one.name)
def test_activations_and_their_slopes(activation: Smooth) -> None:
    x = np.linspace(-30, 31, 2 * CHUNK + 7)  # without 0, where an ELU bends
    values, slopes = x.copy(), np.empty_like(x)
    bend(int(activation), 1.0, values, slopes, space())
    exact = EXACT[activation]
    assert np.abs(values - [exact(one) for one in x]).max() < 2e-14
    step = 1e-6
    differences = [(exact(one + step) - exact(one - step)) / (2 * step) for one in x]
    assert np.abs(slopes - differences).max() < 1e-8
    values[:] = math.nan
    bend(int(activation), 1.0, values, slopes, space())
    assert np.isnan(values).all()


@pytest.mark.parametrize("stage", ["when asked for", "when used"])
def test_without_a_place_for_the_cache_it_is_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def compiler(*, cache: bool = False, **_: Any) -> Any:
        if cache and stage == "when asked for":
            raise RuntimeError("cannot cache function: no locator available")

        def broken(*_: Any) -> None:
            raise OSError("no space left on device")

        return lambda function: broken if cache else function

    monkeypatch.setattr(kernel, "njit", compiler)
    used: list[Any] = []

    def attempt(compiled: kernel.Compiled) -> None:
        if stage == "when used" and not used:
            used.append(compiled.train)
            compiled.train()

    compiled = kernel.Compiled(attempt)
    assert compiled.train.__name__ == "train"
    assert compiled.evaluate.__name__ == "evaluate"


def test_a_change_of_any_compiled_source_is_another_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = Path(kernel.__file__)
    for file in source.parent.glob("*.py"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(kernel, "__file__", str(tmp_path / source.name))
    same = kernel._revision()
    assert same == kernel._revision()
    for file in tmp_path.iterdir():
        file.write_text(file.read_text() + "# changed")
        assert kernel._revision() != same
        same = kernel._revision()
