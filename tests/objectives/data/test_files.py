"""Files that nobody prepared: what is recognised, handled, said, or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from widthwise.objectives.data.columns import MAX_CATEGORIES
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.files import load_file
from widthwise.objectives.data.table import from_table
from widthwise.objectives.errors import DataError

ROWS = 60
RNG = np.random.default_rng(7)
NUMBER = RNG.normal(size=ROWS).round(3)
LABEL = np.array(["no", "yes"])[np.arange(ROWS) % 2]


def save(folder: Path, name: str, table: pd.DataFrame, **options: Any) -> Path:
    path = folder / name
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, **options)
    return path


def load(folder: Path, target: str = "label", *, suffix: str = ".csv", **columns: Any) -> Data:
    columns.setdefault("label", LABEL)
    return load_file(save(folder, f"rows{suffix}", pd.DataFrame(columns)), target, seed=0)


def all_inputs(data: Data) -> torch.Tensor:
    return torch.cat([split.inputs for split in (data.train, data.validation, data.test)])


def joined_notes(data: Data) -> str:
    return "\n".join(data.notes)


# What the target is


@pytest.mark.parametrize(
    ("target", "task", "outputs"),
    [
        pytest.param(
            np.array(["a", "b", "c"])[np.arange(ROWS) % 3], "classification", 3, id="text"
        ),
        pytest.param(np.arange(ROWS) % 2 == 0, "classification", 2, id="true and false"),
        pytest.param(np.arange(ROWS) % 4, "classification", 4, id="few integers"),
        pytest.param((np.arange(ROWS) % 4) * 1.0, "classification", 4, id="few whole floats"),
        pytest.param(NUMBER, "regression", 1, id="fractions"),
        pytest.param(np.arange(ROWS) * 3, "regression", 1, id="many integers"),
        pytest.param(np.arange(ROWS) % 15, "regression", 1, id="integers with four rows each"),
    ],
)
def test_the_task_is_recognised_and_said(
    target: NDArray[Any], task: str, outputs: int, tmp_path: Path
) -> None:
    data = load(tmp_path, a=NUMBER, label=target)
    assert (data.task, data.outputs) == (task, outputs)
    assert f"target 'label': {task}" in joined_notes(data)


def test_the_task_can_be_given(tmp_path: Path) -> None:
    grades = pd.DataFrame({"a": NUMBER, "grade": np.arange(ROWS) % 6})
    path = save(tmp_path, "rows.csv", grades)
    assert load_file(path, "grade", 0).task == "classification"
    data = load_file(path, "grade", 0, "regression")
    assert (data.task, data.outputs, data.classes) == ("regression", 1, None)


def test_categories_of_a_parquet_file_are_classes(tmp_path: Path) -> None:
    data = load(tmp_path, suffix=".parquet", a=NUMBER, label=pd.Categorical(LABEL))
    assert data.classes == ("no", "yes")


def test_classes_keep_their_numeric_order(tmp_path: Path) -> None:
    assert load(tmp_path, a=NUMBER, label=np.arange(ROWS) % 12).classes == tuple(
        map(str, range(12))
    )


def test_targets_belong_to_their_rows(tmp_path: Path) -> None:
    data = load(tmp_path, a=np.where(LABEL == "yes", 3.5, -3.5))
    for split in (data.train, data.validation, data.test):
        assert torch.equal((split.inputs[:, 0] > 0).long(), split.targets)


def test_a_regression_is_standardised_by_its_training_rows(tmp_path: Path) -> None:
    data = load(tmp_path, a=NUMBER, label=1e6 + 1e4 * NUMBER)
    train = data.train.targets
    assert float(train.mean()) == pytest.approx(0, abs=1e-5)
    assert float(train.std(correction=0)) == pytest.approx(1, abs=1e-5)
    units = data.in_target_units(train)
    assert float(units.min()) >= 1e6 - 4e4
    assert data.target_mean[0] == pytest.approx(float(units.mean()))


def test_rows_without_a_target_are_dropped_and_said(tmp_path: Path) -> None:
    label = np.where(np.arange(ROWS) < 10, None, LABEL)
    data = load(tmp_path, a=NUMBER, label=label)
    assert len(all_inputs(data)) == ROWS - 10
    assert "dropped 10 rows without a target 'label'" in joined_notes(data)


def test_odd_text_among_target_numbers_is_a_missing_target(tmp_path: Path) -> None:
    label = np.where(np.arange(ROWS) == 5, "?", NUMBER.astype(str))
    data = load(tmp_path, a=NUMBER, label=label)
    assert data.task == "regression"
    assert len(all_inputs(data)) == ROWS - 1


def test_text_among_numbers_is_a_class_and_no_gap(tmp_path: Path) -> None:
    label = ["0", "1"] * 96 + ["rare"] * 8
    data = load(tmp_path, x=[0.1 * (k % 7) for k in range(200)], label=label)
    assert data.classes == ("0", "1", "rare")
    assert not any("without a target" in note for note in data.notes)


def test_a_rare_class_is_kept_for_training_and_said(tmp_path: Path) -> None:
    label = LABEL.astype(object)
    label[:2] = "perhaps"
    data = load(tmp_path, a=NUMBER, label=label)
    rare = data.classes.index("perhaps") if data.classes else -1
    assert data.outputs == 3
    assert int((data.train.targets == rare).sum()) == 2
    assert not (data.validation.targets == rare).any()
    assert "'perhaps' (2)" in joined_notes(data)


def test_a_class_of_three_rows_is_in_every_split(tmp_path: Path) -> None:
    label = LABEL.astype(object)
    label[:3] = "perhaps"
    data = load(tmp_path, a=NUMBER, label=label)
    for split in (data.train, data.validation, data.test):
        assert set(split.targets.tolist()) == {0, 1, 2}


# What becomes of the columns


def test_numbers_are_standardised_by_the_training_rows(tmp_path: Path) -> None:
    data = load(tmp_path, a=1e9 + NUMBER, b=(np.arange(ROWS) * 7) % 11)
    assert data.input_shape == (2,)
    inputs = data.train.inputs
    torch.testing.assert_close(inputs.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(dim=0, correction=0), torch.ones(2), atol=1e-5, rtol=0)


def test_gaps_get_the_median_and_an_indicator(tmp_path: Path) -> None:
    gappy = np.where(np.arange(ROWS) % 3 == 0, np.nan, np.where(np.arange(ROWS) % 2, 1.0, 5.0))
    data = load(tmp_path, a=gappy, b=NUMBER)
    assert data.input_shape == (3,)
    indicator = all_inputs(data)[:, 2]
    assert len(indicator.unique()) == 2
    assert int((indicator == indicator.max()).sum()) == ROWS // 3
    assert torch.isfinite(all_inputs(data)).all()
    assert "filled gaps with the median, and marked them, in: 'a'" in joined_notes(data)


def test_infinite_and_enormous_values_are_gaps(tmp_path: Path) -> None:
    wild = NUMBER.copy()
    wild[[3, 4, 5, 6, 7, 8]] = [np.inf, -np.inf, 1e300, np.inf, np.inf, -1e39]
    data = load(tmp_path, a=wild, b=NUMBER)
    assert torch.isfinite(all_inputs(data)).all()
    assert all_inputs(data).abs().max() < 20
    assert "took infinite values as missing: 'a'" in joined_notes(data)


def test_a_far_outlier_outside_the_training_rows_stays_finite(tmp_path: Path) -> None:
    quiet = 1.0 + 1e-30 * np.arange(ROWS)
    first = load(tmp_path, a=quiet, b=NUMBER)
    assert torch.isfinite(all_inputs(first)).all()
    loud = 1e-20 * NUMBER
    held = np.flatnonzero(~np.isin(NUMBER.astype(np.float32), []))[-1]
    loud[held] = 1e37
    assert torch.isfinite(all_inputs(load(tmp_path, a=loud, b=NUMBER))).all()


def test_odd_text_among_numbers_is_a_gap(tmp_path: Path) -> None:
    texts = NUMBER.astype(str).astype(object)
    texts[2] = "?"
    data = load(tmp_path, a=texts, b=NUMBER)
    assert "took the odd text in columns of numbers as missing: 'a'" in joined_notes(data)
    assert data.features in (2, 3)  # an indicator, if it is in a training row


def test_booleans_become_numbers(tmp_path: Path) -> None:
    flags = np.arange(ROWS) % 3 == 0
    data = load(tmp_path, a=flags)
    assert data.input_shape == (1,)
    assert len(all_inputs(data).unique()) == 2
    gappy = pd.array(np.where(np.arange(ROWS) % 5 == 0, None, flags), dtype="boolean")
    assert load(tmp_path, suffix=".parquet", a=gappy).input_shape == (2,)


def test_text_becomes_one_feature_a_value_and_gaps_are_a_value(tmp_path: Path) -> None:
    cities = np.array(["Ulm", "Bonn", None], dtype=object)[np.arange(ROWS) % 3]
    data = load(tmp_path, a=cities)
    assert data.input_shape == (3,)
    assert torch.equal(all_inputs(data).sum(dim=1), torch.ones(ROWS))
    assert torch.equal(all_inputs(data).sum(dim=0), torch.full((3,), ROWS / 3))


def test_a_category_seen_only_outside_the_training_rows(tmp_path: Path) -> None:
    cities = np.array(["Ulm", "Bonn"], dtype=object)[np.arange(ROWS) // 2 % 2]
    outside = rows_outside_training(tmp_path)
    cities[outside[0]] = "Atlantis"
    data = load(tmp_path, a=cities)
    assert data.input_shape == (2,)
    assert int((all_inputs(data).sum(dim=1) == 0).sum()) == 1


def test_many_categories_are_cut_to_the_commonest(tmp_path: Path) -> None:
    rows = 2000
    words = np.array([f"w{k}" for k in range(200)])[np.arange(rows) % 200]
    label = np.arange(rows) % 2
    data = load(tmp_path, a=words, label=label)
    assert data.features == MAX_CATEGORIES
    assert "commonest" in joined_notes(data)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        pytest.param([1.5] * ROWS, "dropped constant columns", id="constant"),
        pytest.param([None] * ROWS, "dropped constant columns", id="empty"),
        pytest.param(["same"] * ROWS, "dropped constant columns", id="constant text"),
        pytest.param([f"Ms {k}" for k in range(ROWS)], "dropped nearly unique text", id="names"),
        pytest.param(range(1, ROWS + 1), "only number the rows", id="row numbers"),
        pytest.param([[1, 2]] * ROWS, "neither numbers, text nor dates", id="lists", marks=[]),
    ],
)
def test_a_column_without_use_is_dropped_and_said(column: Any, says: str, tmp_path: Path) -> None:
    suffix = ".parquet" if isinstance(column[0], list) else ".csv"
    data = load(tmp_path, suffix=suffix, a=column, b=NUMBER)
    assert data.input_shape == (1,)
    assert f"{says}" in joined_notes(data)
    assert "'a'" in joined_notes(data)


DAYS = pd.date_range("2024-02-27", periods=ROWS, freq="36h")


@pytest.mark.parametrize(
    ("style", "parts"),
    [
        ("%Y-%m-%d", 3),
        ("%Y-%m-%d %H:%M:%S", 4),
        ("%d.%m.%Y", 3),
        ("%m/%d/%Y", 3),
        ("%d %b %Y", 3),
        ("%Y-%m-%dT%H:%M:%S+02:00", 4),
    ],
)
def test_dates_in_text_become_numbers(style: str, parts: int, tmp_path: Path) -> None:
    data = load(tmp_path, when=DAYS.strftime(style))
    assert data.input_shape == (parts,)
    assert "turned dates into day, month and weekday" in joined_notes(data)
    assert torch.isfinite(all_inputs(data)).all()


def test_american_dates_are_told_from_european_ones(tmp_path: Path) -> None:
    same = [load(tmp_path, when=DAYS.strftime(style)) for style in ("%m/%d/%Y", "%Y-%m-%d")]
    torch.testing.assert_close(same[0].train.inputs, same[1].train.inputs)


def test_date_columns_of_a_parquet_file(tmp_path: Path) -> None:
    when = DAYS.to_series().reset_index(drop=True)
    when[::7] = pd.NaT
    data = load(tmp_path, suffix=".parquet", when=when, lasting=when - when.min())
    assert data.features >= 5
    assert torch.isfinite(all_inputs(data)).all()


def test_numbers_and_codes_are_no_dates(tmp_path: Path) -> None:
    data = load(tmp_path, a=np.array(["A-1", "B-2", "12-X"])[np.arange(ROWS) % 3])
    assert data.input_shape == (3,)
    assert "dates" not in joined_notes(data)


# Only the training rows teach


def rows_outside_training(folder: Path) -> NDArray[np.int64]:
    """Return the numbers of the rows that LABEL and seed 0 put into validation and test."""
    numbers = np.sqrt(np.arange(1.0, ROWS + 1))
    data = load(folder, n=numbers)
    outside = torch.cat([data.validation.inputs, data.test.inputs])[:, 0]
    ordered = all_inputs(data)[:, 0].sort().values
    return torch.searchsorted(ordered, outside.contiguous()).numpy()


def test_validation_and_test_rows_do_not_touch_the_preparation(tmp_path: Path) -> None:
    outside = rows_outside_training(tmp_path)
    assert len(outside) == 24
    columns: dict[str, NDArray[Any]] = {
        "number": NUMBER,
        "gappy": np.where(np.arange(ROWS) % 4 == 0, np.nan, NUMBER),
        "whole": np.arange(ROWS) % 2 * 1.0,
        "text": np.array(["x", "y", "z"], dtype=object)[np.arange(ROWS) % 3],
        "when": DAYS.strftime("%Y-%m-%d").to_numpy(dtype=object),
        "constant": np.ones(ROWS),
        "name": np.array([f"n{k}" for k in range(ROWS)], dtype=object),
    }
    strange: dict[str, Any] = {
        "number": "strange",
        "gappy": 1e6,
        "whole": np.nan,
        "text": "unheard of",
        "when": "1999-01-01",
        "constant": 9.0,
        "name": "n0",
    }
    before = load(tmp_path, **columns)
    changed = {name: np.array(values, dtype=object) for name, values in columns.items()}
    for name, value in strange.items():
        changed[name][outside] = value
    after = load(tmp_path, **changed)
    assert torch.equal(before.train.inputs, after.train.inputs)
    assert torch.equal(before.train.targets, after.train.targets)
    assert not torch.equal(before.validation.inputs, after.validation.inputs)


def test_the_target_scale_comes_from_the_training_rows(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": NUMBER, "y": NUMBER * 2 + 0.5})
    before = load_file(save(tmp_path, "rows.csv", table), "y", seed=0)
    held = before.in_target_units(torch.cat([before.validation.targets, before.test.targets]))
    strange = np.isclose(table["y"].to_numpy()[:, None], held.numpy()[None]).any(axis=1)
    assert 0 < strange.sum() < ROWS
    table.loc[strange, "y"] = 1e5 + np.arange(strange.sum())
    after = load_file(save(tmp_path, "rows.csv", table), "y", seed=0)
    assert after.target_scale == before.target_scale
    assert torch.equal(before.train.targets, after.train.targets)


# How files are written


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(separator: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"a": NUMBER, "b, c": NUMBER**2, "label": LABEL})
    plain = load_file(save(tmp_path, "rows.csv", table), "label", seed=0)
    other = load_file(save(tmp_path, "rows.csv", table, sep=separator), "label", seed=0)
    assert torch.equal(plain.train.inputs, other.train.inputs)


def test_decimal_commas_beside_semicolons(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": NUMBER, "label": LABEL})
    plain = load_file(save(tmp_path, "rows.csv", table), "label", seed=0)
    other = load_file(save(tmp_path, "eu.csv", table, sep=";", decimal=","), "label", seed=0)
    assert torch.equal(plain.train.inputs, other.train.inputs)
    assert "decimal commas" in joined_notes(other)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_the_encoding_is_found(encoding: str, tmp_path: Path) -> None:
    names = np.array(["Köln", "Überlingen"])[np.arange(ROWS) % 2]
    table = pd.DataFrame({"größe": NUMBER, "stadt": names})
    data = load_file(save(tmp_path, "rows.csv", table, encoding=encoding), "stadt", seed=0)
    assert data.classes == ("Köln", "Überlingen")
    assert ("Latin-1" in joined_notes(data)) == (encoding == "latin-1")


def test_spaces_around_names_and_quoted_separators(tmp_path: Path) -> None:
    lines = "".join(
        f'{k * k % 17}, "{"x, y" if k % 3 else "z"}", {LABEL[k]}\n' for k in range(ROWS)
    )
    path = tmp_path / "rows.csv"
    path.write_text("a , b , label \n" + lines)
    data = load_file(path, "label", seed=0)
    assert (data.input_shape, data.classes) == ((3,), ("no", "yes"))


def test_csv_and_parquet_agree(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": NUMBER, "b": np.arange(ROWS) % 5, "t": LABEL[::-1], "label": LABEL})
    data = [
        load_file(save(tmp_path, name, table), "label", 0)
        for name in ("r.csv", "r.parquet", "R.CSV")
    ]
    for other in data[1:]:
        torch.testing.assert_close(data[0].train.inputs, other.train.inputs)


# NumPy archives


def archive(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "rows.npz", **arrays)
    return folder / "rows.npz"


@pytest.mark.parametrize("name", ["x", "X", "inputs"])
def test_an_archive_of_samples(name: str, tmp_path: Path) -> None:
    path = archive(tmp_path, **{name: RNG.normal(size=(ROWS, 5)), "y": LABEL, "more": [1]})
    data = load_file(path, "y", seed=0)
    assert (data.input_shape, data.classes) == ((5,), ("no", "yes"))
    assert "left out arrays: 'more'" in joined_notes(data)


def test_an_archive_of_columns(tmp_path: Path) -> None:
    path = archive(tmp_path, a=NUMBER, b=NUMBER**2, y=NUMBER + 0.5)
    data = load_file(path, "y", seed=0)
    assert (data.input_shape, data.task) == ((2,), "regression")


@pytest.mark.parametrize(
    ("shape", "image", "expected"),
    [
        pytest.param((8, 8), False, (8, 8), id="grey"),
        pytest.param((8, 8), True, (1, 8, 8), id="grey, for a cnn"),
        pytest.param((3, 9, 9), False, (3, 9, 9), id="colour"),
        pytest.param((9, 9, 3), True, (3, 9, 9), id="channels last"),
    ],
)
def test_an_archive_of_images(
    shape: tuple[int, ...], image: bool, expected: tuple[int, ...], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).integers(0, 256, size=(ROWS, *shape), dtype=np.uint8)
    data = load_file(archive(tmp_path, x=x, y=np.arange(ROWS) % 3), "y", seed=0, image=image)
    assert data.input_shape == expected
    assert float(data.train.inputs.mean()) == pytest.approx(0, abs=1e-3)
    assert float(data.train.inputs.std()) == pytest.approx(1, abs=1e-2)


def test_gaps_in_images_are_the_mean(tmp_path: Path) -> None:
    x = RNG.normal(size=(ROWS, 3, 4, 4))
    x[:, 0, 0, 0] = np.nan
    data = load_file(archive(tmp_path, x=x, y=LABEL), "y", seed=0)
    assert (all_inputs(data)[:, 0, 0, 0] == 0).all()
    assert f"took {ROWS} missing" in joined_notes(data)


def test_images_belong_to_their_targets(tmp_path: Path) -> None:
    x = (np.arange(ROWS) % 2)[:, None, None] * np.ones((1, 4, 4))
    data = load_file(archive(tmp_path, x=x, y=np.arange(ROWS) % 2), "y", seed=0)
    assert torch.equal((data.test.inputs[:, 0, 0] > 0).long(), data.test.targets)


# What is refused


def text(content: str) -> Callable[[Path], Path]:
    return lambda folder: write_bytes(folder / "rows.csv", content.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def columns(**values: Any) -> Callable[[Path], Path]:
    return lambda folder: save(folder, "rows.csv", pd.DataFrame(values))


def arrays(**values: Any) -> Callable[[Path], Path]:
    return lambda folder: archive(folder, **values)


def single_array(folder: Path) -> Path:
    np.save(folder / "a.npy", NUMBER)
    return (folder / "a.npy").rename(folder / "a.npz")


REFUSED = {
    "no file": (lambda folder: folder / "gone.csv", "there is no file"),
    "a folder": (lambda folder: folder, "is a folder"),
    "wrong suffix": (lambda folder: write_bytes(folder / "a.xlsx", b"1"), "ends in '.xlsx'"),
    "empty": (text(""), "is empty"),
    "blank": (text("\n\n  \n"), "is empty"),
    "header only": (text("a,label\n"), "there are 0 rows"),
    "no header": (text("1,2\n3,4\n"), "no line of column names"),
    "binary": (text("a,label\n\0\0\1"), "is not a text file"),
    "ragged": (text("a,label\n" + "1,x\n" * 30 + "1,2,x,4\n"), "cannot be read as CSV"),
    "longer than the header": (text("a,label\n" + "1,x,3\n" * 30), "cannot be read as CSV"),
    "two of a name": (text("a,a,label\n" + "1,2,x\n" * 30), "more than one column named 'a'"),
    "no target column": (columns(a=NUMBER, Labels=LABEL), "did you mean 'Labels'?"),
    "nothing like it": (columns(a=NUMBER, b=LABEL), "its columns are 'a', 'b'"),
    "only a target": (columns(label=LABEL), "no column beside the target"),
    "nothing to learn from": (columns(a=[1] * ROWS, label=LABEL), "no column to learn from"),
    "few rows": (columns(a=NUMBER[:19], label=LABEL[:19]), "19 rows with a target 'label'"),
    "no target at all": (columns(a=NUMBER, label=[None] * ROWS), "0 rows with a target"),
    "one class": (columns(a=NUMBER, label=["x"] * ROWS), "one class only, 'x'"),
    "one number": (columns(a=NUMBER, label=[2.5] * ROWS), "is 2.5 in all 60 rows"),
    "a lone second class": (
        columns(a=NUMBER, label=["x"] * (ROWS - 2) + ["rare"] * 2),
        "class 'rare' of target 'label' has 2 rows",
    ),
    "names as classes": (columns(a=NUMBER, label=[f"n{k}" for k in range(ROWS)]), "names rather"),
    "corrupt parquet": (lambda folder: write_bytes(folder / "a.parquet", b"PAR1x"), "as Parquet"),
    "dates as target": (
        lambda folder: save(folder, "a.parquet", pd.DataFrame({"a": NUMBER, "label": DAYS})),
        "holds dates",
    ),
    "corrupt npz": (lambda folder: write_bytes(folder / "a.npz", b"PK\3\4broken"), "read as .npz"),
    "a single array": (single_array, "is a single array"),
    "empty npz": (arrays(), "holds no arrays"),
    "no target array": (arrays(x=np.eye(ROWS), y=LABEL), "'x' (60, 60), 'y' (60,)"),
    "uneven arrays": (arrays(x=np.eye(ROWS), label=LABEL[:30]), "'x' 60, 'label' 30"),
    "uneven columns": (arrays(a=NUMBER, label=LABEL[:30]), "'a' 60, 'label' 30"),
    "objects": (arrays(a=np.array([{}] * ROWS), label=LABEL), "holds Python objects"),
    "text images": (arrays(x=np.full((ROWS, 2, 2), "a"), label=LABEL), "give numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    make, says = REFUSED[case]
    path = make(tmp_path)
    with pytest.raises(DataError) as caught:
        load_file(path, "label", seed=0)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert message.endswith(".")


def test_a_target_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs a target, the column to predict: its columns are"):
        load_file(save(tmp_path, "rows.csv", pd.DataFrame({"a": NUMBER})), None, seed=0)


def test_text_is_no_quantity(tmp_path: Path) -> None:
    path = save(tmp_path, "rows.csv", pd.DataFrame({"a": NUMBER, "label": LABEL}))
    with pytest.raises(DataError, match=r"holds text \('no', 'yes'\)"):
        load_file(path, "label", 0, "regression")


@pytest.mark.parametrize(
    "make",
    [
        columns(a=NUMBER, label=LABEL),
        arrays(a=NUMBER, label=LABEL),
        arrays(x=np.eye(ROWS), label=LABEL),
    ],
    ids=["csv", "columns", "rows"],
)
def test_a_table_has_no_images(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images \(channels, height, width\) are asked for"):
        load_file(make(tmp_path), "label", seed=0, image=True)


# Whatever may be in a file

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
        data = load_file(path, "c0", seed=1) if path else from_table("any", table, "c0", seed=1)
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
