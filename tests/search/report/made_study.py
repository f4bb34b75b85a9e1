"""Studies with known truth, made without a training: evidence as the database would give it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from widthwise.search.report.evidence import StudyEvidence
from widthwise.search.report.figures.view import StudyView
from widthwise.search.report.reference import Reference
from widthwise.search.report.summary import build_summary
from widthwise.search.spec.spec import parse_spec
from widthwise.storage.ledger.slot import (
    SlotCounts,
    SlotRecord,
    SlotState,
    StudyRow,
    TrialOutcome,
)
from widthwise.storage.ledger.tried import TriedSlot

BASELINES = ("largest that fits", "uniform scaling", "rule of thumb")
EPOCHS = 12


def parameters(widths: Mapping[str, int]) -> int:
    """Parameters of a perceptron from 64 inputs to 10 classes."""
    sizes = [64, *filter(None, widths.values()), 10]
    return sum((first + 1) * second for first, second in itertools.pairwise(sizes))


def truth(widths: Mapping[str, int]) -> float:
    """An accuracy that rises with the first width, and stops to."""
    first = next(iter(widths.values()))
    return 0.98 - 0.3 / math.sqrt(first)


def make_evidence(
    trials: int = 20,
    *,
    name: str = "digits",
    names: Sequence[str] = ("hidden1", "hidden2"),
    study: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    noise: float = 0.004,
    failed: int = 0,
    error: str = "ValueError: it broke",
    references: bool = True,
    optional: bool = False,
) -> StudyEvidence:
    """A study of so many complete trials; the same arguments give the same one.

    Where `optional`, all layers but the first may be absent.
    """
    spec = parse_spec(
        {
            "study": {"name": name, "trials": max(1, trials + failed), **(study or {})},
            "model": {"family": "mlp"},
            "widths": {
                width: {"low": 8, "high": 256, "step": 8}
                | ({"optional": True} if optional and width != names[0] else {})
                for width in names
            },
            "limits": dict({"parameters": 30_000} if limits is None else limits),
            "proxy": {"data": "digits", "metric": "accuracy"},
        }
    )
    rng = np.random.default_rng(0)
    seen: set[tuple[int, ...]] = set()
    records = []
    while len(records) < trials:
        row = tuple(int(width) for width in rng.integers(1, 33, len(names)) * 8)
        if optional and len(seen) % 2:
            row = (row[0], *[0] * len(row[1:]))
        widths = dict(zip(names, row, strict=True))
        if row in seen or parameters(widths) > 30_000 * len(names):
            continue
        seen.add(row)
        number = len(records)
        value = truth(widths) + noise * rng.standard_normal()
        records.append(made_record(number, widths, value))
    for number in range(trials, trials + failed):
        widths = dict.fromkeys(names, 8)
        records.append(made_record(number, widths, None, error))
    return StudyEvidence(
        row=StudyRow(
            id=1,
            name=name,
            spec="{}",
            fingerprint="f",
            optuna_study_id=1,
            direction="maximize",
            base="",
            created_at=0.0,
            budget=len(records),
        ),
        spec=spec,
        records=records,
        counts=SlotCounts(complete=trials, running=0, failed=failed, pruned=0, waiting=0),
        tried=[
            TriedSlot(
                number=record.number,
                state=SlotState.DONE,
                outcome=record.outcome,
                widths=record.widths or {},
                value=record.value,
                score=record.value,
                fidelity=None,
                spread=None,
                measured={},
                rungs=(),
            )
            for record in records
        ],
        references=[
            Reference(name="constant", value=0.1, test=0.1),
            Reference(name="linear", value=0.94, test=0.93),
            Reference(name="trees", value=0.955, test=0.95),
        ]
        if references
        else [],
    )


def made_record(
    number: int, widths: Mapping[str, int], value: float | None, error: str = ""
) -> SlotRecord:
    result: dict[str, Any] = {"error": error}
    if value is not None:
        steps = np.arange(EPOCHS)
        result = {
            "test": value - 0.01,
            "seed": 1000 + number,
            "costs": {
                "parameters": parameters(widths),
                "flops": 2 * parameters(widths),
                "train_memory": 40 * parameters(widths),
            },
            "curve": (value - 0.5 * np.exp(-steps)).tolist(),
            "losses": np.exp(-0.4 * steps).tolist(),
            "validation_losses": (0.1 + np.exp(-0.4 * steps)).tolist(),
            "best_epoch": EPOCHS - 1,
            "epochs": EPOCHS,
            "seconds": 1.0,
        }
    return SlotRecord(
        number=number,
        state=SlotState.DONE,
        outcome=TrialOutcome.ERROR if value is None else TrialOutcome.COMPLETE,
        widths=widths,
        origin=BASELINES[number] if number < len(BASELINES) else "sampler",
        value=value,
        result=result,
        trial_id=number,
        worker="w",
        attempts=1,
        failures=0,
        started_at=0.0,
        finished_at=1.0,
        lease_until=None,
    )


def make_study(trials: int = 20, **options: Any) -> StudyView:
    """What is drawn of such a study."""
    evidence = make_evidence(trials, **options)
    return StudyView(evidence=evidence, summary=build_summary(evidence))
