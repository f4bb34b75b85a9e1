"""The judge: holds a study's ledger, its events, Optuna's trials and the witnesses together.

`audit` counts what a promise's line shows; `assert_settled_once` is for a study that should be
finished, with nothing lost, nothing twice and nobody left.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from widthwise.storage.database.database import Database
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import SlotRecord
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.ledger.slot import StudyRow, planned_key, widths_key
from widthwise.storage.study.study import create_study

from .sleeping_worker import value_from_widths


def create_swarm_study(database: Database, budget: int, name: str = "digits") -> StudyRow:
    """Create a study for a swarm."""
    study, _ = create_study(
        database,
        name=name,
        spec="{}",
        fingerprint="f",
        direction="maximize",
        metric="accuracy",
        base="",
        budget=budget,
    )
    return study


def audit(database: Database, study: StudyRow, witness: Path | None = None) -> dict[str, int]:
    """What a study's books hold.

    Args:
        database: Where it is.
        study: Which.
        witness: Lines of number, token and value that the ledger acknowledged to workers.

    Returns:
        budget, complete, running: slots.
        duplicates: Widths (of planned slots, with their seed) that a second slot has too, results
            that were accepted a second time, and trials that Optuna shows beyond one a slot.
        lost: Results that were acknowledged to a worker and that the ledger has not, and those
            that the ledger has and Optuna does not show.
        adopted: Slots that were taken over from a holder whose lease had ended.
        refused: What late holders were not allowed.
    """
    reader = LedgerReader(database, study)
    counts, records = reader.counts(), reader.records()
    trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
    event_log = events.read(database, study)
    kinds = Counter(event.kind for event in event_log)
    return {
        "budget": counts.budget,
        "complete": counts.complete,
        "running": counts.running + sum(trial.state == TrialState.RUNNING for trial in trials),
        "duplicates": _duplicates(records, trials, event_log),
        "lost": _missing_results(records, event_log, witness) + _unprojected(records, trials),
        "adopted": kinds["reclaimed"],
        # Widths that another slot has are refused too, to a holder that is not late.
        "refused": sum(entry.kind == "refused" and "action" in entry.detail for entry in event_log),
    }


def assert_settled_once(
    database: Database, study: StudyRow, witness: Path | None = None
) -> dict[str, int]:
    """Every slot was settled once, by one holder, and Optuna tells the same story.

    Returns:
        What `audit` does.
    """
    figures = audit(database, study, witness)
    budget = figures["budget"]
    assert {name: figures[name] for name in ("complete", "running", "duplicates", "lost")} == {
        "complete": budget,
        "running": 0,
        "duplicates": 0,
        "lost": 0,
    }, figures
    records = LedgerReader(database, study).records()
    assert [record.number for record in records] == list(range(budget))
    assert [record.value for record in records] == [
        value_from_widths(entry.widths or {}) for entry in records
    ]
    event_log = events.read(database, study)
    kinds = Counter(event.kind for event in event_log)
    assert kinds["done"] == kinds["bound"] == kinds["claimed"] == budget
    assert kinds["claimed"] + kinds["reclaimed"] == sum(record.attempts for record in records)
    assert kinds["projected"] + kinds["repaired"] == budget
    trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
    assert [trial.number for trial in trials] == list(range(budget))
    # What Optuna shows of a trial is its settling holder's, not an earlier one's.
    settled_by = {event.number: event.token for event in event_log if event.kind == "done"}
    assert {entry.user_attrs["slot"]: entry.user_attrs["token"] for entry in trials} == settled_by
    return figures


def _duplicates(records: list[SlotRecord], trials: list[FrozenTrial], event_log: list[Any]) -> int:
    widths = [
        widths_key(record.widths)
        if record.seed is None
        else planned_key(record.widths, record.seed, record.overrides)
        for record in records
        if record.widths is not None
    ]
    done = [event.number for event in event_log if event.kind == "done"]
    slots = [trial.user_attrs["slot"] for trial in trials]
    return sum(len(values) - len(set(values)) for values in (widths, done, slots))


def _missing_results(records: list[SlotRecord], event_log: list[Any], witness: Path | None) -> int:
    """Results that were acknowledged and are not in the ledger as they were."""
    if witness is None or not witness.exists():
        return 0
    settled_by = {event.number: event.token for event in event_log if event.kind == "done"}
    recorded = {
        f"{record.number} {settled_by.get(record.number)} {record.value}" for record in records
    }
    return len(set(witness.read_text().splitlines()) - recorded)


def _unprojected(records: list[SlotRecord], trials: list[FrozenTrial]) -> int:
    complete_trials = {
        trial._trial_id: trial for trial in trials if trial.state == TrialState.COMPLETE
    }
    return sum(
        not _matches(complete_trials.get(record.trial_id), record)
        for record in records
        if record.value is not None
    )


def _matches(trial: FrozenTrial | None, record: SlotRecord) -> bool:
    return trial is not None and (trial.params, trial.value, trial.user_attrs["slot"]) == (
        record.widths,
        record.value,
        record.number,
    )
