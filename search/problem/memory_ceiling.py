"""What ran out of memory on a class of devices, and the problem without what is as large.

Once a training ran out of memory, no candidate is trained on a device of that class that is
predicted to take as much memory or more; where no memory is predicted, none that is as wide or
wider in all of its widths. Nothing follows for other classes of devices.

Entry points: `OutOfMemoryBound`; `fit_to_devices` (a problem whose candidates fit several classes);
`DeviceProblem` (a problem on one device, kept up to date).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from ...objectives.cost.source import CostSource
from ..space.feasible_set import stack_rows
from ..space.neighbourhood import Candidates
from ..units import format_memory
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
    cost_model: CostSource
    names: tuple[str, ...]
    memory_bound: int | None
    failed_candidates: Candidates

    @classmethod
    def from_failures(
        cls, problem: Problem, device_class: str, failed_widths: Sequence[Mapping[str, int]]
    ) -> OutOfMemoryBound:
        """Return the bound that trainings which ran out of memory set."""
        costs = [problem.exact_costs(widths) for widths in failed_widths]
        memories = [figures[_TRAIN_MEMORY] for figures in costs if _TRAIN_MEMORY in figures]
        rows = [problem.space.as_row(widths) for widths in failed_widths]
        return cls(
            device_class=device_class,
            cost_model=problem.cost_model,
            names=problem.space.names,
            memory_bound=min(memories, default=None),
            failed_candidates=stack_rows(rows, problem.space),
        )

    def exceeds(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Return which candidates, [n, d], do not fit, as far as is known."""
        if self.memory_bound is not None:
            return np.asarray(
                self.cost_model.evaluate(candidates)[_TRAIN_MEMORY] >= self.memory_bound
            )
        mask = np.zeros(len(candidates), dtype=np.bool_)
        for failed in self.failed_candidates:
            mask |= (candidates >= failed).all(axis=1)
        return mask

    def too_large_reason(self, widths: Mapping[str, int]) -> str | None:
        """Return why a candidate may not be trained here, in a sentence; None if it may."""
        if self.memory_bound is not None:
            predicted = self.cost_model.candidate_costs(widths).as_dict()[_TRAIN_MEMORY]
            if predicted < self.memory_bound:
                return None
            return (
                f"its training takes {format_memory(predicted)}, and "
                f"{format_memory(self.memory_bound)} were too much for {self.device_class}"
            )
        row = np.asarray([widths[name] for name in self.names], dtype=np.int64)
        for failed in self.failed_candidates:
            if (row >= failed).all():
                formatted = ", ".join(
                    f"{name}={width}" for name, width in zip(self.names, failed, strict=True)
                )
                return (
                    f"it is no smaller than {formatted}, whose training ran out of memory on "
                    f"{self.device_class}"
                )
        return None


def fit_to_devices(
    problem: Problem, records: Sequence[OutOfMemoryRecord], device_classes: Sequence[str]
) -> Problem:
    """Return a problem whose candidates fit devices of each of several classes.

    Args:
        problem: Without anything that is known of devices.
        records: All that ever ran out of memory.
        device_classes: Those that candidates have to fit.

    Raises:
        NothingFeasible: No candidate is left.
    """
    bounds = []
    for device_class in device_classes:
        failed_widths = [widths for widths, failed_on in records if failed_on == device_class]
        if failed_widths:
            bounds.append(OutOfMemoryBound.from_failures(problem, device_class, failed_widths))
    if not bounds:
        return problem

    def exceeds_any(candidates: Candidates) -> NDArray[np.bool_]:
        mask = np.zeros(len(candidates), dtype=np.bool_)
        for bound in bounds:
            mask |= bound.exceeds(candidates)
        return mask

    def too_large_reason(widths: Mapping[str, int]) -> str | None:
        reasons = (bound.too_large_reason(widths) for bound in bounds)
        return next((reason for reason in reasons if reason is not None), None)

    devices = " and ".join(bound.device_class for bound in bounds)
    feasible = problem.feasible.excluding(
        exceeds_any,
        f"no candidate is left for {devices}: all that keep the limits take as much memory "
        "as trainings that ran out of it there; start workers on larger devices, or a study "
        "with a smaller batch_size",
    )
    suggester = problem.suggester
    return replace(
        problem,
        too_large_reason=too_large_reason,
        feasible=feasible,
        suggester=replace(
            suggester,
            feasible_set=feasible,
            baselines=[
                baseline
                for baseline in suggester.baselines
                if too_large_reason(baseline.widths) is None
            ],
        ),
    )


@final
@dataclass(kw_only=True)
class DeviceProblem:
    """A problem on a device of some class, without what ran out of memory there.

    Attributes:
        problem: Without anything that is known of devices.
        device_class: The class.
        known_infeasible: Candidates, each [d], that turned out not to be trainable: by their own
            costs, though the feasible set had taken them for feasible, or by their size.
    """

    problem: Problem
    device_class: str
    known_infeasible: list[NDArray[np.int64]] = field(default_factory=list)
    _failed_widths: list[Mapping[str, int]] = field(default_factory=list, init=False)
    _restricted: Problem | None = field(default=None, init=False)

    def restricted(self, records: Sequence[OutOfMemoryRecord]) -> Problem:
        """Return the problem without what is as large as any that ran out of memory here.

        Args:
            records: All that ever ran out of memory.

        Raises:
            NothingFeasible: No candidate is left for this class of devices.
        """
        failed_widths = [widths for widths, failed_on in records if failed_on == self.device_class]
        if self._restricted is None or failed_widths != self._failed_widths:
            self._restricted = fit_to_devices(self.problem, records, [self.device_class])
            self._failed_widths = failed_widths
        return self._restricted

    def out_of_memory_elsewhere(
        self, records: Sequence[OutOfMemoryRecord]
    ) -> list[Mapping[str, int]]:
        """Return what ran out of memory on devices that are known to be of other classes."""
        return [
            widths for widths, failed_on in records if failed_on not in (None, self.device_class)
        ]
