"""The ledger's and the projection's batch calls for tests with one slot at a time.

A slot that is lost is an exception here, `LeaseLost`; widths that another slot has are `Taken`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from sqlalchemy import update
from widthwise.storage.database.database import Database
from widthwise.storage.database.tables import slots
from widthwise.storage.errors import LeaseLost
from widthwise.storage.ledger.ledger import (
    BindFailure,
    Ledger,
    Settlement,
    Slot,
    TrialOutcome,
    WidthBinding,
)
from widthwise.storage.ledger.slot import StudyRow
from widthwise.storage.projection.projection import Projection, TrialStart


class Taken(Exception):
    """Another slot of the study holds these widths."""


def claim_one(ledger: Ledger) -> Slot | None:
    """Claim the next slot; None if there is none."""
    return next(iter(ledger.claim_many(1)), None)


def bind_one(ledger: Ledger, slot: Slot, widths: Mapping[str, int], origin: str) -> Slot:
    """Bind widths to a slot; returns it with them."""
    [bound] = ledger.bind_many([WidthBinding(slot=slot, widths=widths, origin=origin)])
    if bound is BindFailure.TAKEN:
        raise Taken(f"another slot holds the widths {dict(widths)}")
    return _held(slot, lost=bound is BindFailure.LOST) if isinstance(bound, BindFailure) else bound


def beat_one(ledger: Ledger, slot: Slot) -> None:
    """Extend a slot's lease."""
    _held(slot, lost=bool(ledger.beat_many([slot])))


def release_one(ledger: Ledger, slot: Slot) -> None:
    """Give a slot back."""
    _held(slot, lost=bool(ledger.release_many([slot])))


def settle_one(
    ledger: Ledger,
    slot: Slot,
    *,
    outcome: str,
    value: float | None = None,
    result: Mapping[str, Any],
    **scores: float | None,
) -> None:
    """Settle a slot; `scores` are the other fields of `Settlement`."""
    settlement = Settlement(
        slot=slot, outcome=TrialOutcome(outcome), value=value, result=result, **scores
    )
    _held(slot, lost=bool(ledger.settle_many([settlement])))


def open_one(
    projection: Projection,
    slot: Slot,
    *,
    distributions: Mapping[str, BaseDistribution],
    constraints: Mapping[str, float],
    attributes: Mapping[str, Any],
) -> int:
    """Make a slot's trial; returns Optuna's id of it."""
    opening = TrialStart(slot=slot, constraints=constraints, attributes=attributes)
    [trial_id] = projection.open_many([opening], distributions=distributions)
    _held(slot, lost=trial_id is None)
    assert trial_id is not None
    return trial_id


def put_trial(database: Database, study: StudyRow, slot: Slot, trial_id: int | None) -> Slot:
    """Write another trial into a slot's row, by hand; returns the slot with it."""
    this_slot = (slots.c.study_id == study.id) & (slots.c.number == slot.number)
    change = update(slots).where(this_slot).values(trial_id=trial_id)
    database.write(lambda connection: connection.execute(change))
    return dataclasses.replace(slot, trial_id=trial_id)


def _held(slot: Slot, *, lost: bool) -> Slot:
    if lost:
        raise LeaseLost(f"its worker no longer holds slot {slot.number}")
    return slot
