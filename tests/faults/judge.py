"""The judge: holds a study's ledger, its events, Optuna's trials and the witnesses together.

`audit` counts what a promise's line shows; `check` is for a study that should be finished, with
nothing lost, nothing twice and nobody left.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from widthwise.storage.database.database import Database
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import Ledger, Record
from widthwise.storage.ledger.slot import StudyRow
from widthwise.storage.study.study import create_study

from .crew import value_of


def create(database: Database, budget: int, name: str = "digits") -> StudyRow:
    """A study for a crew."""
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
        witness: Lines of number, token and value that workers were told are recorded.

    Returns:
        budget, complete, running: slots.
        duplicates: Widths that a second slot has too, results that were accepted a second time,
            and trials that Optuna shows beyond one a slot.
        lost: Results that a worker was told are recorded and that the ledger has not, and those
            that the ledger has and Optuna does not show.
        adopted: Slots that were taken over from a holder whose lease had ended.
        refused: What late holders were not allowed.
    """
    ledger = Ledger(database, study, worker="judge")
    counts, records = ledger.counts(), ledger.records()
    trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
    story = events.read(database, study)
    kinds = Counter(event.kind for event in story)
    return {
        "budget": counts.budget,
        "complete": counts.complete,
        "running": counts.running + sum(trial.state == TrialState.RUNNING for trial in trials),
        "duplicates": _duplicates(records, trials, story),
        "lost": _unkept(records, story, witness) + _unshown(records, trials),
        "adopted": kinds["reclaimed"],
        # Widths that another slot has are refused too, to a holder that is not late.
        "refused": sum(one.kind == "refused" and "action" in one.detail for one in story),
    }


def check(database: Database, study: StudyRow, witness: Path | None = None) -> dict[str, int]:
    """Every slot was settled once, by one holder, and Optuna tells the same story.

    Returns:
        What `audit` does.
    """
    found = audit(database, study, witness)
    budget = found["budget"]
    assert {name: found[name] for name in ("complete", "running", "duplicates", "lost")} == {
        "complete": budget,
        "running": 0,
        "duplicates": 0,
        "lost": 0,
    }
    records = Ledger(database, study, worker="judge").records()
    assert [record.number for record in records] == list(range(budget))
    assert [record.value for record in records] == [value_of(one.widths or {}) for one in records]
    story = events.read(database, study)
    kinds = Counter(event.kind for event in story)
    assert kinds["done"] == kinds["bound"] == kinds["claimed"] == budget
    assert kinds["claimed"] + kinds["reclaimed"] == sum(record.attempts for record in records)
    assert kinds["projected"] + kinds["repaired"] == budget
    trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
    assert [trial.number for trial in trials] == list(range(budget))
    # What Optuna shows of a trial is its settling holder's, not an earlier one's.
    settled_by = {event.number: event.token for event in story if event.kind == "done"}
    assert {one.user_attrs["slot"]: one.user_attrs["token"] for one in trials} == settled_by
    return found


def _duplicates(records: list[Record], trials: list[FrozenTrial], story: list[Any]) -> int:
    widths = [tuple(sorted(one.widths.items())) for one in records if one.widths is not None]
    done = [event.number for event in story if event.kind == "done"]
    slots = [trial.user_attrs["slot"] for trial in trials]
    return sum(len(some) - len(set(some)) for some in (widths, done, slots))


def _unkept(records: list[Record], story: list[Any], witness: Path | None) -> int:
    """Results that were acknowledged and are not in the ledger as they were."""
    if witness is None or not witness.exists():
        return 0
    settled_by = {event.number: event.token for event in story if event.kind == "done"}
    kept = {f"{one.number} {settled_by.get(one.number)} {one.value}" for one in records}
    return len(set(witness.read_text().splitlines()) - kept)


def _unshown(records: list[Record], trials: list[FrozenTrial]) -> int:
    shown = {trial._trial_id: trial for trial in trials if trial.state == TrialState.COMPLETE}
    return sum(not _shows(shown.get(one.trial_id), one) for one in records if one.value is not None)


def _shows(trial: FrozenTrial | None, record: Record) -> bool:
    return trial is not None and (trial.params, trial.value, trial.user_attrs["slot"]) == (
        record.widths,
        record.value,
        record.number,
    )
