"""Tables: the target is one of the columns, and any values are handled or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from widthwise.objectives.data.files.data_file import read_file
from widthwise.objectives.data.load import (
    make_dataset,
)
from widthwise.objectives.data.table import read_table
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.sources import (
    LABEL,
    NUMBER,
    assert_refused,
    load_file,
    save,
)

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no target column": ({"a": NUMBER, "Labels": LABEL}, "did you mean 'Labels'?"),
    "nothing like it": ({"a": NUMBER, "b": LABEL}, "its columns are 'a', 'b'"),
    "only a target": ({"label": LABEL}, "no column beside the target"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_without_target_or_features_is_refused_in_one_sentence(
    case: str, tmp_path: Path
) -> None:
    columns, says = REFUSED[case]
    assert_refused(save(tmp_path, "rows.csv", pd.DataFrame(columns)), says)


@pytest.mark.parametrize("name", ["self", "name", "index", "values", "0", "a.b", "from", ""])
def test_a_column_may_be_called_anything(name: str, tmp_path: Path) -> None:
    table = pd.DataFrame({name: NUMBER, "label": LABEL})
    assert load_file(save(tmp_path, "rows.csv", table), "label").input_shape == (1,)


def test_a_target_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs a target, the column to predict: its columns are"):
        load_file(save(tmp_path, "rows.csv", pd.DataFrame({"a": NUMBER})), None, seed=0)


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["", " ", "?", "NA", "1,5", "1e400", "2024-02-30", "2024-02-29", "31.12.1999"]),
    st.datetimes().map(str),
)


COLUMNS = st.one_of(
    st.lists(CELLS, min_size=2, max_size=6),
    st.lists(st.floats(), min_size=2, max_size=6),
    st.lists(st.integers(-5, 5), min_size=2, max_size=6),
    st.lists(
        st.sampled_from(["2024-02-29", "1.1.1999", "01/02/2003", "x"]), min_size=2, max_size=6
    ),
    st.lists(st.datetimes(), min_size=2, max_size=6),
)


@given(columns=st.lists(COLUMNS, min_size=2, max_size=4), written=st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_table_is_finite_or_refused_in_one_sentence(
    columns: list[list[Any]], written: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = pd.DataFrame(
        {
            f"c{k}": [cells[(row * (k + 3)) % len(cells)] for row in range(40)]
            for k, cells in enumerate(columns)
        }
    )
    path = save(tmp_path_factory.mktemp("any"), "rows.csv", table) if written else None
    try:
        raw = read_file(path, "c0") if path else read_table("any", table, "c0")
        data = make_dataset(raw, seed=1)
    except DataError as error:
        message = str(error)
        event(f"refused: {message[-25:]}")
        assert "\n" not in message
        return
    event("accepted")
    splits = (data.train, data.validation, data.test)
    assert all(split.inputs.dtype == torch.float32 for split in splits)
    assert all(torch.isfinite(split.inputs).all() for split in splits)
    assert all(torch.isfinite(split.targets).all() for split in splits)
    assert data.task == "regression" or int(data.train.targets.max()) < data.outputs
