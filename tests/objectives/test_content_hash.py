"""The hash of content: equal for what is equal, other for whatever makes a difference."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from widthwise.objectives.content_hash import content_hash


def defined(source: str, name: str = "f", **variables: Any) -> Any:
    """What a prompt defines: code of no file."""
    namespace: dict[str, Any] = {"__name__": "__main__", **variables}
    exec(textwrap.dedent(source), namespace)
    return namespace[name]


def scaled_by(factor: Any) -> Callable[[Any], Any]:
    return lambda x: x * factor


class Pairs:
    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows


def loader(values: list[float], batch_size: int = 2) -> Any:
    data: Any = TensorDataset(torch.tensor(values))
    return DataLoader(data, batch_size=batch_size)


def used_loader() -> Any:
    gone_through = loader([1.0, 2.0])
    list(gone_through)
    return gone_through


def cyclic() -> list[Any]:
    items: list[Any] = [1]
    items.append(items)
    return items


def nameless() -> Any:
    namespace: dict[str, Any] = {}
    exec("def f(x): return x + 1", namespace)
    assert namespace["f"].__module__ is None
    return namespace["f"]


EQUAL: dict[str, Callable[[], Any]] = {
    "a closure": lambda: scaled_by(3),
    "code of a prompt": lambda: defined("def f(x): return x + 1"),
    "code with what it uses": lambda: defined("def f(x): return g(x)\ndef g(x): return x"),
    "an array": lambda: np.arange(6.0).reshape(2, 3),
    "a tensor": lambda: torch.arange(6.0),
    "a tensor of bits": lambda: torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
    "a table": lambda: pd.DataFrame({"a": [1, None], "b": ["x", "y"]}),
    "a table of lists": lambda: pd.DataFrame({"a": [[1, 2], np.ones(2)], "b": [1, 2]}),
    "code under no name": nameless,
    "an object": lambda: Pairs(3),
    "a loader": lambda: loader([1.0, 2.0]),
    "a set": lambda: {"one", "two", "three"},
    "a circle": cyclic,
    "a partial": lambda: functools.partial(scaled_by, factor=2),
    "a network": lambda: nn.ReLU(),
}


@pytest.mark.parametrize("make", EQUAL.values(), ids=EQUAL)
def test_what_is_made_twice_is_the_same(make: Callable[[], Any]) -> None:
    assert content_hash(make()) == content_hash(make())


def test_a_loader_that_was_gone_through_is_the_same() -> None:
    assert content_hash(used_loader()) == content_hash(loader([1.0, 2.0]))


OTHER: dict[str, tuple[Any, Any]] = {
    "a closed-over number": (scaled_by(3), scaled_by(4)),
    "a closed-over array": (scaled_by(np.ones(2)), scaled_by(np.zeros(2))),
    "the code": (defined("def f(x): return x + 1"), defined("def f(x): return x - 1")),
    "a constant in the code": (
        defined("def f(x): return x + 1"),
        defined("def f(x): return x + 2"),
    ),
    "a default": (defined("def f(x, n=1): return n"), defined("def f(x, n=2): return n")),
    "a function that it calls": (
        defined("def f(x): return g(x)\ndef g(x): return x"),
        defined("def f(x): return g(x)\ndef g(x): return -x"),
    ),
    "a variable that it reads": (
        defined("def f(x): return x * N", N=1),
        defined("def f(x): return x * N", N=2),
    ),
    "a method of a class that it makes": (
        defined("class C:\n def m(self): return 1\ndef f(x): return C()"),
        defined("class C:\n def m(self): return 2\ndef f(x): return C()"),
    ),
    "one number of an array": (np.array([1.0, 2.0]), np.array([1.0, 2.5])),
    "the shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "the type of numbers": (np.zeros(2, dtype="f4"), np.zeros(2, dtype="f8")),
    "an array of words": (np.array(["a", "b"], dtype=object), np.array(["a", "c"], dtype=object)),
    "a tensor": (torch.zeros(2), torch.ones(2)),
    "a cell of a table": (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 3]})),
    "a list in a table": (
        pd.DataFrame({"a": [[1, 2], [3]]}),
        pd.DataFrame({"a": [[1, 2], [4]]}),
    ),
    "the name of a column": (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
    "an attribute": (Pairs(3), Pairs(4)),
    "the rows of a loader": (loader([1.0, 2.0]), loader([1.0, 3.0])),
    "the batches of a loader": (loader([1.0, 2.0], 1), loader([1.0, 2.0], 2)),
    "the weights of a network": (nn.Linear(1, 1), nn.Linear(1, 1)),
    "text and number": (1, "1"),
    "where one text ends": (["ab", "c"], ["a", "bc"]),
    "truth and number": (True, 1),
}


@pytest.mark.parametrize(("first", "second"), OTHER.values(), ids=OTHER)
def test_what_makes_a_difference_is_seen(first: Any, second: Any) -> None:
    assert content_hash(first) != content_hash(second)


ARRAYS: dict[str, Any] = {
    "no dimension": np.array(3.0),
    "empty": np.zeros((0, 3)),
    "words": np.array(["a", "bc"]),
    "words of no letters": np.zeros(2, dtype="U0"),
    "swapped bytes": np.arange(3, dtype=">i4"),
    "dates": np.array(["2020-01-01"], dtype="M8[D]"),
    "records": np.array([(1, 2.0)], dtype=[("a", "i2"), ("b", "f8")]),
    "every other": np.arange(6)[::2],
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_is_its_kind_its_shape_and_its_bytes_row_by_row(array: Any) -> None:
    expected = hashlib.sha256()
    kind = f"{array.dtype} {array.shape}".encode()
    for label, content in (("array", kind), ("numbers", array.tobytes())):
        expected.update(f"{label}:{len(content)}:".encode() + content)
    assert content_hash(array) == expected.hexdigest()


def test_a_mapped_file_is_not_read_into_memory(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "x", dtype="f4", mode="w+", shape=(2_000, 1_000))
    mapped[1000] = 1.0
    tracemalloc.start()
    try:
        content_hash(mapped)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < mapped.nbytes / 10


def test_another_process_finds_the_same() -> None:
    source = """
    import numpy as np
    from widthwise.objectives.content_hash import content_hash
    scale = {"b": 2, "a": {"x", "y", "z"}}
    def build(widths, n=3):
        return [widths, n, scale, helper(n)]
    def helper(n):
        return np.ones(n)
    print(content_hash([build, np.ones(3), {"q", "r"}]))
    """

    def in_process() -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(source)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    assert in_process() == in_process()
