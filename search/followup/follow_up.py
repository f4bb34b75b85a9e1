"""A follow-up study: opened beside the study that it follows up, given trainings, and run.

It is a study as any other, in the same database: the same ledger and workers, the same guarantees.
Only its trainings are planned: widths, seed and changed keys of the spec come with each slot.

    row = open_follow_up(database, parent, FollowUpKind.SWEEP, detail="hidden1")
    records = run_planned(database, row, planned, options, console, worker_count=2)

All of it is in the ledger, and planning is safe to repeat: after an interruption, the same calls go
on where it was.

Entry points: `open_follow_up`, `find_follow_up`, `run_planned`; `FollowUpStopped`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from ...storage.database.database import Database
from ...storage.ledger.ledger import Ledger, PlannedTrial, SlotRecord
from ...storage.ledger.queries import LedgerReader
from ...storage.ledger.slot import StudyRow, StudyStatus
from ...storage.study.control import set_status
from ...storage.study.study import create_study, find_study
from ..errors import ExitCode, FingerprintMismatch, SearchError
from ..fleet.run import run_fleet
from ..fleet.worker_fleet import Launcher
from ..follow_up_kind import FollowUpKind, continue_command, follow_up_name
from ..problem.stored import base_folder, check_fingerprint, stored_spec
from ..spec.differences import describe_differences, differing_keys
from ..spec.overrides import with_overrides
from ..worker.options import FleetWorkerOptions
from ..worker.shutdown import StopRequest, worker_name

__all__ = [
    "FollowUpKind",
    "FollowUpStopped",
    "PlannedTrial",
    "find_follow_up",
    "open_follow_up",
    "run_planned",
]


class FollowUpStopped(SearchError):
    """The workers of a follow-up study ended before its trainings did.

    Attributes:
        exit_code: The worst worker's; BUG for one that is none of ours, as of a killed worker.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(exit_code) if exit_code in set(ExitCode) else ExitCode.BUG


def find_follow_up(
    database: Database, parent: StudyRow, kind: FollowUpKind, *, detail: str = ""
) -> StudyRow | None:
    """Return the follow-up study of that kind; None if there is none yet."""
    row = find_study(database, follow_up_name(parent.name, kind, detail))
    return row if row is not None and row.parent_id == parent.id else None


def open_follow_up(
    database: Database,
    parent: StudyRow,
    kind: FollowUpKind,
    *,
    detail: str = "",
    spec_changes: Mapping[str, Any] | None = None,
) -> StudyRow:
    """Return a follow-up study, made if there is none yet, opened again if it was cancelled.

    Args:
        database: Where both are.
        parent: The study to follow up.
        kind: In which way.
        detail: Tells it from others of its kind.
        spec_changes: Keys of the parent's spec, with dots, to their values here.

    Raises:
        FingerprintMismatch: The code or the data are not what the parent was started with, or the
            follow-up study is there with other changes.
        SpecError: A change makes no valid spec.
        StudyMismatch: A study of its own has that name.
    """
    check_fingerprint(parent)
    changes = spec_changes or {}
    spec = with_overrides(stored_spec(parent), changes)
    existing = find_follow_up(database, parent, kind, detail=detail)
    if existing is not None and (differences := differing_keys(spec, stored_spec(existing))):
        raise FingerprintMismatch(
            f"{existing.name} was begun with other settings: {describe_differences(differences)}; "
            "give the same ones to go on with it"
        )
    # Loading it is slow, and whoever only looks at a follow-up study loads no model.
    from ..problem.problem import problem_fingerprint

    is_same_model = not any(key.startswith(("model.", "proxy.loss")) for key in changes)
    row, _ = create_study(
        database,
        name=follow_up_name(parent.name, kind, detail),
        spec=spec.to_json(),
        fingerprint=problem_fingerprint(spec, base_folder(parent)),
        direction=parent.direction,
        metric=spec.metric,
        base=parent.base,
        budget=0,
        costs=parent.costs if is_same_model else None,
        parent=parent,
        kind=kind,
    )
    if row.status is not StudyStatus.CANCELLED:
        return row
    set_status(database, row, StudyStatus.OPEN, worker=worker_name())
    return replace(row, status=StudyStatus.OPEN)


def run_planned(
    database: Database,
    follow_up: StudyRow,
    planned: Sequence[PlannedTrial],
    options: FleetWorkerOptions,
    console: Console,
    *,
    worker_count: int,
    launcher: Launcher = Launcher.LOCAL,
    stop: StopRequest | None = None,
    command: str | None = None,
) -> list[SlotRecord]:
    """Add trainings, run workers until all of the follow-up study are settled, and return those.

    Whoever cancels the follow-up study meanwhile ends it, between two rounds of trainings, too.

    Args:
        database: Where it is.
        follow_up: From `open_follow_up`.
        planned: The trainings; those that it has already are not added again.
        options: How each worker works.
        console: Where progress is written.
        worker_count: How many to start at most.
        launcher: Where.
        stop: Learns of a stop that is asked for meanwhile.
        command: What goes on with it, as a person would give it; None for that of its kind.

    Returns:
        The records of all its slots, by number; also of those that were planned before.

    Raises:
        FollowUpStopped: The workers ended early, with their exit code; or it is cancelled.
        BudgetRefused: That are too many trainings.
        KeyboardInterrupt: A second Ctrl-C; workers were killed, their slots come back.
    """
    ledger = Ledger(database, follow_up, worker=worker_name())
    ledger.add_planned(planned)
    reader = LedgerReader(database, follow_up)
    exit_code = run_fleet(
        database,
        follow_up.name,
        options,
        console,
        worker_count=worker_count,
        launcher=launcher,
        stop=stop,
        command=command,
    )
    if exit_code or reader.open_slots():
        raise FollowUpStopped(
            f"{follow_up.name} ended before all its trainings were done; "
            f"`{command or continue_command(follow_up.name, follow_up.kind)}` goes on",
            exit_code or ExitCode.DRAINED,
        )
    return reader.records()
