"""Sources: built-in names, files and functions, the whole way to a data set."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from widthwise.objectives.data.load import (
    BUILT_IN,
    data_fingerprint,
    load_data,
    read_function,
)
from widthwise.objectives.errors import DataError


@pytest.mark.parametrize(
    ("name", "task", "shape", "outputs", "rows"),
    [
        ("digits", "classification", (64,), 10, 1797),
        ("breast_cancer", "classification", (30,), 2, 569),
        ("wine", "classification", (13,), 3, 178),
        ("iris", "classification", (4,), 3, 150),
        ("diabetes", "regression", (10,), 1, 442),
    ],
)
def test_built_in_data(
    name: str, task: str, shape: tuple[int, ...], outputs: int, rows: int
) -> None:
    data = load_data(name, base=Path(), seed=3)
    splits = (data.train, data.validation, data.test)
    assert (data.task, data.input_shape, data.outputs) == (task, shape, outputs)
    assert data.features == shape[0]
    assert sum(map(len, splits)) == rows
    assert len(data.validation) == pytest.approx(rows / 5, abs=5)
    assert all(split.inputs.dtype == torch.float32 for split in splits)
    torch.testing.assert_close(data.train.inputs.mean(dim=0), torch.zeros(shape), atol=1e-4, rtol=0)
    assert any("target" in note for note in data.notes)


def test_all_built_in_names_are_tried_here() -> None:
    assert set(BUILT_IN) == {"digits", "breast_cancer", "wine", "iris", "diabetes"}


def test_digits_are_images_for_a_family_that_wants_them() -> None:
    data = load_data("digits", base=Path(), seed=0, image=True)
    assert data.input_shape == (1, 8, 8)
    assert float(data.train.inputs.mean()) == pytest.approx(0, abs=1e-4)
    assert float(data.train.inputs.std()) == pytest.approx(1, abs=1e-3)


def test_the_seed_decides_the_split() -> None:
    first, again, other = (load_data("iris", base=Path(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.train.targets, other.train.targets)


def test_a_function_that_takes_a_seed_is_given_it() -> None:
    observed = []

    def own(seed: int) -> Any:
        observed.append(seed)
        return np.eye(40), np.arange(40) % 2

    read_function("f", own, seed=17)
    assert observed == [17]


def test_what_a_function_raises_is_said_in_one_sentence() -> None:
    def boom() -> Any:
        raise KeyError("no such thing")

    with pytest.raises(DataError, match=r"own.py:data raised KeyError: 'no such thing'"):
        read_function("own.py:data", boom, seed=0)


def test_out_of_memory_in_a_function_is_said_with_what_to_do() -> None:
    def greedy() -> Any:
        raise MemoryError

    def cuda() -> Any:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    def huge() -> Any:
        return np.empty((2**40, 2**16)), np.empty(2**40)

    for function in (greedy, cuda, huge):
        with pytest.raises(DataError, match=r"^f raised .*: give less data, or run it where"):
            read_function("f", function, seed=0)


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class _NoArray:
    def __array__(self, *_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        pytest.param(SystemExit(0), "SystemExit: 0", id="exit well"),
        pytest.param(SystemExit(3), "SystemExit: 3", id="exit"),
        pytest.param(asyncio.CancelledError(), "CancelledError", id="cancelled"),
        pytest.param(GeneratorExit(), "GeneratorExit", id="generator"),
        pytest.param(RecursionError("too deep"), "RecursionError: too deep", id="recursion"),
        pytest.param(_Unspeakable(), "_Unspeakable", id="no message"),
        pytest.param(ValueError("x" * 100_000), "ValueError: xxx", id="long"),
    ],
)
def test_whatever_a_function_raises_is_one_sentence(raised: BaseException, says: str) -> None:
    def function() -> Any:
        raise raised

    with pytest.raises(DataError) as caught:
        read_function("own.py:data", function, seed=0)
    message = str(caught.value)
    assert message.startswith(f"own.py:data raised {says}")
    assert len(message) < 500
    assert "\n" not in message


def test_what_a_function_returned_may_raise_when_it_is_read() -> None:
    with pytest.raises(DataError, match="CancelledError"):
        read_function("f", lambda: (_NoArray(), _NoArray()), seed=0)


def test_ctrl_c_in_a_function_is_no_error_of_it() -> None:
    def function() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_function("f", function, seed=0)


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        pytest.param("digitz", {}, "did you mean 'digits'?", id="close name"),
        pytest.param("zzz", {}, "digits, breast_cancer, wine", id="unknown"),
        pytest.param("digits", {"target": "a"}, "brings its own target", id="target"),
        pytest.param("wine", {"image": True}, "images", id="images"),
        pytest.param("missing.csv", {"target": "a"}, "there is no file", id="file"),
    ],
)
def test_an_unknown_source_is_refused(
    source: str, options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        load_data(source, base=tmp_path, seed=0, **options)
    assert says in str(caught.value)


def test_a_source_is_a_name_a_file_or_a_function(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "a,b\n" + "".join(f"{k * k % 7},{k % 2}\n" for k in range(40))
    )
    (tmp_path / "source_of_rows.py").write_text(
        "import numpy as np\ndef rows():\n    return np.eye(40), np.arange(40) % 2\n"
    )
    actual = [
        load_data("iris", base=tmp_path, seed=0),
        load_data("rows.csv", base=tmp_path, seed=0, target="b"),
        load_data("source_of_rows.py:rows", base=tmp_path, seed=0),
    ]
    assert [data.features for data in actual] == [4, 1, 40]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.csv")
    for source in ("rows.csv", "/dev/zero", "."):
        with pytest.raises(DataError, match=r"is a pipe|is a socket or device|is a folder"):
            data_fingerprint(source, tmp_path)


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    (tmp_path / "code.py").write_text("def rows(): ...\n")
    sources = ("digits", "iris", "rows.csv", "code.py:rows")
    before = [data_fingerprint(source, tmp_path) for source in sources]
    assert len(set(before)) == 4
    path.write_text("a,b\n1,3\n")
    after = [data_fingerprint(source, tmp_path) for source in sources]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, False, True]
    with pytest.raises(DataError, match="there is no file"):
        data_fingerprint("gone.csv", tmp_path)
