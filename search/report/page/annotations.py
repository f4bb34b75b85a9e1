"""The report on the dashboard: as a study's note, with its figures in it, and its files beside it.

`ReportAnnotations` makes the report of a study when somebody looks at the study, in a thread of its
own, and again when more trials are done; a page that comes earlier shows the one before, or none.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Self, final

from ....storage.database.database import Database
from ....storage.ledger.queries import LedgerReader
from ....storage.ledger.slot import StudyRow
from ....storage.projection.annotations import file_address
from ....storage.study.study import list_follow_ups, list_studies
from ..evidence import load_evidence
from .markdown import markdown
from .write import Report, make_report

PATIENCE_SECONDS = 3.0
"""How long a page waits for a report that is being made; a small study's is there by then."""
REST = 10.0
"""How many times as long as a report took it is not made again, whatever news there is."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A report that was made.

    Attributes:
        state: Of the study, by which it is known whether there is news.
        report: The report; None where there is nothing to say, or it could not be made.
        seconds: What it took.
        at: When it was ready, by the clock.
    """

    state: tuple[int, ...]
    report: Report | None
    seconds: float
    at: float


@final
class ReportAnnotations:
    """The reports of a database's studies, as the dashboard asks for them; use it in a `with`.

    Args:
        database: Where the studies are.
        clock: Seconds, rising.
        make: Makes the report of a study of that name.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
        make: Callable[[Database, str], Report] = lambda database, name: make_report(
            load_evidence(database, name)
        ),
    ) -> None:
        self._database, self._clock, self._make = database, clock, make
        self._made: dict[int, _Made] = {}
        self._running: dict[int, Future[None]] = {}
        self._lock = threading.Lock()
        # One thread: the figures' style is a setting of the whole process.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="report")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def prepare(self, study_id: int) -> None:
        """Make the report of a study unless it is there; wait a little for the first one.

        Args:
            study_id: Optuna's.
        """
        studies = {row.optuna_study_id: row for row in list_studies(self._database)}
        row = studies.get(study_id)
        if row is None or row.parent_id is not None:  # a follow-up is told in its study's report
            return
        state = self._state(row)
        with self._lock:
            made = self._made.get(study_id)
            is_due = made is None or (
                made.state != state and self._clock() - made.at >= REST * made.seconds
            )
            if is_due and study_id not in self._running:
                future = self._executor.submit(self._update, row, state)
                self._running[study_id] = future
            running = self._running.get(study_id)
        if running is not None and made is None:
            # It raises nothing: what went wrong is logged where it did.
            wait([running], timeout=PATIENCE_SECONDS)

    def _state(self, row: StudyRow) -> tuple[int, ...]:
        state: list[int] = []
        for study in (row, *list_follow_ups(self._database, row)):
            counts = LedgerReader(self._database, study).counts()
            state += (counts.complete, counts.failed, counts.pruned, counts.budget)
        return tuple(state)

    def _update(self, row: StudyRow, state: tuple[int, ...]) -> None:
        started = self._clock()
        report = None
        try:
            report = self._make(self._database, row.name) if state[0] else None
        except Exception:
            # A page without a note is better than none; the command line says what is wrong. It is
            # tried again, and the report before stays: the database may have been busy.
            _log.debug("no report of %s", row.name, exc_info=True)
            with self._lock:
                before = self._made.get(row.optuna_study_id)
            report, state = (None if before is None else before.report), ()
        ended = self._clock()
        made = _Made(state=state, report=report, seconds=ended - started, at=ended)
        with self._lock:
            self._made[row.optuna_study_id] = made
            self._running.pop(row.optuna_study_id, None)

    def note(self, study_id: int) -> str | None:
        """Return the report in Markdown, without its tables; None while there is none."""
        report = self._report(study_id)
        if report is None:
            return None
        return markdown(
            report.document,
            address=lambda name: file_address(study_id, f"{name}.png"),
            tables=False,
        )

    def files(self, study_id: int) -> Mapping[str, bytes]:
        """Return the report's files; none while there is no report."""
        report = self._report(study_id)
        return {} if report is None else report.files

    def _report(self, study_id: int) -> Report | None:
        with self._lock:
            made = self._made.get(study_id)
        return None if made is None else made.report
