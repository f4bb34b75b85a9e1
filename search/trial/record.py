"""Recording: what the ledger and Optuna keep of a trial, and the way it gets there.

`Ledger.settle_many` is the commit point of every result; what another worker has taken over is
refused there, and its neighbours are kept. Imports no torch: the supervisor records crashes.

Entry points: `training_settlement`, `out_of_memory_settlement`, `infeasible_settlement`,
`crashed_settlement`; `record_settlements`, `record_failure`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...storage.errors import LeaseLost
from ...storage.ledger.ledger import Ledger, Settlement, Slot
from ...storage.ledger.slot import TrialOutcome
from ...storage.projection.projection import SLOT_ATTRIBUTE
from ..goal import Goal
from ..units import format_cost
from .outcome import SlotOutcome, Unsettled

if TYPE_CHECKING:
    from ...objectives.loop.result import TrainingResult
    from .bind import BoundSlot


NO_BETTER_THAN_CONSTANT = "no_better_than_constant"
"""Key of a trial's result, true where its metric is no better than a constant prediction's."""

_ROUNDING = 1e-9
"""How far, relatively, means of the same numbers may differ that were taken in another order."""


def training_settlement(
    bound_slot: BoundSlot,
    result: TrainingResult,
    device_class: str,
    *,
    constant_score: float | None = None,
    constant_loss: float | None = None,
    goal: Goal | None = None,
) -> Settlement:
    """Return the record of a training: complete, pruned, or what went wrong.

    Args:
        bound_slot: What was trained.
        result: What came of it.
        device_class: What memory ran out on, if it did.
        constant_score: The metric of a constant prediction, where it is known.
        constant_loss: Its validation loss, likewise.
        goal: Says which of two metrics is better.
    """
    outcome = TrialOutcome(result.outcome)
    constant_fields: dict[str, Any] = {}
    if constant_score is not None and goal is not None and math.isfinite(constant_score):
        constant_fields["constant_score"] = constant_score
        if result.value is not None and not _is_better(result.value, constant_score, goal):
            constant_fields[NO_BETTER_THAN_CONSTANT] = True
    if constant_loss is not None and math.isfinite(constant_loss):
        constant_fields["constant_loss"] = constant_loss
    device_fields = {"device_class": device_class} if outcome is TrialOutcome.OUT_OF_MEMORY else {}
    attributes = {
        "test": result.test_value,
        "outcome": outcome.value,
        "detail": result.detail,
        "spread": result.spread,
        "score": result.score if outcome is TrialOutcome.PRUNED else None,
        "learning_rate": result.learning_rate,
        "engine": result.engine,
        "measured_memory": result.peak_memory,
        "constant": constant_fields.get("constant_score"),
        NO_BETTER_THAN_CONSTANT: constant_fields.get(NO_BETTER_THAN_CONSTANT),
        **device_fields,
    }
    # What we say of a trial ourselves keeps its name.
    own_names = {*attributes, *bound_slot.attributes, SLOT_ATTRIBUTE}
    for name, value in result.reported.items():
        attributes[f"reported_{name}" if name in own_names else name] = value
    stored_result: dict[str, Any] = {
        "test": result.test_value,
        "train": result.train_value,
        "reported": dict(result.reported),
        "scores": list(result.scores),
        "costs": dict(bound_slot.costs),
        "measured": dict(bound_slot.measured_costs),
        "curve": list(result.curve),
        **({"steps": list(result.steps)} if result.steps else {}),
        "losses": list(result.losses),
        "validation_losses": list(result.validation_losses),
        "rungs": {str(epochs): score for epochs, score in result.rung_scores},
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "device": result.device,
        "engine": result.engine,
        "learning_rate": result.learning_rate,
        "predicted_memory": bound_slot.costs.get("train_memory"),
        "measured_memory": result.peak_memory,
        "seed": bound_slot.seed,
        "detail": result.detail,
        **constant_fields,
        **device_fields,
        "attributes": {name: value for name, value in attributes.items() if value is not None},
    }
    return Settlement(
        slot=bound_slot.slot,
        outcome=outcome,
        value=result.value,
        result=stored_result,
        score=result.score,
        fidelity=result.fidelity,
        spread=result.spread,
    )


def _is_better(value: float, constant_score: float, goal: Goal) -> bool:
    """Return whether a metric beats a constant's, by more than the rounding of means."""
    is_equal = math.isclose(value, constant_score, rel_tol=_ROUNDING)
    return not is_equal and goal.sign * (value - constant_score) > 0


def out_of_memory_settlement(slot: Slot, reason: str, device_class: str) -> Settlement:
    """Return the record of a candidate for which memory ran out before or beside its training."""
    attributes = {"detail": reason, "device_class": device_class}
    return Settlement(
        slot=slot,
        outcome=TrialOutcome.OUT_OF_MEMORY,
        result={**attributes, "attributes": attributes},
    )


def infeasible_settlement(bound_slot: BoundSlot, limits: Mapping[str, float]) -> Settlement:
    """Return the record of a candidate that breaks a limit or is too large here.

    Args:
        bound_slot: The candidate.
        limits: The bounds that are set, by name.
    """
    figures = {**bound_slot.costs, **bound_slot.measured_costs}
    reason = bound_slot.too_large_reason or ", ".join(
        f"{name} {format_cost(name, figures[name])} against a limit of "
        f"{format_cost(name, limits[name])}"
        for name, violation in bound_slot.constraints.items()
        if violation > 0
    )
    result = {
        "costs": dict(bound_slot.costs),
        "measured": dict(bound_slot.measured_costs),
        "detail": reason,
        "attributes": {"detail": reason},
    }
    return Settlement(slot=bound_slot.slot, outcome=TrialOutcome.INFEASIBLE, result=result)


def crashed_settlement(slot: Slot, reason: str) -> Settlement:
    """Return the record of a trial that no worker survives."""
    return Settlement(slot=slot, outcome=TrialOutcome.ERROR, result={"error": reason})


def record_settlements(ledger: Ledger, settlements: Sequence[Settlement]) -> list[SlotOutcome]:
    """Record how slots ended, in one transaction: the commit point of each."""
    if not settlements:
        return []
    lost_numbers = {slot.number for slot in ledger.settle_many(settlements)}
    return [
        SlotOutcome(number=settlement.slot.number, kind=Unsettled.LOST)
        if settlement.slot.number in lost_numbers
        else SlotOutcome(
            number=settlement.slot.number,
            kind=settlement.outcome,
            value=settlement.value,
            detail=settlement.result.get("detail") or settlement.result.get("error"),
        )
        for settlement in settlements
    ]


def record_failure(ledger: Ledger, slot: Slot, error: str, *, detail: str) -> SlotOutcome:
    """Charge a failed attempt; the trial is tried again unless it failed too often.

    Args:
        ledger: The budget.
        slot: As claimed.
        error: What the ledger keeps: a traceback where there is one.
        detail: The same for people, in one line.
    """
    try:
        will_retry = ledger.fail_attempt(slot, error)
    except LeaseLost:
        return SlotOutcome(number=slot.number, kind=Unsettled.LOST)
    kind = Unsettled.RETRY if will_retry else TrialOutcome.ERROR
    return SlotOutcome(number=slot.number, kind=kind, detail=detail)
