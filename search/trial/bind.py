"""Binding: from claimed slots to candidates that may be trained.

Widths are suggested for the slots that have none, gated by exact costs and bound in the ledger;
what only a measurement can tell is measured; Optuna's trials are opened.

Entry points: `Binder`, `BoundSlot`, `batches_by_overrides`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ...objectives.errors import ObjectiveError
from ...objectives.interrupt import raise_if_interrupt
from ...storage.ledger.ledger import BindFailure, Ledger, Slot, WidthBinding
from ...storage.projection.projection import Projection, TrialStart
from ..errors import Exhausted, SearchError
from ..problem.problem import Problem
from ..problem.seeds import trial_seed
from ..sampler.history import History
from ..sampler.suggest import Suggestion
from .history import build_history
from .stopping import StoppingRule
from .turn import ProposalTurn

# Rounds of proposals for one batch: each further one means that another worker bound the same
# widths first, or that the exact costs refused some.
_MAX_SUGGESTION_ROUNDS = 100


@dataclass(frozen=True, kw_only=True)
class BoundSlot:
    """A slot that has its candidate.

    Attributes:
        slot: With widths.
        seed: Of its training: the same for every worker that runs it.
        costs: As counted on the candidate's own training step.
        measured_costs: What was measured of it, by the limit's name.
        constraints: By how much each cost breaks its limit; at most 0 keeps it.
        too_large_reason: Why it is known not to fit the device here, in a sentence.
    """

    slot: Slot
    seed: int
    costs: Mapping[str, int]
    measured_costs: Mapping[str, float]
    constraints: Mapping[str, float]
    too_large_reason: str | None = None

    @property
    def widths(self) -> Mapping[str, int]:
        """The candidate."""
        assert self.slot.widths is not None, "a bound slot has widths"
        return self.slot.widths

    @property
    def attributes(self) -> dict[str, Any]:
        """What Optuna's trial says of it from its start, by name."""
        return {
            "origin": self.slot.origin,
            "seed": self.seed,
            **self.slot.overrides,
            **self.costs,
            **{f"{name}_seconds": value for name, value in self.measured_costs.items()},
        }

    @property
    def is_feasible(self) -> bool:
        """Whether a training may be spent on it: it fits, and keeps the limits.

        Suggested widths keep the limits on what is counted already, planned ones may not.
        """
        checked = self.constraints if self.slot.is_planned else self.measured_costs
        return self.too_large_reason is None and all(
            self.constraints[name] <= 0 for name in checked
        )


