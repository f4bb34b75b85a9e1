"""Targets of text: which words are classes, which are missing, and what is said of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from widthwise.objectives.data.dataset import Data
from widthwise.objectives.data.files.data_file import read_file
from widthwise.objectives.data.load import make_dataset
from widthwise.objectives.data.read_options import ReadOptions
from widthwise.objectives.errors import DataError
from widthwise.tests.objectives.data.sources import all_inputs, joined_notes, save

ROWS = 200
X = np.random.default_rng(3).normal(size=ROWS).round(3)


def load(folder: Path, label: Any, *missing: str, task: Any = None) -> Data:
    path = save(folder, "rows.csv", pd.DataFrame({"a": X, "label": label}))
    options = ReadOptions(missing=missing)
    return make_dataset(read_file(path, "label", options=options), 0, task)


def among(values: Any, word: str, count: int) -> list[str]:
    """Return values as text with a word in some rows."""
    texts = [str(value) for value in values]
    for row in range(0, count * 2, 2):
        texts[row] = word
    return texts


@pytest.mark.parametrize("word", ["None", "NA", "null", "N/A", "nan", "?"])
def test_a_word_among_classes_of_words_is_a_class_and_told(word: str, tmp_path: Path) -> None:
    data = load(tmp_path, among(["Apnea", "Insomnia"] * 100, word, 90))
    assert data.classes is not None
    assert set(data.classes) == {"Apnea", "Insomnia", word}
    assert len(all_inputs(data)) == ROWS
    assert f"are classes of target 'label': '{word}' (90)" in joined_notes(data)


def test_a_class_that_the_user_names_as_missing_is_dropped(tmp_path: Path) -> None:
    data = load(tmp_path, among(["a", "b"] * 100, "None", 90), "None")
    assert data.classes == ("a", "b")
    assert "dropped 90 rows without a target 'label'" in joined_notes(data)


def test_a_rare_word_among_numbered_classes_is_missing_and_named(tmp_path: Path) -> None:
    data = load(tmp_path, among(np.arange(ROWS) % 2, "NA", 8))
    assert data.classes == ("0", "1")
    assert "took these words of target 'label' as missing: 'NA' (8)" in joined_notes(data)
    assert "dropped 8 rows without a target 'label'" in joined_notes(data)


@pytest.mark.parametrize(
    ("flags", "classes"),
    [
        (["True", "False"], ("False", "True")),
        (["TRUE", "true", "false", "FALSE"], ("False", "True")),
        (["true"], ("true",)),
    ],
    ids=["both", "two spellings", "one"],
)
def test_a_frequent_word_among_true_and_false_is_a_class(
    flags: list[str], classes: tuple[str, ...], tmp_path: Path
) -> None:
    label = among((flags * ROWS)[:ROWS], "None", 60)
    assert set(load(tmp_path, label).classes or ()) == {*classes, "None"}
    few = among((["yes", *flags] * ROWS)[:ROWS], "None", 60)
    assert "None" in (load(tmp_path, few).classes or ())


def test_a_rare_word_among_true_and_false_is_missing(tmp_path: Path) -> None:
    data = load(tmp_path, among(["True", "False"] * 100, "unknown", 8))
    assert data.classes == ("False", "True")
    assert "dropped 8 rows without a target 'label'" in joined_notes(data)


@pytest.mark.parametrize("word", ["NA", "?", "none"])
def test_a_frequent_word_among_numbered_classes_is_a_class(word: str, tmp_path: Path) -> None:
    label = among((np.arange(ROWS) % 4 // 2).astype(float), word, 60)
    data = load(tmp_path, label)
    assert data.classes is not None
    assert set(data.classes) == {"0", "1", word}
    assert len(all_inputs(data)) == ROWS
    assert f"'{word}' (60); where one stands for a missing value" in joined_notes(data)
    assert load(tmp_path, label, word).classes == ("0", "1")


@pytest.mark.parametrize(("word", "count"), [("?", 20), ("NA", 90), ("-", 5), ("oops", 4)])
def test_words_among_quantities_are_missing_and_named(
    word: str, count: int, tmp_path: Path
) -> None:
    data = load(tmp_path, among(X * 3 + 1, word, count))
    assert data.task == "regression"
    assert len(all_inputs(data)) == ROWS - count
    assert f"took these words of target 'label' as missing: '{word}' ({count})" in (
        joined_notes(data)
    )


def test_a_frequent_odd_word_among_quantities_is_asked_about(tmp_path: Path) -> None:
    label = among(X * 3 + 1, "below limit", 30)
    with pytest.raises(DataError, match=r"'below limit' \(30\), in 15% .* by --missing") as caught:
        load(tmp_path, label)
    assert str(caught.value).endswith(".")
    assert len(all_inputs(load(tmp_path, label, "below limit"))) == ROWS - 30


@pytest.mark.parametrize(
    ("written", "classes", "merged"),
    [
        (["01", "1"], ("01", "1"), ""),
        (["007", "07", "7"], ("007", "07", "7"), ""),
        (["1", "1.0", "0"], ("0", "1"), "'1' and '1.0'"),
        (["10%", "5%", "5 %"], ("5%", "10%"), "'5%' and '5 %'"),
        (["TRUE", "True", "False"], ("False", "True"), "'TRUE' and 'True'"),
        (["TRUE", "FALSE"], ("FALSE", "TRUE"), ""),
        (["yes", "yes ", "no"], ("no", "yes"), "'yes' and 'yes '"),
        (["Yes", "yes", "no"], ("Yes", "no", "yes"), ""),
    ],
)
def test_labels_merge_and_stay_apart_as_people_mean_them(
    written: list[str], classes: tuple[str, ...], merged: str, tmp_path: Path
) -> None:
    data = load(tmp_path, [written[k % len(written)] for k in range(ROWS)], task="classification")
    assert data.classes == classes
    notes = [note for note in data.notes if "merged" in note or "are one class" in note]
    assert len(notes) == bool(merged)
    assert merged in "".join(notes)


def test_the_classes_are_told_with_their_rows(tmp_path: Path) -> None:
    few = load(tmp_path, ["no"] * 120 + ["yes"] * 80)
    assert "classification with 2 classes: 'no' (120), 'yes' (80)" in joined_notes(few)
    many = load(tmp_path, [f"c{k % 19:02d}" for k in range(ROWS)])
    assert "with 19 classes: 'c00' (11), 'c01' (11)" in joined_notes(many)
    assert "and 11 more" in joined_notes(many)


def test_amounts_are_quantities(tmp_path: Path) -> None:
    data = load(tmp_path, [f"${1000 * abs(x) + 1000:,.2f}" for x in X])
    assert data.task == "regression"
    assert "read as numbers (commas between thousands, in $): 'label'" in joined_notes(data)
    assert data.target_mean[0] > 1000


def test_codes_are_numbers_where_a_regression_is_asked_for(tmp_path: Path) -> None:
    codes = [f"{k % 60:04d}" for k in range(ROWS)]
    assert load(tmp_path, codes, task="regression").task == "regression"
    with pytest.raises(DataError, match=r"codes with leading zeros.* names rather than classes"):
        load(tmp_path, [f"{k:04d}" for k in range(ROWS)])


@pytest.mark.parametrize("style", ["%Y-%m-%d", "%m/%d/%Y %I:%M %p", "%d.%m.%y"])
def test_dates_in_text_are_no_target(style: str, tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=ROWS, freq="31h").strftime(style)
    with pytest.raises(DataError, match="holds dates"):
        load(tmp_path, days)
