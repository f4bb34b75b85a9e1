"""Recording: what the ledger and Optuna keep of a training.

Entry points: `trained`, `ran_out`, `refused`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...objectives.loop.train import TrainingResult
from ...storage.ledger.ledger import Settlement, Slot
from ..units import show_duration
from .bind import Bound


def trained(bound: Bound, result: TrainingResult, seed: int, device_class: str) -> Settlement:
    """The record of a training: complete, pruned, or what went wrong.

    Args:
        bound: What was trained.
        result: What came of it.
        seed: Of the training.
        device_class: What memory ran out on, if it did.
    """
    exceeded = {"device_class": device_class} if result.outcome == "out_of_memory" else {}
    shown = {
        "test": result.test_value,
        "outcome": result.outcome,
        "detail": result.detail,
        "spread": result.spread,
        "score": result.score if result.outcome == "pruned" else None,
        "learning_rate": result.learning_rate,
        "engine": result.engine,
        "measured_memory": result.peak_memory,
        **exceeded,
    }
    stored: dict[str, Any] = {
        "test": result.test_value,
        "costs": dict(bound.costs),
        "measured": dict(bound.measured),
        "curve": list(result.curve),
        "losses": list(result.losses),
        "rungs": {str(epochs): score for epochs, score in result.rungs},
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "device": result.device,
        "engine": result.engine,
        "learning_rate": result.learning_rate,
        "predicted_memory": bound.costs.get("train_memory"),
        "measured_memory": result.peak_memory,
        "seed": seed,
        "detail": result.detail,
        **exceeded,
        "attributes": {name: value for name, value in shown.items() if value is not None},
    }
    return Settlement(
        slot=bound.slot,
        outcome=result.outcome,
        value=result.value,
        result=stored,
        score=result.score,
        fidelity=result.fidelity,
        spread=result.spread,
    )


def ran_out(slot: Slot, reason: str, device_class: str) -> Settlement:
    """The record of a candidate for which memory ran out before or beside its training."""
    shown = {"detail": reason, "device_class": device_class}
    return Settlement(
        slot=slot, outcome="out_of_memory", value=None, result={**shown, "attributes": shown}
    )


def refused(bound: Bound, bounds: Mapping[str, float]) -> Settlement:
    """The record of a candidate that breaks a measured limit, or is too large for the device."""
    reason = bound.too_large or ", ".join(
        f"{name} {show_duration(value)} against a limit of {show_duration(bounds[name])}"
        for name, value in bound.measured.items()
    )
    result = {
        "measured": dict(bound.measured),
        "detail": reason,
        "attributes": {"detail": reason},
    }
    return Settlement(slot=bound.slot, outcome="infeasible", value=None, result=result)
