"""A study of any number of trials without a training: real costs, simulated metrics and curves."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from widthwise.search.problem.problem import Problem
from widthwise.search.spec.spec import Spec, parse_spec
from widthwise.search.study import create_or_join_study
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Ledger, Settlement, Slot, TrialOutcome, WidthBinding
from widthwise.storage.projection.projection import Projection, TrialStart
from widthwise.storage.study.study import find_study

BATCH_SIZE = 500
EPOCHS = 30
NOISE = 0.003
"""Standard deviation of one training."""
BASELINES = ("largest that fits", "uniform scaling", "rule of thumb")
NAME = "many"


def make_spec(trials: int) -> Spec:
    """Return a spec with room for so many trials: a perceptron on digits, under two limits."""
    widths: dict[str, Any] = {
        f"hidden{layer}": {"low": 8, "high": 512, "step": 8} for layer in (1, 2, 3)
    }
    return parse_spec(
        {
            "study": {"name": NAME, "trials": trials},
            "model": {"family": "mlp"},
            "widths": {**widths, "order": "non-increasing"},
            "limits": {"flops": "400k", "parameters": "200k"},
            "proxy": {"data": "digits", "epochs": EPOCHS},
        }
    )


def make_study(url: str, trials: int, folder: Path) -> None:
    """Fill a fresh database with a study whose trials are all complete.

    Args:
        url: Of the database.
        trials: How many.
        folder: What paths in the spec would be relative to.
    """
    spec = make_spec(trials)
    with Database.open(resolve_url(url, {})) as database:
        study = create_or_join_study(
            spec,
            folder,
            lambda: database,
            Console(file=io.StringIO()),
            find_existing=lambda name: find_study(database, name),
        )
        problem = Problem.load(spec, folder)
        rng = np.random.default_rng(0)
        known = problem.feasible.candidate_pool(rng, np.empty((0, 3), dtype=np.int64))
        rows = rng.permutation(known)[:trials]
        if len(rows) < trials:
            raise SystemExit(f"{len(rows)} candidates are feasible, expected {trials} or more")
        costs = problem.feasible.evaluate_costs(rows)
        ledger, projection = Ledger(database, study, worker="w"), Projection(database, study)
        done = 0
        while done < trials:
            claimed = ledger.claim_many(min(BATCH_SIZE, trials - done))
            widths = [problem.space.as_mapping(row) for row in rows[done : done + len(claimed)]]
            bindings = [
                WidthBinding(slot=slot, widths=entry, origin=_origin(slot.number))
                for slot, entry in zip(claimed, widths, strict=True)
            ]
            slots = [slot for slot in ledger.bind_many(bindings) if isinstance(slot, Slot)]
            figures = [
                {name: int(values[done + index]) for name, values in costs.items()}
                for index in range(len(slots))
            ]
            projection.open_many(
                [
                    TrialStart(
                        slot=slot,
                        constraints={"flops": entry["flops"] / 400_000 - 1},
                        attributes={"origin": slot.origin, **entry},
                    )
                    for slot, entry in zip(slots, figures, strict=True)
                ],
                distributions=problem.space.distributions(),
            )
            ledger.settle_many(
                [_settlement(slot, entry, rng) for slot, entry in zip(slots, figures, strict=True)]
            )
            projection.close_many([slot.number for slot in slots])
            done += len(slots)


def _origin(number: int) -> str:
    return BASELINES[number] if number < len(BASELINES) else "sampler"


def _settlement(slot: Slot, costs: Mapping[str, int], rng: np.random.Generator) -> Settlement:
    assert slot.widths is not None
    true = 0.99 - sum(0.08 / math.sqrt(width) for width in slot.widths.values())
    value = float(true + NOISE * rng.standard_normal())
    steps = np.arange(EPOCHS)
    curve = value - 0.6 * np.exp(-steps / 4) + 0.002 * rng.standard_normal(EPOCHS)
    losses = np.exp(-steps / 6)
    return Settlement(
        slot=slot,
        outcome=TrialOutcome.COMPLETE,
        value=value,
        score=value,
        result={
            "costs": dict(costs),
            "curve": [*curve.tolist()[:-1], value],
            "losses": losses.tolist(),
            "validation_losses": (losses + 0.05).tolist(),
            "best_epoch": EPOCHS - 1,
            "epochs": EPOCHS,
            "seconds": 1.0,
            "seed": slot.number,
            "attributes": {"epochs": EPOCHS},
        },
    )
