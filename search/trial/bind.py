"""Binding: from claimed slots to candidates that may be trained.

Widths are proposed for the slots that have none, gated by exact costs and bound in the ledger;
what only a measurement can tell is measured; Optuna's trials are opened.

Entry points: `Binder`, `BoundSlot`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...storage.ledger.ledger import BindFailure, Ledger, Slot, WidthBinding
from ...storage.projection.projection import Projection, TrialStart
from ..errors import Exhausted, SearchError
from ..problem.problem import Problem
from ..problem.seeds import trial_seed
from ..sampler.suggest import Suggestion
from .history import build_history

# Rounds of proposals for one batch: each further one means that another worker bound the same
# widths first, or that the exact costs refused some.
_MAX_SUGGESTION_ROUNDS = 100


@dataclass(frozen=True, kw_only=True)
class BoundSlot:
    """A slot that has its candidate.

    Attributes:
        slot: With widths.
        costs: As counted on the candidate's own training step.
        measured_costs: What was measured of it, by the limit's name.
        violations: By how much the measured ones break their limits; at most 0 keeps them.
        too_large_reason: Why it is known not to fit the device here, in a sentence.
    """

    slot: Slot
    costs: Mapping[str, int]
    measured_costs: Mapping[str, float]
    violations: Mapping[str, float]
    too_large_reason: str | None = None

    @property
    def widths(self) -> Mapping[str, int]:
        """The candidate."""
        assert self.slot.widths is not None, "a bound slot has widths"
        return self.slot.widths

    @property
    def is_feasible(self) -> bool:
        """Whether a training may be spent on it."""
        return self.too_large_reason is None and all(
            violation <= 0 for violation in self.violations.values()
        )


@dataclass(frozen=True, kw_only=True)
class Binder:
    """Finds candidates for slots.

    Attributes:
        problem: What is searched.
        ledger: The budget.
        projection: Optuna's view of it.
        out_of_memory_elsewhere: What ran out of memory on other classes of devices than the one here.
    """

    problem: Problem
    ledger: Ledger
    projection: Projection
    out_of_memory_elsewhere: Sequence[Mapping[str, int]] = ()

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
        unbound = [slot for slot in slots if slot.widths is None]
        for round_number in range(_MAX_SUGGESTION_ROUNDS):
            if not unbound:
                return bound
            try:
                suggestions = self._suggest(unbound, round_number, nothing_bound=not bound)
            except Exhausted:
                self.ledger.release_many(unbound)
                if bound:
                    return bound
                raise
            # The last one is for a slot that waits for what the others teach.
            unbound = self._release_surplus(unbound, len(suggestions))
            feasible = [
                suggestion
                for suggestion in suggestions
                if self.problem.check_feasible(suggestion.widths)
            ]
            newly_bound, unbound = self._bind_suggestions(unbound, feasible)
            bound += newly_bound
        raise SearchError(
            f"slot {unbound[0].number}: other workers bound each of {_MAX_SUGGESTION_ROUNDS} proposals first; "
            "start fewer workers on a space this small"
        )

    def evaluate_costs(self, slot: Slot) -> BoundSlot:
        """Count a slot's costs, and measure what must be of one that may fit the device.

        Raises:
            Exception: Whatever the user's code raises.
        """
        assert slot.widths is not None, "widths are bound before they are measured"
        too_large_reason = self.problem.too_large_reason(slot.widths)
        measured_costs = {} if too_large_reason else self.problem.measure(slot.widths)
        return BoundSlot(
            slot=slot,
            costs=self.problem.exact_costs(slot.widths),
            measured_costs=measured_costs,
            violations=self.problem.measured_violations(measured_costs),
            too_large_reason=too_large_reason,
        )

    def open_trials(self, bound_slots: Sequence[BoundSlot]) -> list[BoundSlot]:
        """Open Optuna's trials; returns those whose slots are still held."""
        trial_starts = [
            TrialStart(
                slot=bound_slot.slot,
                constraints={
                    **self.problem.limits.violations(bound_slot.costs),
                    **bound_slot.violations,
                },
                attributes={
                    "origin": bound_slot.slot.origin,
                    "seed": trial_seed(self.problem.spec.study.seed, bound_slot.slot.number),
                    **bound_slot.costs,
                    **{
                        f"{name}_seconds": value
                        for name, value in bound_slot.measured_costs.items()
                    },
                },
            )
            for bound_slot in bound_slots
        ]
        trials = self.projection.open_many(
            trial_starts, distributions=self.problem.space.distributions()
        )
        return [
            bound_slot
            for bound_slot, trial in zip(bound_slots, trials, strict=True)
            if trial is not None
        ]

    def _suggest(
        self, slots: Sequence[Slot], round_number: int, *, nothing_bound: bool
    ) -> list[Suggestion]:
        """Propose for the slots; of the study's last ones, the very last only when it is alone."""
        problem = self.problem
        past = build_history(
            problem.space,
            self.ledger.reader.tried(),
            problem.goal,
            epochs=problem.settings.epochs,
            known_infeasible=problem.known_infeasible,
            out_of_memory_elsewhere=self.out_of_memory_elsewhere,
            measured_limits=problem.spec.limits.measured_limits,
        )
        rng = np.random.default_rng((problem.spec.study.seed, slots[0].number, round_number))
        reaches_last = self.ledger.reader.unbound() <= len(slots)
        if nothing_bound and len(slots) == 1:
            return [problem.suggester.suggest(past, rng, last=reaches_last)]
        return problem.suggester.suggest_batch(past, rng, len(slots) - reaches_last)

    def _release_surplus(self, slots: list[Slot], keep: int) -> list[Slot]:
        """Release what there is no proposal for."""
        if keep < len(slots):
            self.ledger.release_many(slots[keep:])
        return slots[:keep]

    def _bind_suggestions(
        self, slots: list[Slot], suggestions: Sequence[Suggestion]
    ) -> tuple[list[Slot], list[Slot]]:
        """Bind proposals; returns the slots that have widths now, and those without."""
        bindings = [
            WidthBinding(slot=slot, widths=suggestion.widths, origin=suggestion.origin.text)
            for slot, suggestion in zip(slots, suggestions, strict=False)
        ]
        bound: list[Slot] = []
        still_unbound = slots[len(bindings) :]
        for slot, result in zip(slots, self.ledger.bind_many(bindings), strict=False):
            if isinstance(result, Slot):
                bound.append(result)
            elif result is BindFailure.TAKEN:
                still_unbound.append(slot)
        return bound, still_unbound
