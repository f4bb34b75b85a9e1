"""The report on the dashboard: made when somebody looks, and made again when there is news."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from widthwise.search.report.page.annotations import REST, ReportAnnotations
from widthwise.search.report.page.write import Report
from widthwise.storage.database.database import Database
from widthwise.storage.ledger.slot import StudyRow

StudyMaker = Callable[..., StudyRow]


class Maker:
    """Makes reports; counts them, takes a given time by a clock of its own, and may be held up."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.now, self.seconds = 0.0, 1.0
        self.may_end = threading.Event()
        self.may_end.set()
        self.error: Exception | None = None

    def clock(self) -> float:
        return self.now

    def __call__(self, _database: Database, name: str) -> Report:
        assert self.may_end.wait(30)
        self.names.append(name)
        self.now += self.seconds
        if self.error is not None:
            raise self.error
        document: Any = SimpleNamespace(
            title=name,
            progress=f"report {len(self.names)}",
            aim="",
            verdict_word="no gain",
            verdict_text="No gain found.",
            widths_title="",
            widths=[],
            facts=[],
            remarks=[],
            sections=[],
            notes=[],
        )
        return Report(document=document, files={"report.html": b"x"})


def wait_for_note(
    annotations: ReportAnnotations, study_id: int, *, other_than: str = "nothing"
) -> str:
    """The note, once there is one without a given text."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        note = annotations.note(study_id)
        if note is not None and other_than not in note:
            return note
        time.sleep(0.005)
    raise AssertionError("no other note came")


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def annotations(database: Database, maker: Maker) -> Iterator[ReportAnnotations]:
    with ReportAnnotations(database, clock=maker.clock, make=maker) as annotations:
        yield annotations
        maker.may_end.set()


def test_a_study_that_is_looked_at_has_a_note_and_files(
    database: Database, annotations: ReportAnnotations, make_finished_study: StudyMaker
) -> None:
    study_id = make_finished_study(database, "digits").optuna_study_id
    assert annotations.note(study_id) is None
    annotations.prepare(study_id)
    note = annotations.note(study_id)
    assert note is not None
    assert "**No gain found.**" in note
    assert annotations.files(study_id) == {"report.html": b"x"}


def test_it_is_made_again_only_for_news_and_not_without_rest(
    database: Database, annotations: ReportAnnotations, make_finished_study: StudyMaker,
    maker: Maker, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    study_id = make_finished_study(database, "digits").optuna_study_id
    annotations.prepare(study_id)
    maker.now += 1000.0
    annotations.prepare(study_id)
    assert len(maker.names) == 1, "no trial more"
    database.write(_forget_a_trial)
    maker.now = 1.0 + REST * maker.seconds - 0.5
    annotations.prepare(study_id)
    assert len(maker.names) == 1, "too soon"
    maker.now += 1.0
    annotations.prepare(study_id)
    assert "report 2" in wait_for_note(annotations, study_id, other_than="report 1")


def _forget_a_trial(connection: Any) -> None:
    from sqlalchemy import update
    from widthwise.storage.database.tables import slots

    connection.execute(update(slots).where(slots.c.number == 0).values(outcome="nan", value=None))


def test_a_report_that_fails_leaves_the_page_without_a_note(
    database: Database, annotations: ReportAnnotations, make_finished_study: StudyMaker,
    maker: Maker,
) -> None:  # fmt: skip
    study_id = make_finished_study(database, "digits").optuna_study_id
    maker.error = RuntimeError("no model here")
    annotations.prepare(study_id)
    assert annotations.note(study_id) is None
    assert annotations.files(study_id) == {}


def test_a_report_that_fails_once_is_made_again_and_the_one_before_stays(
    database: Database, annotations: ReportAnnotations, make_finished_study: StudyMaker,
    maker: Maker,
) -> None:  # fmt: skip
    study_id = make_finished_study(database, "digits").optuna_study_id
    annotations.prepare(study_id)
    assert "report 1" in wait_for_note(annotations, study_id)
    database.write(_forget_a_trial)
    maker.error = RuntimeError("the database is busy")
    maker.now += 1000.0
    annotations.prepare(study_id)
    deadline = time.monotonic() + 30
    while len(maker.names) < 2 or annotations._running:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert "report 1" in str(annotations.note(study_id))
    maker.error = None
    maker.now += 1000.0
    annotations.prepare(study_id)
    assert "report 3" in wait_for_note(annotations, study_id, other_than="report 1")


def test_a_study_that_is_not_there_is_nothing(annotations: ReportAnnotations) -> None:
    annotations.prepare(999)
    assert annotations.note(999) is None


def test_a_page_does_not_wait_for_long(
    database: Database, annotations: ReportAnnotations, make_finished_study: StudyMaker,
    maker: Maker, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("widthwise.search.report.page.annotations.PATIENCE_SECONDS", 0.01)
    study_id = make_finished_study(database, "digits").optuna_study_id
    maker.may_end.clear()
    annotations.prepare(study_id)
    assert annotations.note(study_id) is None
    maker.may_end.set()
    assert "report 1" in wait_for_note(annotations, study_id)
