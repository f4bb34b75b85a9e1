"""The ceiling: what a class of devices was seen not to hold is not tried there, nor what is larger.

Once a training ran out of memory, no candidate is trained on a device of that class that is
predicted to take as much memory or more; where no memory is predicted, none that is as wide or
wider in all of its widths. Other classes of devices learn nothing from it.

Entry points: `Ceiling`, `Here` (a problem as it is on one device).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from ..space.feasible_set import Candidates, rows
from ..units import show_memory
from .build import Costing
from .problem import Problem

_MEMORY = "train_memory"

Exceeded = tuple[Mapping[str, int], str | None]
"""Widths whose training ran out of memory, and the class of the device, where it is known."""


@final
@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The least of what ran out of memory on a class of devices.

    Attributes:
        device: The class.
        costs: Of candidates.
        names: The widths, in the space's order.
        memory: Least predicted bytes that did not fit; None where none are predicted.
        widths: What did not fit, [n, d]; decides where no memory is predicted.
    """

    device: str
    costs: Costing
    names: tuple[str, ...]
    memory: int | None
    widths: Candidates

    def refused(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Which candidates, [n, d], do not fit, as far as is known."""
        if self.memory is not None:
            return np.asarray(self.costs.evaluate(candidates)[_MEMORY] >= self.memory)
        found = np.zeros(len(candidates), dtype=np.bool_)
        for exceeded in self.widths:
            found |= (candidates >= exceeded).all(axis=1)
        return found

    def reason(self, widths: Mapping[str, int]) -> str | None:
        """Why a candidate may not be trained here, in a sentence; None if it may."""
        if self.memory is not None:
            predicted = self.costs.one(widths).as_dict()[_MEMORY]
            if predicted < self.memory:
                return None
            return (
                f"its training takes {show_memory(predicted)}, and {show_memory(self.memory)} were "
                f"too much for {self.device}"
            )
        row = np.asarray([[widths[name] for name in self.names]], dtype=np.int64)
        if not self.refused(row)[0]:
            return None
        exceeded = next(one for one in self.widths if (row[0] >= one).all())
        shown = ", ".join(
            f"{name}={width}" for name, width in zip(self.names, exceeded, strict=True)
        )
        return f"it is no smaller than {shown}, whose training ran out of memory on {self.device}"

    def nothing_left(self) -> str:
        """What to say where no candidate fits."""
        return (
            f"no candidate is left for {self.device}: all that keep the limits take as much memory "
            "as trainings that ran out of it there; start workers on larger devices, or a study "
            "with a smaller batch_size"
        )


@final
@dataclass(kw_only=True)
class Here:
    """A problem on a device of some class, tightened by what ran out of memory there.

    Attributes:
        problem: Without anything that is known of devices.
        device: The class.
    """

    problem: Problem
    device: str
    _exceeded: list[Mapping[str, int]] = field(default_factory=list, init=False)
    _tightened: Problem | None = field(default=None, init=False)

    def known(self, exceeded: Sequence[Exceeded]) -> Problem:
        """The problem, given all that ever ran out of memory.

        Raises:
            NothingFeasible: No candidate is left for this class of devices.
        """
        mine = [widths for widths, device in exceeded if device == self.device]
        if self._tightened is None or mine != self._exceeded:
            self._tightened = self._below(mine) if mine else self.problem
            self._exceeded = mine
        return self._tightened

    def elsewhere(self, exceeded: Sequence[Exceeded]) -> list[Mapping[str, int]]:
        """What ran out of memory on devices that are known to be of other classes."""
        return [widths for widths, device in exceeded if device not in (None, self.device)]

    def _below(self, exceeded: Sequence[Mapping[str, int]]) -> Problem:
        problem = self.problem
        predicted = [problem.trace(widths) for widths in exceeded]
        known = [costs[_MEMORY] for costs in predicted if _MEMORY in costs]
        ceiling = Ceiling(
            device=self.device,
            costs=problem.costs,
            names=problem.space.names,
            memory=min(known, default=None),
            widths=rows([problem.space.as_row(widths) for widths in exceeded], problem.space),
        )
        feasible = problem.feasible.without(ceiling.refused, ceiling.nothing_left())
        proposer = problem.proposer
        return replace(
            problem,
            ceiling=ceiling.reason,
            feasible=feasible,
            proposer=replace(
                proposer,
                feasible=feasible,
                baselines=[one for one in proposer.baselines if ceiling.reason(one.widths) is None],
            ),
        )
