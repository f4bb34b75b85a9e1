"""Binding: from claimed slots to candidates that may be trained.

Widths are proposed for the slots that have none, gated by exact costs and bound in the ledger;
what only a measurement can tell is measured; Optuna's trials are opened.

Entry points: `Binder`, `Bound`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...storage.ledger.ledger import Ledger, NotBound, Slot
from ...storage.projection.projection import Opening, Projection
from ..errors import Exhausted, SearchError
from ..problem.problem import Problem
from ..problem.seeds import trial_seed
from ..sampler.suggest import Proposal
from .history import history

# Rounds of proposals for one batch: each further one means that another worker bound the same
# widths first, or that the exact costs refused some.
_ROUNDS = 100


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A slot that has its candidate.

    Attributes:
        slot: With widths.
        costs: As counted on the candidate's own training step.
        measured: What was measured of it, by the limit's name.
        excess: By how much the measured ones break their limits; at most 0 keeps them.
        too_large: Why it is known not to fit the device here, in a sentence.
    """

    slot: Slot
    costs: Mapping[str, int]
    measured: Mapping[str, float]
    excess: Mapping[str, float]
    too_large: str | None = None

    @property
    def widths(self) -> Mapping[str, int]:
        """The candidate."""
        assert self.slot.widths is not None, "a bound slot has widths"
        return self.slot.widths

    @property
    def admitted(self) -> bool:
        """Whether a training may be spent on it."""
        return self.too_large is None and all(excess <= 0 for excess in self.excess.values())


@dataclass(frozen=True, kw_only=True)
class Binder:
    """Finds candidates for slots.

    Attributes:
        problem: What is searched.
        ledger: The budget.
        projection: Optuna's view of it.
        elsewhere: What ran out of memory on other classes of devices than the one here.
    """

    problem: Problem
    ledger: Ledger
    projection: Projection
    elsewhere: Sequence[Mapping[str, int]] = ()

    def bind(self, slots: Sequence[Slot]) -> list[Slot]:
        """Bind widths to the slots that have none; adopted ones keep what they have.

        Returns:
            The slots with widths. Slots for which there is nothing to propose now are given back,
            and those lost to other workers are left out.

        Raises:
            Exhausted: Every feasible candidate was tried, and no slot has widths.
            SearchError: Other workers were faster each time.
        """
        bound = [slot for slot in slots if slot.widths is not None]
        open_ = [slot for slot in slots if slot.widths is None]
        for attempt in range(_ROUNDS):
            if not open_:
                return bound
            try:
                proposals = self._propose(open_, attempt, alone=not bound)
            except Exhausted:
                self.ledger.release_many(open_)
                if bound:
                    return bound
                raise
            # The last one is for a slot that waits for what the others teach.
            open_ = self._give_back(open_, len(proposals))
            admitted = [one for one in proposals if self.problem.gate(one.widths)]
            more, open_ = self._take(open_, admitted)
            bound += more
        raise SearchError(
            f"slot {open_[0].number}: other workers bound each of {_ROUNDS} proposals first; "
            "start fewer workers on a space this small"
        )

    def open(self, slot: Slot) -> Bound:
        """Count a slot's costs, and measure what must be of one that may fit the device.

        Raises:
            Exception: Whatever the user's code raises.
        """
        assert slot.widths is not None, "widths are bound before they are measured"
        too_large = self.problem.ceiling(slot.widths)
        measured = {} if too_large else self.problem.measure(slot.widths)
        return Bound(
            slot=slot,
            costs=self.problem.trace(slot.widths),
            measured=measured,
            excess=self.problem.measured_violations(measured),
            too_large=too_large,
        )

    def show(self, bound: Sequence[Bound]) -> list[Bound]:
        """Open Optuna's trials; returns those whose slots are still held."""
        openings = [
            Opening(
                slot=one.slot,
                constraints={**self.problem.limits.violations(one.costs), **one.excess},
                attributes={
                    "origin": one.slot.origin,
                    "seed": trial_seed(self.problem.spec.study.seed, one.slot.number),
                    **one.costs,
                    **{f"{name}_seconds": value for name, value in one.measured.items()},
                },
            )
            for one in bound
        ]
        opened = self.projection.open_many(
            openings, distributions=self.problem.space.distributions()
        )
        return [one for one, trial in zip(bound, opened, strict=True) if trial is not None]

    def _propose(self, slots: Sequence[Slot], attempt: int, *, alone: bool) -> list[Proposal]:
        """Propose for the slots; of the study's last ones, the very last only when it is alone."""
        problem = self.problem
        known = history(
            problem.space,
            self.ledger.tried(),
            problem.goal,
            epochs=problem.settings.epochs,
            refused=problem.refused,
            elsewhere=self.elsewhere,
            bounds=problem.spec.limits.measured,
        )
        rng = np.random.default_rng((problem.spec.study.seed, slots[0].number, attempt))
        last = self.ledger.unbound() <= len(slots)
        if alone and len(slots) == 1:
            return [problem.proposer.propose(known, rng, last=last)]
        return problem.proposer.propose_batch(known, rng, len(slots) - last)

    def _give_back(self, slots: list[Slot], number: int) -> list[Slot]:
        """Release what there is no proposal for."""
        if number < len(slots):
            self.ledger.release_many(slots[number:])
        return slots[:number]

    def _take(
        self, slots: list[Slot], proposals: Sequence[Proposal]
    ) -> tuple[list[Slot], list[Slot]]:
        """Bind proposals; returns the slots that have widths now, and those without."""
        bindings = [
            (slot, one.widths, one.origin) for slot, one in zip(slots, proposals, strict=False)
        ]
        bound: list[Slot] = []
        left = slots[len(bindings) :]
        for slot, answer in zip(slots, self.ledger.bind_many(bindings), strict=False):
            if isinstance(answer, Slot):
                bound.append(answer)
            elif answer is NotBound.TAKEN:
                left.append(slot)
        return bound, left
