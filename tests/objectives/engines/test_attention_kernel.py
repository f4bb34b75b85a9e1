"""Compiled attention: the textbook's result and gradients, in the form that torch gives them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from torch import Tensor
from widthwise.objectives.engines import attention_compiled
from widthwise.objectives.engines.attention_math import exponential, logarithm
from widthwise.objectives.engines.attention_tiles import SIDE, load, load_tile, store
from widthwise.objectives.engines.fused_attention import (
    BACKWARD,
    FORWARD,
    LARGEST,
    attention,
    attention_gradients,
)

TYPES = [torch.float32, torch.float64]
NAMES = ["float32", "float64"]

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "heads first": lambda x: x.contiguous(),
    "tokens first": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "a part of wider rows": lambda x: torch.stack([x, x], 3)[..., 1, :],
    "rows inside": lambda x: x.permute(1, 2, 0, 3).contiguous().permute(2, 0, 1, 3),
    "from an offset": lambda x: torch.cat([x, x])[len(x) :],
}


def textbook(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> Tensor:
    """softmax(scale · Q Kᵀ) V."""
    scores = scale * (q @ k.transpose(2, 3))
    if causal:
        hidden = torch.ones(scores.shape[2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -math.inf)
    return scores.softmax(-1) @ v


def drawn(*shape: int, dtype: Any = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(deadline=None, max_examples=80)
@given(
    rows=st.integers(1, 3),
    heads=st.integers(1, 3),
    tokens=st.integers(1, 35),
    others=st.none() | st.integers(1, 35),
    size=st.integers(1, LARGEST),
    causal=st.booleans(),
    scale=st.none() | st.floats(0.01, 2),
    dtype=st.sampled_from(TYPES),
    layouts=st.tuples(*[st.sampled_from(list(LAYOUTS))] * 4),
    seed=st.integers(0, 2**31),
)
def test_results_and_gradients_are_the_textbooks_and_look_like_torchs(
    rows: int,
    heads: int,
    tokens: int,
    others: int | None,
    size: int,
    causal: bool,
    scale: float | None,
    dtype: Any,
    layouts: tuple[str, ...],
    seed: int,
) -> None:
    lengths = (tokens, others or tokens, others or tokens, tokens)
    exact = [
        drawn(rows, heads, length, size, seed=seed + place) for place, length in enumerate(lengths)
    ]
    q, k, v, slopes = (LAYOUTS[name](x.to(dtype)) for name, x in zip(layouts, exact, strict=True))
    found = attention(q, k, v, 0.0, causal, scale=scale)
    theirs = FORWARD(q, k, v, 0.0, causal, scale=scale)
    gradients = attention_gradients(slopes, q, k, v, *found, 0.0, causal, scale=scale)
    their_gradients = BACKWARD(slopes, q, k, v, *theirs, 0.0, causal, scale=scale)
    tolerance = 2e-5 if dtype is torch.float32 else 1e-13
    for one, other in zip((*found, *gradients), (*theirs, *their_gradients), strict=True):
        assert (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    rounded = [x.to(dtype).double().requires_grad_() for x in exact]
    expected = textbook(*rounded[:3], causal, size**-0.5 if scale is None else scale)
    torch.testing.assert_close(found[0].double(), expected, rtol=tolerance, atol=tolerance)
    wanted = torch.autograd.grad(expected, rounded[:3], rounded[3])
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_gradients_are_what_small_steps_show(causal: bool) -> None:
    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *parts: Tensor) -> Tensor:
            found = attention(*(part.detach() for part in parts), 0.0, causal)
            context.save_for_backward(*parts, *found)
            return found[0]

        @staticmethod
        def backward(context: Any, slopes: Tensor) -> tuple[Tensor, ...]:
            saved = [one.detach() for one in context.saved_tensors]
            return attention_gradients(slopes, *saved, 0.0, causal)

    parts = [drawn(2, 1, length, 3, seed=length).requires_grad_() for length in (9, 11, 11)]
    assert torch.autograd.gradcheck(Attention.apply, parts)


def test_gradients_that_are_spread_out_are_read_as_they_are() -> None:
    q, k, v = (drawn(2, 3, 5, 4, seed=seed) for seed in range(3))
    found = attention(q, k, v)
    slopes = torch.ones(()).double().expand(2, 3, 5, 4)
    spread, whole = (
        attention_gradients(one, q, k, v, *found, 0.0, False) for one in (slopes, slopes.clone())
    )
    assert all(map(torch.equal, spread, whole))


INF = math.inf
ODD: dict[str, tuple[int, int, float]] = {
    "a query of infinity": (0, 1, INF),
    "a query of minus infinity": (0, 1, -INF),
    "a key of minus infinity": (1, 2, -INF),
    "a value of infinity": (2, 2, INF),
    "a query that is NaN": (0, 1, math.nan),
    "a key that is NaN": (1, 2, math.nan),
    "a value that is NaN": (2, 2, math.nan),
}


@pytest.mark.parametrize("dtype", TYPES, ids=NAMES)
@pytest.mark.parametrize("name", ODD)
def test_what_is_no_number_goes_where_it_goes_in_torch(name: str, dtype: Any) -> None:
    part, place, number = ODD[name]
    parts = [drawn(1, 1, 20, 8, dtype=dtype, seed=seed).abs() for seed in range(3)]
    parts[part][0, 0, place] = number
    slopes = drawn(1, 1, 20, 8, dtype=dtype, seed=9)
    found, theirs = attention(*parts), FORWARD(*parts)
    gradients = attention_gradients(slopes, *parts, *found, 0.0, False)
    expected = BACKWARD(slopes, *parts, *theirs, 0.0, False)
    # The logarithms are torch's own affair: of infinite scores, NaN or infinity, by their type.
    for one, other in zip((found[0], *gradients), (theirs[0], *expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("dtype", TYPES, ids=NAMES)
def test_a_query_that_sees_nothing_gives_nothing(dtype: Any) -> None:
    q, v = torch.ones(1, 1, 9, 4, dtype=dtype), drawn(1, 1, 9, 4, dtype=dtype)
    out, logarithms = attention(q, torch.full_like(q, -INF), v)
    assert (out == 0).all()
    assert (logarithms == 0).all()


def test_rows_that_are_not_numbers_harm_no_others() -> None:
    parts = [drawn(3, 2, 20, 8, seed=seed) for seed in range(3)]
    alone = attention(*parts)[0]
    parts[1][1, 0] = math.nan
    found = attention(*parts)[0]
    assert found[1, 0].isnan().all()
    found[1, 0] = alone[1, 0]
    assert torch.equal(found, alone)


def test_large_scores_keep_their_weights() -> None:
    q, k, v = (drawn(1, 2, 12, 4, seed=seed) for seed in range(3))
    found, _ = attention(100 * q, 100 * k, v)
    expected = textbook(100 * q, 100 * k, v, causal=False, scale=0.5)
    torch.testing.assert_close(found, expected)


def with_mask() -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    mask = torch.zeros(5, 5).masked_fill(torch.ones(5, 5).bool().triu(1), -INF)
    return tuple(drawn(2, 2, 5, 4, dtype=torch.float32, seed=n) for n in range(3)), {
        "attn_mask": mask
    }


OTHERS: dict[str, Callable[[], tuple[tuple[Tensor, ...], dict[str, Any]]]] = {
    "a mask": with_mask,
    "half precision": lambda: ((drawn(2, 2, 5, 4, dtype=torch.float32).bfloat16(),) * 3, {}),
    "large heads": lambda: ((drawn(2, 2, 5, LARGEST + 1, dtype=torch.float32),) * 3, {}),
    "a token that stands for all": lambda: (
        (drawn(2, 2, 1, 1, dtype=torch.float32).expand(2, 2, 5, 1),) * 3,
        {},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_calls_are_torchs(name: str) -> None:
    parts, options = OTHERS[name]()
    found, theirs = attention(*parts, **options), FORWARD(*parts, **options)
    slopes = torch.ones_like(found[0])
    gradients = attention_gradients(slopes, *parts, *theirs, 0.0, False, **options)
    expected = BACKWARD(slopes, *parts, *theirs, 0.0, False, **options)
    for one, other in zip((*found, *gradients), (*theirs, *expected), strict=True):
        assert one.stride() == other.stride()
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@njit
def exponentials(matrix: Any) -> None:
    for column in range(0, matrix.shape[1], SIDE):
        store(matrix, 0, column, exponential(load_tile(matrix, 0, column)))


@njit
def logarithms(matrix: Any) -> None:
    for row in range(len(matrix)):
        store(matrix, row, 0, logarithm(load(matrix, row, 0)))


@pytest.mark.parametrize(("dtype", "least"), [(np.float32, -87), (np.float64, -708)], ids=NAMES)
def test_exponentials_are_exact_to_the_last_digits(dtype: Any, least: float) -> None:
    x = np.linspace(least, 0.5, 64 * SIDE).astype(dtype)
    found = x.reshape(SIDE, -1).copy()
    exponentials(found)
    error = np.abs(found.reshape(-1) / np.exp(x.astype(np.float64)) - 1)
    assert error.max() < 2 * np.finfo(dtype).eps
    odd = np.zeros((SIDE, SIDE), dtype)
    odd[:, :3] = -INF, math.nan, 2 * least
    exponentials(odd)
    assert (odd[:, 0] == 0).all()
    assert np.isnan(odd[:, 1]).all()
    assert (odd[:, 2] == 0).all()
    assert (odd[:, 3:] == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=NAMES)
def test_logarithms_are_exact_to_the_last_digits(dtype: Any) -> None:
    x = np.geomspace(1e-30, 1e30, 64 * SIDE).astype(dtype)
    found = x.reshape(-1, SIDE).copy()
    logarithms(found)
    exact = np.log(x.astype(np.float64))
    error = np.abs(found.reshape(-1) - exact) / np.maximum(1, np.abs(exact))
    assert error.max() < 2 * np.finfo(dtype).eps
    odd = np.ones((1, SIDE), dtype)
    odd[0, 0] = math.nan
    logarithms(odd)
    assert np.isnan(odd[0, 0])
    assert (odd[0, 1:] == 0).all()


@pytest.mark.parametrize("stage", ["when asked for", "when used"])
def test_without_a_place_for_the_cache_it_is_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    called: list[str] = []

    def compiler(*, cache: bool = False, **_: Any) -> Any:
        if cache and stage == "when asked for":
            raise RuntimeError("cannot cache function: no locator available")

        def broken(*_: Any) -> None:
            raise OSError("no space left on device")

        def fine(function: Any) -> Any:
            return lambda *_: called.append(function.__name__)

        return lambda function: broken if cache else fine(function)

    monkeypatch.setattr(attention_compiled, "njit", compiler)
    made = attention_compiled.Compiled(np.float32)
    assert called == ["forward_all", "backward_all"]
    made.forward()
    assert called[-1] == "forward_all"


def test_a_change_of_any_compiled_source_is_another_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = Path(attention_compiled.__file__)
    names = [*source.parent.glob("attention_*.py"), source.parent / "dense_table.py"]
    for file in names:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(attention_compiled, "__file__", str(tmp_path / source.name))
    same = attention_compiled._revision()
    assert same == attention_compiled._revision()
    for file in tmp_path.iterdir():
        file.write_text(file.read_text() + "# changed")
        assert attention_compiled._revision() != same
        same = attention_compiled._revision()
