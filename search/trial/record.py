"""Recording: what the ledger and Optuna keep of a training.

Entry points: `training_settlement`, `out_of_memory_settlement`, `infeasible_settlement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...objectives.loop.result import TrainingResult
from ...storage.ledger.ledger import Settlement, Slot
from ...storage.ledger.slot import TrialOutcome
from ..units import format_duration
from .bind import BoundSlot


def training_settlement(
    bound_slot: BoundSlot, result: TrainingResult, seed: int, device_class: str
) -> Settlement:
    """The record of a training: complete, pruned, or what went wrong.

    Args:
        bound_slot: What was trained.
        result: What came of it.
        seed: Of the training.
        device_class: What memory ran out on, if it did.
    """
    device_fields = {"device_class": device_class} if result.outcome == "out_of_memory" else {}
    attributes = {
        "test": result.test_value,
        "outcome": result.outcome,
        "detail": result.detail,
        "spread": result.spread,
        "score": result.score if result.outcome == "pruned" else None,
        "learning_rate": result.learning_rate,
        "engine": result.engine,
        "measured_memory": result.peak_memory,
        **device_fields,
    }
    stored_result: dict[str, Any] = {
        "test": result.test_value,
        "costs": dict(bound_slot.costs),
        "measured": dict(bound_slot.measured_costs),
        "curve": list(result.curve),
        "losses": list(result.losses),
        "rungs": {str(epochs): score for epochs, score in result.rung_scores},
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "device": result.device,
        "engine": result.engine,
        "learning_rate": result.learning_rate,
        "predicted_memory": bound_slot.costs.get("train_memory"),
        "measured_memory": result.peak_memory,
        "seed": seed,
        "detail": result.detail,
        **device_fields,
        "attributes": {name: value for name, value in attributes.items() if value is not None},
    }
    return Settlement(
        slot=bound_slot.slot,
        outcome=TrialOutcome(result.outcome),
        value=result.value,
        result=stored_result,
        score=result.score,
        fidelity=result.fidelity,
        spread=result.spread,
    )


def out_of_memory_settlement(slot: Slot, reason: str, device_class: str) -> Settlement:
    """The record of a candidate for which memory ran out before or beside its training."""
    attributes = {"detail": reason, "device_class": device_class}
    return Settlement(
        slot=slot,
        outcome=TrialOutcome.OUT_OF_MEMORY,
        value=None,
        result={**attributes, "attributes": attributes},
    )


def infeasible_settlement(
    bound_slot: BoundSlot, measured_limits: Mapping[str, float]
) -> Settlement:
    """The record of a candidate that breaks a measured limit, or is too large for the device."""
    reason = bound_slot.too_large_reason or ", ".join(
        f"{name} {format_duration(value)} against a limit of {format_duration(measured_limits[name])}"
        for name, value in bound_slot.measured_costs.items()
    )
    result = {
        "measured": dict(bound_slot.measured_costs),
        "detail": reason,
        "attributes": {"detail": reason},
    }
    return Settlement(
        slot=bound_slot.slot, outcome=TrialOutcome.INFEASIBLE, value=None, result=result
    )
