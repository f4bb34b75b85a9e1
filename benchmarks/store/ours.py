"""Trials recorded by Widthwise: claimed, bound, opened, settled and told to Optuna, in batches."""

import random

from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import Ledger, Settlement, Slot, TrialOutcome, WidthBinding
from widthwise.storage.projection.projection import Projection, TrialStart
from widthwise.storage.study.study import create_study, load_study

from .trial import (
    CONSTRAINTS,
    CURVE,
    DISTRIBUTIONS,
    END_ATTRIBUTES,
    FILL_BATCH_SIZE,
    START_ATTRIBUTES,
    VALUE,
    draw_widths,
)

STUDY = "ours"


def prepare(url: str, present: int, free: int) -> None:
    """Make a study of so many trials that are done, and so many that are free."""
    with Database.open(resolve_url(url, {})) as database:
        create_study(
            database,
            name=STUDY,
            spec="{}",
            fingerprint="f",
            direction="maximize",
            metric="accuracy",
            base="",
            budget=present + free,
        )
        recorder = Recorder(url, batch=FILL_BATCH_SIZE)
        while remaining := present - recorder.ledger.reader.counts().complete:
            recorder.record(min(FILL_BATCH_SIZE, remaining))
        recorder.close()


class Recorder:
    """One worker."""

    def __init__(self, url: str, *, batch: int) -> None:
        self._database = Database.open(resolve_url(url, {}))
        study = load_study(self._database, STUDY)
        self.ledger = Ledger(self._database, study, worker="worker")
        self._projection = Projection(self._database, study)
        self._batch = batch
        self._random = random.Random()

    def claim(self) -> None:
        """Make a first claim, and read what a proposal for it is made from."""
        self.ledger.claim_many(1)
        self.ledger.reader.tried()

    def take(self) -> None:
        """Make a claim."""
        self.ledger.claim_many(1)

    def step(self) -> int:
        """Record one batch; returns how many trials it holds."""
        return self.record(self._batch)

    def record(self, count: int) -> int:
        """Take up to so many trials from the claim to Optuna's tables; returns how many."""
        claimed = self.ledger.claim_many(count)
        bound = self.ledger.bind_many(
            [
                WidthBinding(slot=slot, widths=draw_widths(self._random), origin="s")
                for slot in claimed
            ]
        )
        slots = [slot for slot in bound if isinstance(slot, Slot)]
        trial_starts = [
            TrialStart(slot=slot, constraints=CONSTRAINTS, attributes=START_ATTRIBUTES)
            for slot in slots
        ]
        self._projection.open_many(trial_starts, distributions=DISTRIBUTIONS)
        result = {"curve": CURVE, "attributes": END_ATTRIBUTES}
        self.ledger.settle_many(
            [
                Settlement(slot=slot, outcome=TrialOutcome.COMPLETE, value=VALUE, result=result)
                for slot in slots
            ]
        )
        self._projection.close_many([slot.number for slot in slots])
        unbound_slots = [
            slot for slot, bound_slot in zip(claimed, bound, strict=True) if bound_slot not in slots
        ]
        self.ledger.release_many(unbound_slots)
        return len(slots)

    def close(self) -> None:
        """Close the database."""
        self._database.close()
