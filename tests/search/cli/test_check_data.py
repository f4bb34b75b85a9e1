"""`widthwise check --data`: how a file is read is shown, nothing is trained or stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROWS = "".join(
    f"{k},{k * k % 17},{'?' if k % 9 == 0 else k % 5},{'ab'[k % 2]}\n" for k in range(60)
)
CSV = f",n,odd,label\n{ROWS}"


@pytest.fixture
def folder(cli: Any) -> Path:
    (cli.folder / "rows.csv").write_text(CSV)
    return Path(cli.folder)


def test_a_file_is_shown_column_by_column(cli: Any, folder: Path) -> None:
    result = cli.run_in_process("check", "--data", "rows.csv", "--target", "label")
    assert result.code == 0, result.err
    for said in ("60 rows", "UTF-8", "commas", "number the rows", "'?' (7)", "the target"):
        assert said in result.out
    assert "'a' (30), 'b' (30)" in result.out
    assert not list(folder.glob("*.db"))


@pytest.mark.parametrize("arguments", [[], ["--target", "label"]])
def test_a_program_gets_the_same_as_json(arguments: list[str], cli: Any, folder: Path) -> None:
    described = cli.run_in_process("check", "--data", "rows.csv", *arguments, "--json").json
    columns = {column["name"]: column for column in described["columns"]}
    assert (described["rows"], list(columns)) == (60, ["Unnamed: 0", "n", "odd", "label"])
    assert (columns["odd"]["missing_words"], columns["odd"]["gaps"]) == ({"?": 7}, 7)
    assert (columns["Unnamed: 0"]["features"], columns["n"]["features"]) == (0, 1)


REFUSED = {
    "no such file": (["--data", "gone.csv"], "there is no file"),
    "no such column": (["--data", "rows.csv", "--target", "lable"], "did you mean 'label'"),
    "no such encoding": (["--data", "rows.csv", "--encoding", "utf-9"], "no text encoding"),
    "no such separator": (["--data", "rows.csv", "--separator", "ab"], "the separator is"),
    "no such task": (["--data", "rows.csv", "--task", "guess"], "classification or regression"),
    "a built-in set": (["--data", "digits"], "only a file"),
    "nothing": ([], "needs a spec file or --data"),
    "both": (["s.toml", "--data", "rows.csv"], "not both"),
    "flags of a file with a spec": (["s.toml", "--missing", "?"], "--missing goes with --data"),
    "coordinates of a file": (["--data", "rows.csv", "--coordinates"], "goes with a spec file"),
    "a target that is none": (["--data", "rows.csv", "--target", "Unnamed: 0", "--task",
                               "classification"], "names rather than classes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_shown_is_refused_in_a_sentence(case: str, cli: Any, folder: Path) -> None:
    arguments, says = REFUSED[case]
    result = cli.run_in_process("check", *arguments)
    assert result.code == 2
    assert says in result.err
    assert "Traceback" not in result.err


def test_the_data_of_a_spec_are_shown_too(cli: Any, folder: Path) -> None:
    (folder / "s.toml").write_text(
        'study = { name = "s", trials = 2 }\nmodel = { family = "mlp" }\n'
        "widths = { hidden1 = [4, 8] }\n"
        'proxy = { data = "rows.csv", target = "label", missing = ["?"], epochs = 1 }\n'
    )
    shown = cli.run_in_process("check", "s.toml")
    assert shown.code == 0, shown.err
    assert "dropped, since its values only number the rows" in shown.out
    described = cli.run_in_process("check", "s.toml", "--json").json["data"]
    assert [column["gaps"] for column in described["columns"]] == [0, 0, 7, 0]


def test_no_markup_and_no_control_character_of_a_file_reaches_the_terminal(
    cli: Any, folder: Path
) -> None:
    (folder / "odd.csv").write_text(CSV.replace("n,odd", "[/n],o\u202edd\x1b[31m"))
    result = cli.run_in_process("check", "--data", "odd.csv")
    assert result.code == 0, result.err
    assert "[/n]" in result.out
    assert not {"\u202e", "\x1b"} & set(result.out)


def test_values_as_people_write_them_are_shown_as_what_they_are(cli: Any) -> None:
    rows = "".join(
        f'"${1000 + 37 * k:,}.50";"{k % 9},{k % 7}5";{k % 12 + 1}/{k % 28 + 1}/2020 1:30 PM;'
        f"{('None', 'yes ', 'yes')[k % 3]}\n"
        for k in range(90)
    )
    (cli.folder / "shop.csv").write_text(f"price;share;when;label\n{rows}")
    arguments = ("check", "--data", "shop.csv", "--target", "label")
    described = cli.run_in_process(*arguments, "--json").json
    columns = {column["name"]: column for column in described["columns"]}
    assert [columns[name]["gaps"] for name in ("price", "share", "when", "label")] == [0] * 4
    shown = cli.run_in_process(*arguments)
    text = " ".join(shown.out.split())
    for said in ("in $", "decimal commas", "month, day, year", "'None' (30), 'yes' (60)"):
        assert said in text
    named = cli.run_in_process(*arguments, "--missing", "None")
    assert named.code == 2  # one class is left
    assert "one class only, 'yes', in all 60 rows" in named.err