@final
@dataclass(frozen=True, kw_only=True)
class Binder:
    """Finds candidates for slots.

    Attributes:
        problem: What is searched.
        ledger: The budget.
        projection: Optuna's view of it.
        known_infeasible: Candidates, each [d], that must not be suggested; grows while it binds.
        out_of_memory_elsewhere: What ran out of memory on other classes of devices.
        turn: When to propose, where other workers do, too.
    """

    problem: Problem
    ledger: Ledger
    projection: Projection
    turn: ProposalTurn
    known_infeasible: list[NDArray[np.int64]] = field(default_factory=list)
    out_of_memory_elsewhere: Sequence[Mapping[str, int]] = ()

    def bind(self, slots: Sequence[Slot]) -> list[Slot]:
        """Bind widths to the slots that have none; adopted ones keep what they have.

        Returns:
            The slots with widths. Slots for which there is nothing to suggest now are given back,
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
                if self._ends_itself():
                    self.ledger.close(exhausted=True)
                if bound:
                    return bound
                raise
            # The study's very last slot waits for the results of the others.
            unbound = self._release_surplus(unbound, len(suggestions))
            feasible = [
                suggestion for suggestion in suggestions if self._may_train(suggestion.widths)
            ]
            newly_bound, unbound = self._bind_suggestions(unbound, feasible)
            bound += newly_bound
        raise SearchError(
            f"slot {unbound[0].number}: other workers bound each of {_MAX_SUGGESTION_ROUNDS} "
            "proposals first; start fewer workers on a space this small"
        )

    def evaluate_costs(self, slot: Slot) -> BoundSlot | BaseException:
        """Count a slot's costs, and measure what must be measured of one that may fit the device.

        Those of a planned slot are of its own variant of the problem.

        Returns:
            The slot with its costs, or what the user's code raised.
        """
        assert slot.widths is not None, "widths are bound before they are measured"
        try:
            problem = self.problem.variant(slot.overrides)
            too_large_reason = problem.too_large_reason(slot.widths)
            costs = problem.exact_costs(slot.widths)
            violations = problem.limits.violations(costs)
            is_refused = slot.is_planned and any(value > 0 for value in violations.values())
            measured_costs = {} if too_large_reason or is_refused else problem.measure(slot.widths)
        except BaseException as error:
            raise_if_interrupt(error)
            return error
        return BoundSlot(
            slot=slot,
            seed=trial_seed(problem.spec.study.seed, slot.number)
            if slot.seed is None
            else slot.seed,
            costs=costs,
            measured_costs=measured_costs,
            constraints={**violations, **problem.measured_violations(measured_costs)},
            too_large_reason=too_large_reason,
        )

    def open_trials(self, bound_slots: Sequence[BoundSlot]) -> list[BoundSlot]:
        """Open Optuna's trials; return the slots that this worker still holds."""
        trial_starts = [
            TrialStart(
                slot=bound_slot.slot,
                constraints=bound_slot.constraints,
                attributes=bound_slot.attributes,
            )
            for bound_slot in bound_slots
        ]
        widths_list = [bound_slot.widths for bound_slot in bound_slots]
        trial_ids = self.projection.open_many(
            trial_starts, distributions=_widened(self.problem.space.distributions(), widths_list)
        )
        return [
            bound_slot
            for bound_slot, trial_id in zip(bound_slots, trial_ids, strict=True)
            if trial_id is not None
        ]

    def _may_train(self, widths: Mapping[str, int]) -> bool:
        """Return whether a candidate may be trained; one that may not is not suggested again."""
        try:
            may_train = self.problem.may_train(widths)
        except ObjectiveError:
            # The builder or the costs fail for it: bound, it is a trial that fails, and is over
            # after its attempts. Unbound it would be suggested to every worker in turn.
            return True
        if not may_train:
            self.known_infeasible.append(self.problem.space.as_row(widths))
        return may_train

    def _suggest(
        self, slots: Sequence[Slot], round_number: int, *, nothing_bound: bool
    ) -> list[Suggestion]:
        """Suggest for the slots; for the study's very last one only when it comes alone."""
        problem = self.problem
        ahead = self.turn.wait(slots)
        past = build_history(
            problem.space,
            self.ledger.reader.tried(),
            problem.goal,
            known_infeasible=self.known_infeasible,
            out_of_memory_elsewhere=self.out_of_memory_elsewhere,
            measured_limits=problem.spec.limits.measured_limits,
        )
        self._stop_if_over(past)
        rng = np.random.default_rng((problem.spec.study.seed, slots[0].number, round_number))
        reaches_last = self.ledger.reader.unbound() <= len(slots)
        if nothing_bound and len(slots) == 1 and not ahead:
            return [problem.suggester.suggest(past, rng, last=reaches_last)]
        count = len(slots) - reaches_last
        suggestions = problem.suggester.suggest_batch(past, rng, ahead + count)
        # Those ahead choose the first ones, if they are alive.
        return suggestions[min(ahead, max(0, len(suggestions) - count)) :]

    def _stop_if_over(self, past: History) -> None:
        """End the study's budget behind what is claimed, if it ends itself and has found all.

        The slots of this batch are still trained: the last of them confirms the best candidate.
        """
        if not self._ends_itself():
            return
        rule = StoppingRule(suggester=self.problem.suggester)
        if rule.is_met(past):
            self.ledger.close(trainings=len(past.values))

    def _ends_itself(self) -> bool:
        """Return whether the study may end itself, and has not."""
        return self.problem.spec.study.stop is not None and self.ledger.reader.closing() is None

    def _release_surplus(self, slots: list[Slot], keep: int) -> list[Slot]:
        """Give back the slots that there is no suggestion for."""
        if keep < len(slots):
            self.ledger.release_many(slots[keep:])
        return slots[:keep]

    def _bind_suggestions(
        self, slots: list[Slot], suggestions: Sequence[Suggestion]
    ) -> tuple[list[Slot], list[Slot]]:
        """Bind suggestions; return the slots that have widths now, and those without."""
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


def _widened(
    distributions: Mapping[str, BaseDistribution], widths_list: Sequence[Mapping[str, int]]
) -> dict[str, BaseDistribution]:
    """Return distributions that hold all of these widths: planned ones may be off the lattice."""
    widened = dict(distributions)
    if not widths_list:
        return widened
    for name, distribution in distributions.items():
        values = {widths[name] for widths in widths_list}
        if isinstance(distribution, CategoricalDistribution):
            if not values <= set(distribution.choices):
                choices = dict.fromkeys((*distribution.choices, *values))
                widened[name] = CategoricalDistribution(list(choices))
        elif isinstance(distribution, IntDistribution):
            low, high = min(distribution.low, *values), max(distribution.high, *values)
            on_lattice = all(
                (value - distribution.low) % distribution.step == 0 for value in values
            )
            if (low, high) != (distribution.low, distribution.high) or not on_lattice:
                widened[name] = IntDistribution(low, high)
    return widened


def batches_by_overrides(bound_slots: Sequence[BoundSlot]) -> list[list[BoundSlot]]:
    """Return the slots in groups that are trained by the same settings, in their order."""
    batches: dict[str, list[BoundSlot]] = {}
    for bound_slot in bound_slots:
        key = json.dumps(dict(bound_slot.slot.overrides), sort_keys=True)
        batches.setdefault(key, []).append(bound_slot)
    return list(batches.values())
