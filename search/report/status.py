"""The status of studies and workers, and the report of a study, read from the database.

Entry points: `study_status` (budget, trials, who holds them, events), `worker_statuses`, and
`load_summary` (the report).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ...storage.database.database import Database
from ...storage.ledger import events
from ...storage.ledger.queries import LedgerReader
from ...storage.ledger.slot import SlotRecord, StudyRow
from ...storage.study.workers import list_workers
from ..follow_up_kind import followed_name

if TYPE_CHECKING:
    from .summary import StudySummary


def study_status(database: Database, row: StudyRow, *, event_count: int = 0) -> dict[str, Any]:
    """Return the status of a study as `status --json` gives it.

    Args:
        database: Where it is.
        row: The study, just read.
        event_count: How many of its newest events to list, the oldest of them first.

    Returns:
        A mapping of JSON values: "study", "kind" and "follows" (of a study that follows up another
        one, the way and the name of that one, else null), "status", "priority", "budget", "trials",
        "paused" (those of the waiting trials that were paused), "no_better_than_constant" (complete
        trials that are no better than a constant prediction), "best" (number, metric and reported
        figures of the best trial so far; null before one is complete), "untrained_reason" (why it
        was stopped as it learned nothing; null if it was not, or is open again), "workers" (who
        holds which trial), and "events" if any are asked for.
    """
    from .summary import progress_summary

    reader = LedgerReader(database, row)
    counts = reader.counts()
    status = {
        "study": row.name,
        "kind": row.kind,
        "follows": None if row.kind is None else followed_name(row.name, row.kind),
        "status": row.status,
        "priority": row.priority,
        **progress_summary(counts),
        "paused": counts.paused,
        "no_better_than_constant": reader.count_with("no_better_than_constant"),
        "best": _best_entry(row, reader.best_complete()),
        "untrained_reason": reader.untrained_reason(),
        "workers": [
            {"worker": record.worker, "trial": record.number} for record in reader.leased()
        ],
    }
    if event_count:
        status["events"] = [
            _event_entry(event) for event in events.read(database, row, last=event_count)
        ]
    return status


def _best_entry(row: StudyRow, record: SlotRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    metric = json.loads(row.spec).get("proxy", {}).get("metric", "metric")
    return {
        "trial": record.number,
        "metric": {"name": metric, "value": record.value},
        "reported": dict((record.result or {}).get("reported", {})),
    }


def _event_entry(event: events.Event) -> dict[str, Any]:
    return {
        "at": event.at,
        "kind": event.kind,
        "trial": event.number,
        "worker": event.worker,
        "detail": dict(event.detail),
    }


def worker_statuses(
    database: Database, studies: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return the workers seen within a day, as `status --workers --json` gives them.

    Args:
        database: Where they are announced.
        studies: Only those that serve one of these.
    """
    return [
        {
            "worker": worker.name,
            "host": worker.host,
            "pid": worker.pid,
            "device": worker.device,
            "study": worker.study,
            "activity": worker.activity,
            "trials": list(worker.trials),
            "age_seconds": worker.age_seconds,
            "alive": worker.alive,
            "version": worker.version,
        }
        for worker in list_workers(database)
        if studies is None or worker.study in studies
    ]


def load_summary(database: Database, name: str) -> StudySummary:
    """Return the report of a study, with the best of all its feasible candidates.

    Raises:
        StudyNotFound: There is no such study.
        SpecError: It follows up another one, whose report it is part of.
    """
    # Whoever asks for a status alone loads neither this nor the surrogate behind it.
    from .evidence import load_evidence
    from .summary import build_summary

    return build_summary(load_evidence(database, name))
