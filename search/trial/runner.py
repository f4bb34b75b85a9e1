"""The runner: from claimed slots to recorded results, a few trials at a time.

`Runner.run` is the whole way of a batch: suggest → train → record. The ledger's `done` is the
commit point; what Optuna shows is projected from it afterwards and can be repaired by any worker.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from ...objectives.engines.base import Engine
from ...objectives.engines.plain import PlainEngine
from ...objectives.loop.loop import Candidate, train_together
from ...objectives.loop.train import TrainingResult, resolve_device
from ...objectives.user_code import is_out_of_memory
from ...storage.errors import LeaseLost, StorageError
from ...storage.ledger.ledger import Ledger, Settlement, Slot
from ...storage.projection.projection import Projection
from ..errors import ChildDied, Drained, SearchError
from ..problem.memory_ceiling import Here
from ..problem.problem import Problem
from ..problem.seeds import trial_seed
from ..sampler.suggest import DRAWN, SAMPLED
from .bind import Binder, Bound
from .checkpoints import BatchKeeper, Checkpoints, KeptTrial
from .claim_size import Pace
from .outcome import Outcome
from .record import ran_out, refused, trained

# What others are judged by (baselines, under the names of all that agree on one) is trained to the
# end, and so is what is to be confirmed.
_MAY_FALL_BEHIND = (SAMPLED, DRAWN)

Trained = tuple[Bound, TrainingResult | BaseException | None]
"""A candidate and its result, what its code raised, or None where another worker has the slot."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs the slots of one study in this process.

    Attributes:
        problem: What is searched.
        ledger: The budget; the authority on who runs what.
        projection: Optuna's view of it.
        stopping: Whether the worker was asked to stop.
        device: Class of the device that the trainings run on.
        pace: How many slots to claim at once.
        engine: What computes the trainings.
        checkpoints: Of the study; None to keep none.
    """

    problem: Problem
    ledger: Ledger
    projection: Projection
    stopping: Callable[[], bool]
    device: str
    pace: Pace = field(default_factory=Pace)
    engine: Engine = field(default_factory=PlainEngine)
    checkpoints: Checkpoints | None = None

    @cached_property
    def _here(self) -> Here:
        return Here(problem=self.problem, device=self.device)

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
            ChildDied: The device can be used again only by another process.
        """
        exceeded = self.ledger.out_of_memory()
        binder = Binder(
            problem=self._here.known(exceeded),
            ledger=self.ledger,
            projection=self.projection,
            elsewhere=self._here.elsewhere(exceeded),
        )
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
        outcomes += self._settle([refused(one, bounds) for one in held if not one.admitted])
        crowd = self._train([one for one in held if one.admitted], lost)
        # Of several in memory nobody knows which one was too large: each has to be so by itself.
        alone = [one for one, result in crowd if len(crowd) > 1 and _ran_out(result)]
        outcomes += self._record([pair for pair in crowd if pair[0] not in alone])
        for one in alone:
            outcomes += self._record(self._train([one], lost))
        self._tidy(outcomes)
        return sorted(outcomes, key=lambda one: one.number)

    def known(self) -> Problem:
        """The problem without what ran out of memory on devices like the one here.

        Raises:
            NothingFeasible: No candidate is left for them.
        """
        return self._here.known(self.ledger.out_of_memory())

    def _tidy(self, outcomes: Sequence[Outcome]) -> None:
        """Throw away the checkpoints of what is settled, by us or by whoever took it from us."""
        if self.checkpoints is None:
            return
        for one in outcomes:
            if one.kind == "lost":
                settled = self.ledger.record(one.number).state == "done"
            else:
                settled = one.kind != "retry"
            if settled:
                self.checkpoints.discard(one.number)

    def _train(self, bound: Sequence[Bound], lost: Callable[[], frozenset[int]]) -> list[Trained]:
        """Train candidates together."""

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
        keeper = self._keeper(bound, lost)
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
                keeper=keeper,
            )
        except (SearchError, StorageError):
            raise
        except (Exception, SystemExit) as error:
            results = [error] * len(bound)
        for one in results:
            refuse_lost_gpu(one)
        self.pace.took([one for one in results if isinstance(one, TrainingResult)])
        return list(zip(bound, results, strict=True))

    def _keeper(
        self, bound: Sequence[Bound], lost: Callable[[], frozenset[int]]
    ) -> BatchKeeper | None:
        if self.checkpoints is None:
            return None
        trials = [
            KeptTrial(number=one.slot.number, widths=one.widths, seed=self.seed(one.slot))
            for one in bound
        ]
        return BatchKeeper(self.checkpoints, trials, self.stopping, lost)

    def _earlier(self) -> dict[float, list[float]]:
        """What earlier trials had at each rung."""
        found: dict[float, list[float]] = {rung: [] for rung in self.problem.settings.rungs}
        if found:
            for one in self.ledger.tried():
                for epochs, score in one.rungs:
                    found.setdefault(epochs, []).append(score)
        return found

    def _record(self, trainings: Sequence[Trained]) -> list[Outcome]:
        """Record what came of trainings."""
        outcomes: list[Outcome] = []
        settlements: list[Settlement] = []
        for one, result in trainings:
            if isinstance(result, TrainingResult):
                settlements.append(trained(one, result, self.seed(one.slot), self.device))
            elif result is None:
                outcomes.append(Outcome(number=one.slot.number, kind="lost"))
            else:
                outcomes.append(self._failed(one.slot, result))
        return outcomes + self._settle(settlements)

    def _settle(self, settlements: Sequence[Settlement]) -> list[Outcome]:
        """Record all results in one transaction: the commit point."""
        if not settlements:
            return []
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
        """Record an exception of the user's code; it is tried again a few times.

        Memory that ran out is a result, and never tried again.
        """
        reason = f"{type(error).__name__}: {error}"
        if is_out_of_memory(error):
            return self._settle([ran_out(slot, reason, self.device)])[0]
        try:
            again = self.ledger.fail_attempt(slot, "".join(traceback.format_exception(error)))
        except LeaseLost:
            return Outcome(number=slot.number, kind="lost")
        return Outcome(number=slot.number, kind="retry" if again else "error", detail=reason)

    def seed(self, slot: Slot) -> int:
        """The seed of a slot's training: the same for every worker that runs it."""
        return trial_seed(self.problem.spec.study.seed, slot.number)


def _ran_out(result: TrainingResult | BaseException | None) -> bool:
    if isinstance(result, TrainingResult):
        return result.outcome == "out_of_memory"
    return result is not None and is_out_of_memory(result)


def refuse_lost_gpu(result: object) -> None:
    """Nothing, unless what came of a training is a failed kernel's error.

    Raises:
        ChildDied: It is: this process is of no more use.
    """
    if isinstance(result, torch.AcceleratorError) and not is_out_of_memory(result):
        raise ChildDied(f"its process lost the GPU: {result}", out_of_memory=False)
