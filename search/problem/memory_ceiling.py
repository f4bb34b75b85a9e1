"""The ceiling: what a class of devices was seen not to hold is not tried there, nor what is larger.

Once a training ran out of memory, no candidate is trained on a device of that class that is
predicted to take as much memory or more; where no memory is predicted, none that is as wide or
wider in all of its widths. Other classes of devices learn nothing from it.

Entry points: `OutOfMemoryBound`, `DeviceProblem` (a problem as it is on one device).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from ..space.feasible_set import Candidates, stack_rows
from ..units import format_memory
from .build import AnyCostModel
from .problem import Problem

_TRAIN_MEMORY = "train_memory"

OutOfMemoryRecord = tuple[Mapping[str, int], str | None]
"""Widths whose training ran out of memory, and the class of the device, where it is known."""


@final
@dataclass(frozen=True, kw_only=True)
class OutOfMemoryBound:
    """The least of what ran out of memory on a class of devices.

    Attributes:
        device_class: The class.
        cost_model: Of candidates.
        names: The widths, in the space's order.
        memory_bound: Least predicted bytes that did not fit; None where none are predicted.
        failed_candidates: What did not fit, [n, d]; decides where no memory is predicted.
    """

    device_class: str
    cost_model: AnyCostModel
    names: tuple[str, ...]
    memory_bound: int | None
    failed_candidates: Candidates

    def exceeds(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Which candidates, [n, d], do not fit, as far as is known."""
        if self.memory_bound is not None:
            return np.asarray(
                self.cost_model.evaluate(candidates)[_TRAIN_MEMORY] >= self.memory_bound
            )
        mask = np.zeros(len(candidates), dtype=np.bool_)
        for failed in self.failed_candidates:
            mask |= (candidates >= failed).all(axis=1)
        return mask

    def too_large_reason(self, widths: Mapping[str, int]) -> str | None:
        """Why a candidate may not be trained here, in a sentence; None if it may."""
        if self.memory_bound is not None:
            predicted = self.cost_model.candidate_costs(widths).as_dict()[_TRAIN_MEMORY]
            if predicted < self.memory_bound:
                return None
            return (
                f"its training takes {format_memory(predicted)}, and {format_memory(self.memory_bound)} were "
                f"too much for {self.device_class}"
            )
        row = np.asarray([[widths[name] for name in self.names]], dtype=np.int64)
        if not self.exceeds(row)[0]:
            return None
        failed = next(
            candidate for candidate in self.failed_candidates if (row[0] >= candidate).all()
        )
        formatted = ", ".join(
            f"{name}={width}" for name, width in zip(self.names, failed, strict=True)
        )
        return f"it is no smaller than {formatted}, whose training ran out of memory on {self.device_class}"

    def nothing_feasible_message(self) -> str:
        """What to say where no candidate fits."""
        return (
            f"no candidate is left for {self.device_class}: all that keep the limits take as much memory "
            "as trainings that ran out of it there; start workers on larger devices, or a study "
            "with a smaller batch_size"
        )


@final
@dataclass(kw_only=True)
class DeviceProblem:
    """A problem on a device of some class, tightened by what ran out of memory there.

    Attributes:
        problem: Without anything that is known of devices.
        device_class: The class.
    """

    problem: Problem
    device_class: str
    _failed_widths: list[Mapping[str, int]] = field(default_factory=list, init=False)
    _restricted: Problem | None = field(default=None, init=False)

    def restricted(self, records: Sequence[OutOfMemoryRecord]) -> Problem:
        """The problem, given all that ever ran out of memory.

        Raises:
            NothingFeasible: No candidate is left for this class of devices.
        """
        failed_widths = [
            widths for widths, device_class in records if device_class == self.device_class
        ]
        if self._restricted is None or failed_widths != self._failed_widths:
            self._restricted = self._restrict(failed_widths) if failed_widths else self.problem
            self._failed_widths = failed_widths
        return self._restricted

    def out_of_memory_elsewhere(
        self, records: Sequence[OutOfMemoryRecord]
    ) -> list[Mapping[str, int]]:
        """What ran out of memory on devices that are known to be of other classes."""
        return [
            widths
            for widths, device_class in records
            if device_class not in (None, self.device_class)
        ]

    def _restrict(self, failed_widths: Sequence[Mapping[str, int]]) -> Problem:
        problem = self.problem
        predicted = [problem.exact_costs(widths) for widths in failed_widths]
        memories = [costs[_TRAIN_MEMORY] for costs in predicted if _TRAIN_MEMORY in costs]
        bound = OutOfMemoryBound(
            device_class=self.device_class,
            cost_model=problem.cost_model,
            names=problem.space.names,
            memory_bound=min(memories, default=None),
            failed_candidates=stack_rows(
                [problem.space.as_row(widths) for widths in failed_widths], problem.space
            ),
        )
        feasible = problem.feasible.excluding(bound.exceeds, bound.nothing_feasible_message())
        suggester = problem.suggester
        return replace(
            problem,
            too_large_reason=bound.too_large_reason,
            feasible=feasible,
            suggester=replace(
                suggester,
                feasible_set=feasible,
                baselines=[
                    baseline
                    for baseline in suggester.baselines
                    if bound.too_large_reason(baseline.widths) is None
                ],
            ),
        )
