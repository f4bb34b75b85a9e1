"""The journal outlives its process: reports are found again, also after a kill in mid-line."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from widthwise.objectives.own_training.journal import Journal

IDENTITY = {"slot": 3, "widths": {"a": 8}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "reports.jsonl"
    journal = Journal(path, IDENTITY)
    for step in (1, 2, 3):
        journal.report(step, step / 10, seconds=step * 2.0)
    journal.log({"f1": 0.5})
    journal.log({"f1": 0.6, "loss": 1.5})
    return path


def test_what_was_reported_is_found_again(path: Path) -> None:
    for _ in range(2):
        again = Journal(path, IDENTITY)
        assert again.is_resumed
        assert again.curve == [(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)]
        assert again.logged == {"f1": 0.6, "loss": 1.5}
        assert (again.seconds, again.pruned_at) == (6.0, None)
    again.prune(2.0)
    assert Journal(path, IDENTITY).pruned_at == 2.0


@pytest.mark.parametrize("cut", [1, 5, 20, 30])
def test_a_line_that_was_cut_off_is_left_out_and_spoils_no_other(path: Path, cut: int) -> None:
    Journal(path, IDENTITY).report(4, 0.4, seconds=8.0)
    text = path.read_text()
    path.write_text(text[:-cut])
    again = Journal(path, IDENTITY)
    assert again.curve[:3] == [(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)]
    again.report(5, 0.5, seconds=9.0)
    assert Journal(path, IDENTITY).curve == again.curve


@pytest.mark.parametrize("line", ["4", "[1, 2]", "null", '"step"', "not JSON"])
def test_a_line_that_is_none_ends_what_is_read(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(f'{line}\n{{"step": 4, "value": 0.4, "seconds": 8.0}}\n')
    again = Journal(path, IDENTITY)
    assert again.curve == [(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)]
    assert again.logged == {"f1": 0.6, "loss": 1.5}


def test_a_step_that_is_reported_again_takes_the_place_of_all_from_it_on(path: Path) -> None:
    Journal(path, IDENTITY).report(2, 0.9, seconds=1.0)
    assert Journal(path, IDENTITY).curve == [(1.0, 0.1), (2.0, 0.9)]


@pytest.mark.parametrize("content", ["", "no JSON", "[1]\n", '{"training": {"slot": 4}}\n'])
def test_another_trainings_journal_is_begun_anew(path: Path, content: str) -> None:
    path.write_text(content)
    again = Journal(path, IDENTITY)
    assert (again.curve, again.is_resumed) == ([], False)
    assert Journal(path, IDENTITY).is_resumed


def test_where_it_cannot_be_written_it_is_kept_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        journal = Journal(tmp_path / "none" / "reports.jsonl", IDENTITY)
        journal.report(1, 0.1, seconds=1.0)
    assert journal.curve == [(1.0, 0.1)]
    assert caplog.text.count("cannot be written") == 1
