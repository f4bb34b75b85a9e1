"""A result: what it says on a terminal, in a notebook, and in files."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
import widthwise
from torch import nn
from widthwise.search.python.result import SearchResult


@pytest.fixture(scope="module")
def result() -> SearchResult:
    return widthwise.search(
        build=lambda widths: nn.Sequential(
            nn.Linear(4, widths["a<b"]), nn.ReLU(), nn.Linear(widths["a<b"], 3)
        ),
        widths={"a<b": [2, 4, 8, 16]},
        data="iris",
        name="flowers & more",
        trials=4,
        epochs=3,
        folds=1,
        batch_size=16,
        learning_rate=0.03,
        engine="plain",
        confirm=False,
        progress=False,
    )


def test_it_prints_its_verdict_and_its_widths(result: SearchResult) -> None:
    first, second = str(result).splitlines()
    assert first == f"study flowers & more: {result.verdict_text}"
    assert second == f"a<b={result.widths['a<b']}"


def test_the_report_is_text_where_it_is_printed(result: SearchResult) -> None:
    text = str(result.report)
    assert text.startswith("# flowers \\& more\n")
    assert f"Verdict: {result.verdict}" in text
    assert result.report._repr_markdown_() == text == repr(result.report)


def test_a_notebook_shows_a_whole_page_in_a_frame_of_its_own(result: SearchResult) -> None:
    frame = result.report._repr_html_()
    assert frame.startswith('<iframe srcdoc="')
    page = html.unescape(frame.split('srcdoc="', 1)[1].split('" width', 1)[0])
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "<script" not in page
    assert result._repr_html_().startswith("<iframe")


def test_it_is_saved_as_files(result: SearchResult, tmp_path: Path) -> None:
    paths = result.report.save(tmp_path / "report")
    assert {"report.html", "report.md", "report.json"} <= {path.name for path in paths}
    saved = json.loads((tmp_path / "report" / "report.json").read_text())
    assert saved["recommended"]["widths"] == result.widths
    assert saved["verdict"] == result.verdict == result.to_json()["verdict"]
