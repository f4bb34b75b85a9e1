"""The program that loads a network: valid Python for every kind of input."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from widthwise.objectives.training.step import TensorSpec
from widthwise.search.export.program import loading_program

IDS = TensorSpec(shape=(7,), dtype=torch.int64)
IMAGE = TensorSpec(shape=(3, 4, 4))
TABLE = TensorSpec(shape=(5, 2), whole=True)


def called_with(program: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments that the last line gives to the network."""

    class Network:
        def eval(self) -> Any:
            return lambda *args, **kwargs: (args, kwargs)

    names: dict[str, Any] = {"network": Network(), "torch": torch}
    (line,) = [line for line in program.splitlines() if line.startswith("print")]
    result: Any = eval(line.removeprefix("print"), names)
    return result  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("inputs", "shapes"),
    [
        ((IMAGE,), [((1, 3, 4, 4), torch.float32)]),
        ((IMAGE, IDS), [((1, 3, 4, 4), torch.float32), ((1, 7), torch.int64)]),
        ((TABLE,), [((5, 2), torch.float32)]),
        (((IMAGE, IDS),), [((1, 3, 4, 4), torch.float32), ((1, 7), torch.int64)]),
        (([IMAGE], True), [((1, 3, 4, 4), torch.float32)]),
    ],
    ids=["one", "two", "a table of all samples", "a tuple", "a list and a flag"],
)
def test_it_calls_the_network_with_one_sample(inputs: Any, shapes: Any) -> None:
    program = loading_program(Path("out"), inputs, has_weights=True)
    args, kwargs = called_with(program)
    assert not kwargs
    assert len(args) == len(inputs)

    def tensors(value: Any) -> list[Tensor]:
        if isinstance(value, Tensor):
            return [value]
        return (
            [one for part in value for one in tensors(part)]
            if isinstance(value, (tuple, list))
            else []
        )

    assert [(tuple(one.shape), one.dtype) for one in tensors(args)] == shapes


def test_keyword_arguments_keep_their_names() -> None:
    program = loading_program(Path("out"), {"input_ids": IDS, "mask": IMAGE}, has_weights=False)
    args, kwargs = called_with(program)
    assert args == ()
    assert {name: tuple(value.shape) for name, value in kwargs.items()} == {
        "input_ids": (1, 7),
        "mask": (1, 3, 4, 4),
    }


@pytest.mark.parametrize("has_weights", [True, False])
def test_it_has_five_lines_at_most_and_is_python(has_weights: bool) -> None:
    folder = Path("a folder 'of' mine")
    program = loading_program(folder, (IMAGE,), has_weights=has_weights)
    assert len(program.splitlines()) == (5 if has_weights else 3)
    ast.parse(program)
    assert ("load_state_dict" in program) == has_weights
