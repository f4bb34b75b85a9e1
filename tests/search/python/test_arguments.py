"""What is given to a search, as the sections of a spec."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from widthwise.objectives.held_objects import held, is_held_reference
from widthwise.objectives.user_code import load_object
from widthwise.search.errors import SpecError
from widthwise.search.python.arguments import Arguments, importable_reference
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import AbsentLast, Divisible, Order, Space, Tie, Width
from widthwise.search.spec.spec import parse_spec


def module_level(widths: Any) -> nn.Module:
    return nn.Linear(4, widths["a"])


@contextmanager
def sections(**given: Any) -> Iterator[dict[str, Any]]:
    """The sections that keywords amount to, as long as their objects are held."""
    defaults: dict[str, Any] = {"widths": {"a": [2, 4]}, "data": "iris", "limits": None}
    arguments = Arguments(**{"name": None, **defaults, **given})
    try:
        parse_spec(arguments.sections)
        yield arguments.sections
    finally:
        arguments.release()


def test_a_function_of_a_module_is_one_that_any_process_can_import(tmp_path: Path) -> None:
    with sections(build=module_level) as given:
        reference = given["model"]["build"]
        assert reference == f"{__name__}:module_level"
        assert load_object(reference, tmp_path) is module_level
        assert given["study"]["name"] == "module_level"


def test_what_no_other_process_can_import_is_held() -> None:
    def inner(widths: Any) -> nn.Module:
        return module_level(widths)

    renamed = module_level
    assert importable_reference(renamed) is not None
    for function in (inner, lambda widths: module_level(widths), nn.Linear(1, 1).forward):
        assert importable_reference(function) is None
    with sections(build=inner, loss=lambda output, _targets: output.sum()) as given:
        assert held(given["model"]["build"]) is inner
        assert is_held_reference(given["proxy"]["loss"])


TABLE = pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})


def test_a_table_is_divided_into_columns_and_target() -> None:
    with sections(data=TABLE, target="y") as given:
        inputs, target = held(given["proxy"]["data"])()
        assert list(inputs.columns) == ["x"]
        assert list(target) == [0, 1]
        assert "target" not in given["proxy"]
    with sections(data=(TABLE, TABLE), target="y") as given:
        assert len(held(given["proxy"]["data"])()) == 2


def test_the_target_of_a_file_is_the_specs() -> None:
    with sections(data=Path("rows.csv"), target="y") as given:
        assert given["proxy"] == {"data": "rows.csv", "target": "y"}


def test_a_loader_is_data_and_a_function_makes_data() -> None:
    rows: Any = TensorDataset(torch.zeros(4, 4), torch.zeros(4))
    loader = DataLoader(rows)
    with sections(data=(loader, loader)) as given:
        assert held(given["proxy"]["data"])() == (loader, loader)
    with sections(data=lambda: (loader, loader)) as given:
        assert held(given["proxy"]["data"])() == (loader, loader)


def test_a_space_keeps_its_widths_and_constraints() -> None:
    space = Space(
        [
            Width.range("d", 8, 64, step=8),
            Width.of("heads", [2, 4, 8], scale="linear"),
            Width.of("a", [3, 5, 9]),
            Width.of("b", [3, 5, 9]),
            Width.of("c", [7]),
            Width.range("e", 8, 64, step=8, optional=True),
            Width.of("f", [4, 16], optional=True),
        ],
        [
            Order(("d", "a"), "non-increasing"),
            Tie(("a", "b")),
            Divisible("d", "heads"),
            AbsentLast(("e", "f")),
        ],
    )
    with sections(widths=space) as given:
        assert parse_spec(given).widths.to_space() == space


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        (range(8, 33, 8), (8, 16, 24, 32)),
        (range(8, 30, 8), (8, 16, 24)),
        (range(4, 5), (4,)),
        ([4, 2], (2, 4)),
        (np.array([2, 4]), (2, 4)),
        (np.int64(4), (4,)),
        (5, (5,)),
        ({"low": 2, "high": 4}, (2, 3, 4)),
        (Width.of("other", [3, 6]), (3, 6)),
    ],
    ids=str,
)
def test_widths_are_written_in_many_ways(entry: Any, values: tuple[int, ...]) -> None:
    with sections(widths={"a": entry}) as given:
        assert parse_spec(given).widths.to_space().widths[0].values == values


def test_a_family_has_widths_of_its_own_no_wider_than_there_are_rows() -> None:
    with sections(widths=None, data=(np.zeros((150, 3)), np.zeros(150))) as given:
        assert given["model"]["family"] == "mlp"
        assert given["widths"]["hidden1"]["high"] == 128


def test_keys_go_to_their_sections() -> None:
    with sections(
        limits=Limits(parameters=300),
        trials=7,
        goal="smallest",
        good_enough=0.5,
        activation="tanh",
        batch_size=np.int64(8),
        halving=3,
        references={"today": {"a": 4}},
    ) as given:
        spec = parse_spec(given)
        assert spec.study.target == 0.5
        assert spec.model.activation == "tanh"
        assert spec.proxy.batch_size == 8
        assert spec.limits.parameters == 300
        assert spec.references == {"today": {"a": 4}}


def test_nothing_is_held_where_a_keyword_is_wrong() -> None:
    def build(widths: Any) -> nn.Module:
        return module_level(widths)

    alive = weakref.ref(build)
    with pytest.raises(SpecError, match="no keyword 'epoch': did you mean 'epochs'"):
        Arguments(widths={"a": [1]}, data="iris", limits=None, name=None, build=build, epoch=3)
    del build
    gc.collect()
    assert alive() is None


def test_a_target_that_is_no_column_names_those_there_are() -> None:
    with pytest.raises(SpecError, match="target is 'z', no column of the table; its columns are"):
        Arguments(widths={"a": [1]}, data=TABLE, limits=None, name=None, target="z")
