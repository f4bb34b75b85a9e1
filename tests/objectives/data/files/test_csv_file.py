"""CSV files: separators, encodings and decimals are recognised; what is no table is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from widthwise.objectives.data.files.csv_file import read_csv
from widthwise.objectives.data.read_options import ReadOptions
from widthwise.tests.objectives.data.sources import (
    LABEL,
    NUMBER,
    ROWS,
    assert_refused,
    joined_notes,
    load_file,
    save,
    write_bytes,
)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_detected(separator: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"a": NUMBER, "b, c": NUMBER**2, "label": LABEL})
    plain = load_file(save(tmp_path, "rows.csv", table), "label", seed=0)
    other = load_file(save(tmp_path, "rows.csv", table, sep=separator), "label", seed=0)
    assert torch.equal(plain.train.inputs, other.train.inputs)


def test_every_column_is_text_as_it_stands_in_the_file(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "rows.csv", b"code,word,n\n01,NA,1.50\n1,,\n")
    table = read_csv(path).table
    assert table.to_dict("list") == {"code": ["01", "1"], "word": ["NA", ""], "n": ["1.50", ""]}


def test_decimal_commas_beside_semicolons(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": NUMBER, "label": LABEL})
    plain = load_file(save(tmp_path, "rows.csv", table), "label", seed=0)
    other = load_file(save(tmp_path, "eu.csv", table, sep=";", decimal=","), "label", seed=0)
    assert torch.equal(plain.train.inputs, other.train.inputs)
    assert "decimal commas" in joined_notes(other)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_the_encoding_is_detected(encoding: str, tmp_path: Path) -> None:
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


def test_excel_says_the_separator(tmp_path: Path) -> None:
    lines = "".join(f"{k},5;{k % 3},0;{LABEL[k]}\n" for k in range(ROWS))
    for first in ("sep=;\n", '"sep=;"\r\n', "SEP=;\n"):
        text = read_csv(
            write_bytes(tmp_path / "rows.csv", (first + "a;b;label\n" + lines).encode())
        )
        assert list(text.table) == ["a", "b", "label"]
        assert (len(text.table), text.separator) == (ROWS, "semicolons")
    tabs = b"sep=\t\na,b\tlabel\n" + b"1,2\tx\n" * 30
    assert list(read_csv(write_bytes(tmp_path / "rows.csv", tabs)).table) == ["a,b", "label"]


@pytest.mark.parametrize("separator", [",", "\t", " "])
def test_row_names_without_a_header_are_dropped_and_said(separator: str, tmp_path: Path) -> None:
    lines = [["mpg", "label"], *([f'"car {k}"', str(k % 7), LABEL[k]] for k in range(ROWS))]
    content = "".join(separator.join(line) + "\n" for line in lines)
    text = read_csv(write_bytes(tmp_path / "rows.csv", content.encode()))
    assert list(text.table) == ["mpg", "label"]
    assert text.table["label"].tolist() == LABEL.tolist()
    assert any("dropped the row names" in note for note in text.notes)


@pytest.mark.parametrize("header", ["a,label", "a,label,"])
def test_an_empty_last_column_is_none(header: str, tmp_path: Path) -> None:
    content = header + "\n" + "".join(f"{k % 7},{LABEL[k]},\n" for k in range(ROWS))
    text = read_csv(write_bytes(tmp_path / "rows.csv", content.encode()))
    assert (list(text.table), len(text.table)) == (["a", "label"], ROWS)


def test_the_default_names_of_pandas_are_names(tmp_path: Path) -> None:
    table = pd.DataFrame(np.column_stack([NUMBER, NUMBER**2, np.arange(ROWS) % 2]))
    data = load_file(save(tmp_path, "rows.csv", table), "2", seed=0)
    assert (data.input_shape, data.outputs) == ((2,), 2)


def test_no_row_of_a_file_without_names_is_lost(tmp_path: Path) -> None:
    content = "".join(f"{NUMBER[k]},{k % 7},{LABEL[k]}\n" for k in range(ROWS))
    path = write_bytes(tmp_path / "rows.csv", content.encode())
    data = load_file(path, "column3")
    assert sum(map(len, (data.train, data.validation, data.test))) == ROWS
    assert "no line of column names" in joined_notes(data)


@pytest.mark.parametrize("options", [{"separator": "tab"}, {"encoding": "cp1251"}])
def test_what_the_user_says_of_a_file_counts(options: dict[str, str], tmp_path: Path) -> None:
    separator = "\t" if "separator" in options else ","
    lines = [f"город{separator}y", *(f"a, {k}{separator}{LABEL[k]}" for k in range(ROWS))]
    if separator == ",":
        lines = [line.replace(", ", " ") for line in lines]
    path = write_bytes(
        tmp_path / "rows.csv", "\n".join(lines).encode(options.get("encoding", "utf-8"))
    )
    assert list(read_csv(path, ReadOptions(**options)).table) == ["город", "y"]


REFUSED = {
    "empty": ("", "is empty"),
    "blank": ("\n\n  \n", "is empty"),
    "header only": ("a,label\n", "there are 0 rows"),
    "no header": ("1,2\n3,4\n", "no line of column names"),
    "binary": ("a,label\n\0\0\1", "is not a text file"),
    "ragged": ("a,label\n" + "1,x\n" * 30 + "1,2,x,4\n", "cannot be read as CSV"),
    "longer than the header": ("a,label\n" + "1,x,3\n" * 30, "cannot be read as CSV"),
    "two of a name": ("a,a,label\n" + "1,2,x\n" * 30, "more than one column named 'a'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    content, says = REFUSED[case]
    assert_refused(write_bytes(tmp_path / "rows.csv", content.encode()), says)
