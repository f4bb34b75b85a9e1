"""`widthwise suggest`: the answer for people and for programs, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from widthwise.tests.command_line import run_in_process

ASKED = ("suggest", "--task", "classification", "--inputs", "300", "--outputs", "2")


def test_json_for_a_script(tmp_path: Path) -> None:
    done = run_in_process(tmp_path, {}, *ASKED, "--samples", "10000", "--json")
    assert done.code == 0, done.err
    ranges = {entry["rule"]: entry for entry in done.json["ranges"]}
    assert done.json["task"] == "classification"
    assert (ranges["input size × 1–3"]["low"], ranges["input size × 1–3"]["high"]) == (300, 900)


def test_words_for_people_fit_a_terminal(tmp_path: Path) -> None:
    done = run_in_process(tmp_path, {"COLUMNS": "80"}, *ASKED, "--samples", "10000")
    assert done.code == 0, done.err
    assert "300 to 900" in done.out
    assert "source: practice; no primary source is known" in done.out
    assert "hidden1 = { low = 8, high = 1024, step = 8 }" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--samples", "0"], "--samples"),
        (["--samples", "10000", "--gpu-memory", "16G"], "could be read in two ways"),
        (["--samples", "10000", "--kind", "lstm"], "no rule is known"),
        (["--samples", "1"], "found 2 classes and 1 samples"),
        ([], "Missing option '--samples'"),
    ],
    ids=str,
)
def test_bad_input(tmp_path: Path, flags: list[str], sentence: str) -> None:
    done = run_in_process(tmp_path, {}, *ASKED, *flags)
    assert done.code == 2
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert not done.out
