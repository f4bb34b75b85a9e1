"""Splits, partitions, built-in data, and what a user's function may hand over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.data.load import (
    BUILT_IN,
    data_fingerprint,
    load_builtin,
    load_data,
    load_function,
)
from widthwise.objectives.data.split import (
    MIN_ROWS_FOR_ALL_SPLITS,
    shuffled_partition,
    stratified_partition,
)
from widthwise.objectives.errors import DataError


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_one_split_and_every_class_in_proportion(
    counts: list[int], seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    partition = stratified_partition(labels, seed)
    assert sorted(np.concatenate(partition.splits)) == list(range(len(labels)))
    again = stratified_partition(labels, seed)
    assert all(map(np.array_equal, partition.splits, again.splits))
    for number, count in enumerate(counts):
        train, validation, test = (int((labels[part] == number).sum()) for part in partition.splits)
        if count < MIN_ROWS_FOR_ALL_SPLITS:
            assert (train, validation, test) == (count, 0, 0)
        else:
            assert validation == test >= 1
            assert train >= 1
            assert abs(validation - 0.2 * count) <= 0.5 or validation == 1


def test_quantities_are_cut_60_20_20() -> None:
    assert [len(part) for part in shuffled_partition(1000, seed=0).splits] == [600, 200, 200]
    assert not np.array_equal(
        shuffled_partition(1000, seed=0).train, shuffled_partition(1000, seed=1).train
    )


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
    data = load_builtin(name, seed=3)
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
    data = load_builtin("digits", seed=0, image=True)
    assert data.input_shape == (1, 8, 8)
    assert float(data.train.inputs.mean()) == pytest.approx(0, abs=1e-4)
    assert float(data.train.inputs.std()) == pytest.approx(1, abs=1e-3)


def test_the_seed_decides_the_split() -> None:
    first, again, other = (load_builtin("iris", seed) for seed in (1, 1, 2))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.train.targets, other.train.targets)


def test_quantities_come_back_in_their_units() -> None:
    data = load_builtin("diabetes", seed=0)
    values = torch.cat([split.targets for split in (data.train, data.validation, data.test)])
    true = torch.tensor(np.sort(load_diabetes().target))
    torch.testing.assert_close(data.in_target_units(values).sort().values, true, atol=1e-4, rtol=0)


X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 2


@pytest.mark.parametrize(
    ("result", "sizes"),
    [
        pytest.param((X, Y), (24, 8, 8), id="pair"),
        pytest.param([torch.tensor(X), torch.tensor(Y)], (24, 8, 8), id="tensors"),
        pytest.param((X.tolist(), Y.astype(str).tolist()), (24, 8, 8), id="lists and names"),
        pytest.param((pd.DataFrame(X), pd.Series(Y, name="label")), (24, 8, 8), id="tables"),
        pytest.param({"x": X, "y": Y}, (24, 8, 8), id="mapping of a pair"),
        pytest.param((X[:28], Y[:28], X[28:], Y[28:]), (28, 6, 6), id="two splits"),
        pytest.param((X[:30], Y[:30], X[30:36], Y[30:36], X[36:], Y[36:]), (30, 6, 4), id="three"),
        pytest.param(
            {"x_train": X[:30], "y_train": Y[:30], "x_val": X[30:], "y_val": Y[30:]},
            (30, 5, 5),
            id="mapping of splits",
        ),
    ],
)
def test_a_function_may_hand_over(result: Any, sizes: tuple[int, ...]) -> None:
    data = load_function("own.py:data", lambda: result, seed=0)
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    assert (data.task, data.outputs, data.input_shape) == ("classification", 2, (3,))
    assert data.classes == ("0", "1")
    assert data.train.inputs.dtype == torch.float32


def test_given_splits_keep_their_rows_and_numbers() -> None:
    data = load_function("f", lambda: (X[:30], Y[:30], X[30:], Y[30:]), seed=0)
    torch.testing.assert_close(data.train.inputs, torch.tensor(X[:30], dtype=torch.float32))
    assert data.train.targets.tolist() == Y[:30].tolist()
    held = torch.cat([data.validation.inputs, data.test.inputs])
    expected = torch.tensor(X[30:], dtype=torch.float32)
    torch.testing.assert_close(held.sort(dim=0).values, expected.sort(dim=0).values)
    assert any("no test split was given" in note for note in data.notes)


def test_a_functions_quantities_are_taken_as_they_come() -> None:
    prices = 1e5 + 1e4 * X[:, 0]
    data = load_function("f", lambda: (X, prices), seed=0)
    assert data.task == "regression"
    assert float(data.train.targets.min()) > 1e4
    assert data.in_target_units(data.train.targets) is data.train.targets


def test_token_ids_stay_whole_numbers() -> None:
    tokens = torch.arange(40).reshape(40, 1).expand(40, 5)
    assert load_function("f", lambda: (tokens, Y), seed=0).train.inputs.dtype == torch.int64


def test_several_target_columns_make_several_outputs() -> None:
    data = load_function("f", lambda: (X, X[:, :2] * 3.5), seed=0)
    assert (data.task, data.outputs) == ("regression", 2)
    assert data.train.targets.shape == (24, 2)


def test_a_function_that_takes_a_seed_is_given_it() -> None:
    observed = []

    def own(seed: int) -> Any:
        observed.append(seed)
        return X, Y

    load_function("f", own, seed=17)
    assert observed == [17]


def test_ready_data_is_passed_through() -> None:
    ready = load_builtin("iris", seed=0)
    assert load_function("f", lambda: ready, seed=9) is ready


def test_a_table_from_a_function_is_prepared_like_a_file() -> None:
    table = pd.DataFrame({"city": ["Ulm", "Bonn"] * 20, "size": np.arange(40.0) ** 2})
    data = load_function("f", lambda: (table, Y), seed=0)
    assert data.input_shape == (3,)


def boom() -> Any:
    raise KeyError("no such thing")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        pytest.param(lambda: None, "returned None", id="none"),
        pytest.param(lambda: (X, Y, X), "a tuple of 3", id="three"),
        pytest.param(lambda: {"x_train": X}, "a mapping of x_train", id="half a mapping"),
        pytest.param(lambda: (X, Y[:30]), "40 rows of inputs and 30 targets", id="lengths"),
        pytest.param(lambda: (pd.DataFrame(X), Y[:30]), "and 30 targets", id="table lengths"),
        pytest.param(lambda: (X[:10], Y[:10]), "at least 20", id="few rows"),
        pytest.param(lambda: (X, Y * 0), "one class only", id="one class"),
        pytest.param(lambda: (X * np.nan, Y), "120 missing or infinite", id="nan"),
        pytest.param(lambda: (X, X[:, 0] / 0), "missing or infinite", id="infinite targets"),
        pytest.param(lambda: ([["a"]] * 40, Y), "no array of numbers", id="text"),
        pytest.param(lambda: (3.0, Y), "a single number", id="scalar"),
        pytest.param(lambda: (X, 3.0), "a single value", id="scalar target"),
        pytest.param(lambda: (X[:30], Y[:30], X[30:, :2], Y[30:]), "shapes", id="shapes"),
        pytest.param(boom, "raised KeyError: 'no such thing'", id="raises"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_function_that_hands_over_no_data(function: Callable[[], Any], says: str) -> None:
    with pytest.raises(DataError) as caught:
        load_function("own.py:data", function, seed=0)
    assert says in str(caught.value)


def test_out_of_memory_in_a_function_is_no_mistake_of_its_author() -> None:
    def greedy() -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        load_function("f", greedy, seed=0)


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
def test_a_source_that_is_none(
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


def split(rows: int, *shape: int) -> Split:
    return Split(inputs=torch.zeros(rows, *shape), targets=torch.zeros(rows))


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        pytest.param((split(4, 2), split(0, 2), split(4, 2)), "validation split is empty", id="0"),
        pytest.param((split(4, 2), split(4, 3), split(4, 2)), r"\(3,\) in the validation", id="3"),
        pytest.param(
            (Split(inputs=torch.zeros(4, 2), targets=torch.zeros(3)), split(4, 2), split(4, 2)),
            "4 rows of inputs and 3 targets",
            id="targets",
        ),
    ],
)
def test_splits_that_do_not_fit_together(splits: tuple[Split, ...], says: str) -> None:
    train, validation, test = splits
    with pytest.raises(DataError, match=says):
        Data(
            name="own", task="regression", train=train, validation=validation, test=test, outputs=1
        )


def test_a_test_split_may_be_missing_from_ready_data() -> None:
    data = Data(
        name="own",
        task="regression",
        train=split(4, 2),
        validation=split(4, 2),
        test=split(0, 2),
        outputs=1,
    )
    assert len(data.test) == 0
