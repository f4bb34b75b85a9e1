"""A report as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.report.page.write import write_report
from widthwise.tests.search.report.made_study import make_evidence


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_all_that_is_promised_is_written(tmp_path: Path) -> None:
    paths = write_report(make_evidence(), tmp_path / "new" / "folder")
    assert paths[0].name == "report.html"
    written = contents(tmp_path / "new" / "folder")
    assert {path.name for path in paths} == {*written}
    assert {"report.html", "report.md", "report.json", "history.png"} <= {*written}
    assert json.loads(written["report.json"])["study"] == "digits"
    for name, content in written.items():
        if name.endswith(".png"):
            assert f"({name})".encode() in written["report.md"]
            assert content.startswith(b"\x89PNG")


def test_the_same_study_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        write_report(make_evidence(10, failed=1), tmp_path / folder)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_a_study_without_a_trial_has_a_report(tmp_path: Path) -> None:
    write_report(make_evidence(0), tmp_path)
    assert "No trial" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SpecError, match="taken cannot be written"):
        write_report(make_evidence(0), tmp_path / "taken")
