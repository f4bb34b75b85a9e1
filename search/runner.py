"""The runner: claim → suggest → train → record, a few slots of the budget at a time.

`Runner.step` is the whole way of a batch of trials. The ledger's `done` is the commit point; what
Optuna shows is projected from it afterwards and can be repaired by any worker.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..objectives.together import Candidate, train_together
from ..objectives.train import TrainingResult, resolve_device
from ..storage.errors import LeaseLost, StorageError
from ..storage.ledger import Ledger, Settlement, Slot
from ..storage.projection import Projection
from .baselines import LARGEST, THUMB, UNIFORM
from .binding import Binder, Bound
from .errors import Drained, SearchError
from .heartbeat import Heartbeat
from .pace import Pace
from .problem import Problem
from .proposer import CONFIRMED
from .recording import refused, trained
from .seeds import trial_seed

# Claims of one slot after which its widths are held to kill their workers: a bound for a trial that
# takes its process down each time, far above what random deaths of workers come to.
MAX_CLAIMS = 10
# What others are judged by is trained to the end, and so is what is to be confirmed.
_SPARED = (LARGEST, UNIFORM, THUMB, CONFIRMED)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended: complete, pruned, infeasible, nan, out_of_memory, error, retry or lost."""

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
        pace: How many slots to claim at once.
    """

    problem: Problem
    ledger: Ledger
    projection: Projection
    lease_seconds: float
    stopping: Callable[[], bool]
    pace: Pace = field(default_factory=Pace)

    def step(self) -> list[Outcome]:
        """Run a batch of slots.

        Returns:
            How each ended; empty if no slot can be claimed now.

        Raises:
            Drained: The worker was asked to stop; the slots are free again, no attempt charged.
            Exhausted: Every feasible candidate was tried; the slots are free again.
        """
        slots = self.ledger.claim_many(self.pace.most(self.ledger.unbound))
        outcomes = [self._give_up(slot) for slot in slots if slot.attempt > MAX_CLAIMS]
        slots = [slot for slot in slots if slot.attempt <= MAX_CLAIMS]
        if not slots:
            return outcomes
        try:
            with Heartbeat(self.ledger, slots, self.lease_seconds) as heartbeat:
                outcomes += self._run(slots, heartbeat)
        except StorageError:
            # No database to give the slots back to: their leases will end by themselves.
            raise
        except (SearchError, KeyboardInterrupt):
            self.ledger.release_many(slots)
            raise
        self.projection.repair()
        return outcomes

    def _run(self, slots: Sequence[Slot], heartbeat: Heartbeat) -> list[Outcome]:
        """Take claimed slots all the way; every one of them is settled, given back or lost."""
        binder = Binder(problem=self.problem, ledger=self.ledger, projection=self.projection)
        outcomes: list[Outcome] = []
        opened: list[Bound] = []
        for slot in binder.bind(slots):
            try:
                opened.append(binder.open(slot))
            except (Exception, SystemExit) as error:
                outcomes.append(self._failed(slot, error))
        held = binder.show(opened)
        bounds = self.problem.spec.limits.measured
        settlements = [refused(one, bounds) for one in held if not one.admitted]
        for one, result in self._train([one for one in held if one.admitted], heartbeat):
            if isinstance(result, TrainingResult):
                settlements.append(trained(one, result, self.seed(one.slot)))
            elif result is not None:
                outcomes.append(self._failed(one.slot, result))
        return outcomes + self._settle(settlements)

    def _train(
        self, bound: Sequence[Bound], heartbeat: Heartbeat
    ) -> list[tuple[Bound, TrainingResult | BaseException | None]]:
        """Train candidates together; None for one whose slot another worker holds now."""

        def after(epochs: float, metrics: Mapping[int, float]) -> Collection[int]:
            del epochs, metrics
            if self.stopping():
                raise Drained(f"stopped in {len(bound)} trials")
            return [n for n, one in enumerate(bound) if one.slot.number in heartbeat.lost]

        problem = self.problem
        candidates = [
            Candidate(
                widths=one.widths,
                seed=self.seed(one.slot),
                spared=one.slot.origin in _SPARED,
            )
            for one in bound
        ]
        if not candidates:
            return []
        try:
            results: Sequence[Any] = train_together(
                problem.objective,
                candidates,
                problem.settings,
                device=resolve_device(problem.settings.device),
                engine=problem.engine(),
                scaling=problem.scaling,
                earlier=self._earlier(),
                after=after,
            )
        except (SearchError, StorageError):
            raise
        except (Exception, SystemExit) as error:
            results = [error] * len(bound)
        self.pace.took([one for one in results if isinstance(one, TrainingResult)])
        return list(zip(bound, results, strict=True))

    def _earlier(self) -> dict[float, list[float]]:
        """What earlier trials had at each rung."""
        found: dict[float, list[float]] = {rung: [] for rung in self.problem.settings.rungs}
        if found:
            for one in self.ledger.tried():
                for epochs, score in one.rungs:
                    found.setdefault(epochs, []).append(score)
        return found

    def _settle(self, settlements: Sequence[Settlement]) -> list[Outcome]:
        """Record all results in one transaction: the commit point."""
        lost = {slot.number for slot in self.ledger.done_many(settlements)}
        return [
            Outcome(number=one.slot.number, kind="lost")
            if one.slot.number in lost
            else Outcome(
                number=one.slot.number,
                kind=one.outcome,
                value=one.value,
                detail=one.result.get("detail"),
            )
            for one in settlements
        ]

    def _failed(self, slot: Slot, error: BaseException) -> Outcome:
        """Record an exception of the user's code; it is tried again a few times."""
        reason = f"{type(error).__name__}: {error}"
        try:
            again = self.ledger.fail_attempt(slot, "".join(traceback.format_exception(error)))
        except LeaseLost:
            return Outcome(number=slot.number, kind="lost")
        return Outcome(number=slot.number, kind="retry" if again else "error", detail=reason)

    def _give_up(self, slot: Slot) -> Outcome:
        reason = f"no worker survived its {MAX_CLAIMS} attempts at this trial"
        with suppress(LeaseLost):
            self.ledger.done(slot, outcome="error", value=None, result={"error": reason})
        return Outcome(number=slot.number, kind="error", detail=reason)

    def seed(self, slot: Slot) -> int:
        """The seed of a slot's training: the same for every worker that runs it."""
        return trial_seed(self.problem.spec.study.seed, slot.number)
