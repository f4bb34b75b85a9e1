"""The runner: claim → suggest → train → record, one slot of the budget at a time.

`Runner.step` is the whole way of a trial. The ledger's `done` is the commit point; what Optuna
shows is projected from it afterwards and can be repaired by any worker.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..objectives.train import TrainingResult, train
from ..storage.errors import LeaseLost, StorageError, WidthsTaken
from ..storage.ledger import Ledger, Slot
from ..storage.projection import Projection
from .errors import Drained, SearchError
from .heartbeat import Heartbeat
from .problem import Problem
from .trials import history
from .units import show_duration

# Claims of one slot after which its widths are held to kill their workers: a bound for a trial that
# takes its process down each time, far above what random deaths of workers come to.
MAX_CLAIMS = 10
# Proposals for one slot: each further one means that another worker bound the same widths first.
_PROPOSALS = 100


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a step ended: complete, infeasible, nan, out_of_memory, error, retry or lost."""

    number: int
    kind: str
    value: float | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs the slots of one study in this process.

    Attributes:
        problem: What is searched.
        ledger: The budget; the authority on who runs what.
        projection: Optuna's view of it.
        lease_seconds: How long a claim or a heartbeat holds a slot.
        stopping: Whether the worker was asked to stop.
    """

    problem: Problem
    ledger: Ledger
    projection: Projection
    lease_seconds: float
    stopping: Callable[[], bool]

    def step(self) -> Outcome | None:
        """Run one slot.

        Returns:
            How it ended, or None if no slot can be claimed now.

        Raises:
            Drained: The worker was asked to stop; the slot is free again, no attempt charged.
            Exhausted: Every feasible candidate was tried; the slot is free again.
        """
        slot = self.ledger.claim()
        if slot is None:
            return None
        if slot.attempt > MAX_CLAIMS:
            return self._give_up(slot)
        try:
            with Heartbeat(self.ledger, slot, self.lease_seconds) as heartbeat:
                slot, measured = self._suggest(slot)
                if any(
                    excess > 0 for excess in self.problem.measured_violations(measured).values()
                ):
                    return self._refuse(slot, measured)
                result = self._train(slot, heartbeat)
                self._record(slot, result, measured)
        except LeaseLost:
            return Outcome(number=slot.number, kind="lost")
        except StorageError:
            # No database to give the slot back to: its lease will end by itself.
            raise
        except (SearchError, KeyboardInterrupt):
            with suppress(LeaseLost):
                self.ledger.release(slot)
            raise
        except (Exception, SystemExit) as error:
            return self._failed(slot, error)
        self.projection.repair()
        return Outcome(
            number=slot.number, kind=result.outcome, value=result.value, detail=result.detail
        )

    def _suggest(self, slot: Slot) -> tuple[Slot, dict[str, float]]:
        """Bind widths and an Optuna trial to the slot; an adopted slot keeps what it has.

        Returns:
            The slot, and what was measured of its candidate, by the limit's name.
        """
        if slot.widths is None:
            slot = self._bind(slot)
        assert slot.widths is not None
        measured = self.problem.measure(slot.widths)
        if slot.trial_id is None:
            costs = self.problem.trace(slot.widths)
            trial = self.projection.open(
                slot,
                distributions=self.problem.space.distributions(),
                constraints={
                    **self.problem.limits.violations(costs),
                    **self.problem.measured_violations(measured),
                },
                attributes={
                    "origin": slot.origin,
                    "seed": self.seed(slot),
                    **costs,
                    **{f"{name}_seconds": value for name, value in measured.items()},
                },
            )
            slot = self.ledger.bind_trial(slot, trial)
        return slot, measured

    def _bind(self, slot: Slot) -> Slot:
        for attempt in range(_PROPOSALS):
            records = self.ledger.records()
            known = history(
                self.problem.space,
                records,
                self.problem.goal,
                refused=self.problem.refused,
                bounds=self.problem.spec.limits.measured,
            )
            last = all(one.widths is not None for one in records if one.number != slot.number)
            rng = np.random.default_rng((self.problem.spec.study.seed, slot.number, attempt))
            proposal = self.problem.proposer.propose(known, rng, last=last)
            if not self.problem.gate(proposal.widths):
                continue
            try:
                return self.ledger.bind(slot, proposal.widths, proposal.origin)
            except WidthsTaken:
                continue
        raise SearchError(
            f"slot {slot.number}: other workers bound each of {_PROPOSALS} proposals first; "
            "start fewer workers on a space this small"
        )

    def _train(self, slot: Slot, heartbeat: Heartbeat) -> TrainingResult:
        assert slot.widths is not None

        def on_epoch(epoch: int, value: float) -> None:
            del epoch, value
            heartbeat.check()
            if self.stopping():
                raise Drained(f"stopped in trial {slot.number}")

        return train(
            self.problem.objective,
            slot.widths,
            self.problem.settings,
            seed=self.seed(slot),
            on_epoch=on_epoch,
        )

    def _refuse(self, slot: Slot, measured: Mapping[str, float]) -> Outcome:
        """Record a candidate that breaks a measured limit; no training is spent on it."""
        bounds = self.problem.spec.limits.measured
        reason = ", ".join(
            f"{name} {show_duration(value)} against a limit of {show_duration(bounds[name])}"
            for name, value in measured.items()
        )
        result = {"measured": dict(measured), "detail": reason, "attributes": {"detail": reason}}
        self.ledger.done(slot, outcome="infeasible", value=None, result=result)
        self.projection.repair()
        return Outcome(number=slot.number, kind="infeasible", detail=reason)

    def _record(self, slot: Slot, result: TrainingResult, measured: Mapping[str, float]) -> None:
        assert slot.widths is not None
        costs = self.problem.trace(slot.widths)
        stored: dict[str, Any] = {
            "test": result.test_value,
            "costs": costs,
            "measured": dict(measured),
            "curve": list(result.curve),
            "losses": list(result.losses),
            "best_epoch": result.best_epoch,
            "epochs": result.epochs,
            "seconds": result.seconds,
            "device": result.device,
            "predicted_memory": costs.get("train_memory"),
            "measured_memory": result.peak_memory,
            "seed": self.seed(slot),
            "detail": result.detail,
        }
        shown = {
            "test": result.test_value,
            "outcome": result.outcome,
            "detail": result.detail,
            "measured_memory": result.peak_memory,
        }
        stored["attributes"] = {name: value for name, value in shown.items() if value is not None}
        self.ledger.done(slot, outcome=result.outcome, value=result.value, result=stored)

    def _failed(self, slot: Slot, error: BaseException) -> Outcome:
        """Record an exception of the user's code; it is tried again a few times."""
        reason = f"{type(error).__name__}: {error}"
        try:
            again = self.ledger.fail_attempt(slot, "".join(traceback.format_exception(error)))
        except LeaseLost:
            return Outcome(number=slot.number, kind="lost")
        if not again:
            self.projection.repair()
        return Outcome(number=slot.number, kind="retry" if again else "error", detail=reason)

    def _give_up(self, slot: Slot) -> Outcome:
        reason = f"no worker survived its {MAX_CLAIMS} attempts at this trial"
        try:
            self.ledger.done(slot, outcome="error", value=None, result={"error": reason})
        except LeaseLost:
            return Outcome(number=slot.number, kind="lost")
        self.projection.repair()
        return Outcome(number=slot.number, kind="error", detail=reason)

    def seed(self, slot: Slot) -> int:
        """The seed of a slot's training: the same for every worker that runs it."""
        return trial_seed(self.problem.spec.study.seed, slot.number)


def trial_seed(study_seed: int, number: int) -> int:
    """Seed of trial `number`, independent of every other trial's, in [0, 2^63).

    Source: numpy's SeedSequence, which hashes its entropy so that near seeds are unrelated.
    """
    word = np.random.SeedSequence((study_seed, number)).generate_state(1, np.uint64)[0]
    return int(word >> np.uint64(1))
