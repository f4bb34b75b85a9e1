"""The runner: from claimed slots to recorded results, a few trials at a time.

`Runner.run` is the whole way of a batch: suggest → train → record. The ledger's `done` is the
commit point; what Optuna shows is projected from it afterwards and can be repaired by any worker.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..objectives.engines.base import Engine
from ..objectives.engines.plain import PlainEngine
from ..objectives.together import Candidate, train_together
from ..objectives.train import TrainingResult, resolve_device
from ..storage.errors import LeaseLost, StorageError
from ..storage.ledger import Ledger, Settlement, Slot
from ..storage.projection import Projection
from .binding import Binder, Bound
from .errors import Drained, SearchError
from .outcome import Outcome
from .pace import Pace
from .problem import Problem
from .proposer import DRAWN, SAMPLED
from .recording import refused, trained
from .seeds import trial_seed

# What others are judged by (baselines, under the names of all that agree on one) is trained to the
# end, and so is what is to be confirmed.
_MAY_FALL_BEHIND = (SAMPLED, DRAWN)


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs the slots of one study in this process.

    Attributes:
        problem: What is searched.
        ledger: The budget; the authority on who runs what.
        projection: Optuna's view of it.
        stopping: Whether the worker was asked to stop.
        pace: How many slots to claim at once.
        engine: What computes the trainings.
    """

    problem: Problem
    ledger: Ledger
    projection: Projection
    stopping: Callable[[], bool]
    pace: Pace = field(default_factory=Pace)
    engine: Engine = field(default_factory=PlainEngine)

    @property
    def most(self) -> int:
        """How many slots to claim now."""
        return self.pace.most(self.ledger.unbound)

    def start(self) -> None:
        """Nothing: the model is loaded."""

    def run(self, slots: Sequence[Slot], lost: Callable[[], frozenset[int]]) -> list[Outcome]:
        """Take claimed slots all the way; every one of them is settled, given back or lost.

        Args:
            slots: As claimed; somebody else keeps their leases.
            lost: Numbers of those that another worker may hold by now.

        Raises:
            Drained: The worker was asked to stop.
            Exhausted: Every feasible candidate was tried.
        """
        binder = Binder(problem=self.problem, ledger=self.ledger, projection=self.projection)
        outcomes: list[Outcome] = []
        opened: list[Bound] = []
        for slot in binder.bind(slots):
            try:
                opened.append(binder.open(slot))
            except (Exception, SystemExit) as error:
                outcomes.append(self._failed(slot, error))
        held = binder.show(opened)
        lost_now = {one.slot.number for one in opened} - {one.slot.number for one in held}
        outcomes += [Outcome(number=number, kind="lost") for number in lost_now]
        bounds = self.problem.spec.limits.measured
        settlements = [refused(one, bounds) for one in held if not one.admitted]
        for one, result in self._train([one for one in held if one.admitted], lost):
            if isinstance(result, TrainingResult):
                settlements.append(trained(one, result, self.seed(one.slot)))
            elif result is None:
                outcomes.append(Outcome(number=one.slot.number, kind="lost"))
            else:
                outcomes.append(self._failed(one.slot, result))
        return sorted(outcomes + self._settle(settlements), key=lambda one: one.number)

    def _train(
        self, bound: Sequence[Bound], lost: Callable[[], frozenset[int]]
    ) -> list[tuple[Bound, TrainingResult | BaseException | None]]:
        """Train candidates together; None for one whose slot another worker holds now."""

        def after(epochs: float, metrics: Mapping[int, float]) -> Collection[int]:
            del epochs, metrics
            if self.stopping():
                raise Drained(f"stopped in {len(bound)} trials")
            return [n for n, one in enumerate(bound) if one.slot.number in lost()]

        problem = self.problem
        candidates = [
            Candidate(
                widths=one.widths,
                seed=self.seed(one.slot),
                spared=one.slot.origin not in _MAY_FALL_BEHIND,
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
                engine=self.engine,
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

    def seed(self, slot: Slot) -> int:
        """The seed of a slot's training: the same for every worker that runs it."""
        return trial_seed(self.problem.spec.study.seed, slot.number)
