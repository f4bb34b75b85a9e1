"""Where a study stands: its spec and folder, its state, and the report of what it found.

Entry points: `state` (budget, trials, who holds them, events), `serving` (workers), `summarise`
(the report).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...storage.database.database import Database
from ...storage.ledger import events
from ...storage.ledger.ledger import Ledger
from ...storage.ledger.slot import StudyRow
from ...storage.study.study import load_study
from ...storage.study.workers import list_workers
from ..errors import SearchError
from ..problem.stored import base_of, spec_of

if TYPE_CHECKING:
    from ..problem.memory_ceiling import Exceeded
    from ..space.feasible_set import FeasibleSet

_log = logging.getLogger(__name__)


def state(database: Database, row: StudyRow, *, last: int = 0) -> dict[str, Any]:
    """Status, budget, trials by state and workers of a study, as `status --json` gives them.

    Args:
        database: Where it is.
        row: The study, just read.
        last: How many of its newest events to tell, oldest of them first.

    Returns:
        A mapping of JSON values: "study", "status", "priority", "budget", "trials", "paused" (those
        of the waiting trials that were paused), "workers" (who holds which trial), and "events" if
        any are wanted.
    """
    from .summary import progress

    ledger = Ledger(database, row, worker="reader")
    counts = ledger.counts()
    found = {
        "study": row.name,
        "status": row.status,
        "priority": row.priority,
        **progress(counts),
        "paused": counts.paused,
        "workers": [{"worker": record.worker, "trial": record.number} for record in ledger.held()],
    }
    if last:
        found["events"] = [_told(event) for event in events.read(database, row, last=last)]
    return found


def _told(event: events.Event) -> dict[str, Any]:
    return {
        "at": event.at,
        "kind": event.kind,
        "trial": event.number,
        "worker": event.worker,
        "detail": dict(event.detail),
    }


def serving(database: Database, study: str | None = None) -> list[dict[str, Any]]:
    """The workers that were heard of within a day, as `status --workers --json` gives them.

    Args:
        database: Where they are announced.
        study: Only those that serve this one.
    """
    return [
        {
            "worker": one.name,
            "host": one.host,
            "pid": one.pid,
            "device": one.device,
            "study": one.study,
            "activity": one.activity,
            "trials": list(one.trials),
            "age_seconds": one.age_seconds,
            "alive": one.alive,
            "version": one.version,
        }
        for one in list_workers(database)
        if study is None or one.study == study
    ]


def summarise(database: Database, name: str) -> dict[str, Any]:
    """The report of a study with the pick over all feasible candidates; see `report.summary`."""
    from .summary import summary  # the surrogate with it, which a worker's parent does not need

    row = load_study(database, name)
    ledger = Ledger(database, row, worker="reader")
    records, counts = ledger.records(), ledger.counts()
    feasible = feasible_of(row, ledger.out_of_memory()) if counts.complete else None
    return summary(row, spec_of(row), records, counts, feasible)


def feasible_of(row: StudyRow, exceeded: Sequence[Exceeded]) -> FeasibleSet | None:
    """The candidates of a study; None where its model or data are not on this machine.

    Args:
        row: The study.
        exceeded: What ran out of memory: nothing that did, on whichever class of devices, nor what
            is larger, is among them.
    """
    from ...objectives.errors import ObjectiveError
    from ..problem.memory_ceiling import Here
    from ..problem.problem import Problem

    try:
        problem = Problem.load(spec_of(row), base_of(row), row.costs)
        for device in sorted({device for _, device in exceeded if device is not None}):
            problem = Here(problem=problem, device=device).known(exceeded)
    except (ObjectiveError, SearchError) as error:
        _log.debug("only trained candidates are judged: %s", error)
        return None
    return problem.feasible
