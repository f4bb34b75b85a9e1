"""Costs of all candidates at once: fitted exactly from a few dozen traces, checked, evaluated fast.

    model = CostModel(build, step, space.names)
    model.fit(space)
    model.evaluate(space.sample(100_000, rng))["flops"]     # int64 [100000]

One set of polynomials (see `fit`) serves most spaces. Where none does, candidates are sorted
into classes by which of their widths are 1: a dimension of one element lets torch use a view where
it copies otherwise, so the timeline is another. What no polynomial predicts is traced.

Entry point: `CostModel`, one of the sources of costs (see `source`).
"""

from collections.abc import Callable, Mapping, Sequence
from math import comb
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..errors import CostError
from ..trace.cuda_allocator import Integers
from ..trace.trace import Trace, trace
from ..training.step import StepSpec
from .costs import Costs, costs_from_trace
from .fit import DEGREES, HELD_OUT_POINTS, CostFit, fit_costs
from .registry import FIELDS, derive_costs
from .serialize import (
    deserialise_costs,
    deserialise_fit,
    fit_conditions,
    serialise_costs,
    serialise_fit,
)
from .source import CandidateSpace, key_of_widths

POOL_SIZE = 4_096
"""Random candidates from which the points to trace are chosen."""

CHUNK_ROWS = 1 << 15
"""Candidates evaluated at once: what they need fits the processor's cache."""


@final
class CostModel:
    """Exact costs of any candidate of a space.

    Without `fit`, or where no polynomial holds, every candidate asked for is traced once and kept.

    Attributes:
        names: The widths, in the order of the columns.
        trace_count: Candidates traced so far.
        notes: Sentences on what to know about the figures, of all candidates traced.
        lower_bound: Whether train_memory of some candidate is a lower bound.
        uncounted: Operations of any candidate traced that count 0 FLOPs for want of a formula.
    """

    def __init__(
        self,
        build: Callable[[Mapping[str, int]], nn.Module],
        step: StepSpec,
        names: Sequence[str],
    ) -> None:
        self.names = tuple(names)
        self.trace_count = 0
        self.notes: tuple[str, ...] = ()
        self.lower_bound = False
        self.uncounted: tuple[str, ...] = ()
        self._build = build
        self._step = step
        self._costs: dict[tuple[int, ...], Costs] = {}
        self._fits: list[CostFit] = []
        self._split_by_ones = False
        self._complete = False

    @property
    def exact_by(self) -> Literal["polynomial", "tracing"]:
        """How the costs of the space are exact: by polynomials, or by tracing each candidate."""
        return "polynomial" if self._complete else "tracing"

    def candidate_costs(self, widths: Mapping[str, int]) -> Costs:
        """Return the traced costs of one candidate; the gate before every training.

        Raises:
            ModelError: The builder raised, or returned no module.
            CostError: The costs depend on data, or the step fails.
        """
        key = key_of_widths(self.names, widths)
        if key not in self._costs:
            self._trace(key)
        return self._costs[key]

    def fit(self, space: CandidateSpace, *, seed: int = 0) -> None:
        """Fit the polynomials, or trace a small space as a whole.

        Args:
            space: The candidates.
            seed: Of the choice of points; the costs do not depend on it.

        Raises:
            ModelError: The builder raised, or returned no module.
            CostError: The costs depend on data, or the step fails.
        """
        self._fits, self._split_by_ones, self._complete = [], False, False
        if space.size <= _max_traced_size(len(self.names)):
            for row in space.enumerate():
                self.candidate_costs(self._as_widths(row))
            return
        rng = np.random.default_rng(seed)
        corners = _corners(space, len(self.names))
        pool = np.unique(np.concatenate([space.sample(POOL_SIZE, rng), corners]), axis=0)
        pool = rng.permutation(pool.astype(np.int64))
        cache: dict[tuple[int, ...], Trace] = {}

        def trace_row(row: Integers) -> Trace:
            key = tuple(int(width) for width in row)
            if key not in cache:
                cache[key] = self._trace(key)
            return cache[key]

        single_fit = fit_costs(pool, corners, trace_row)
        if single_fit is not None:
            self._fits = [single_fit]
        elif (pool == 1).any():
            self._split_by_ones = True
            classes = np.unique(pool == 1, axis=0)
            fits = [
                fit_costs(
                    pool[_matches_ones(pool, ones)],
                    corners[_matches_ones(corners, ones)],
                    trace_row,
                )
                for ones in classes
            ]
            self._fits = [fit for fit in fits if fit is not None]
            self._complete = len(self._fits) == len(classes)
            return
        self._complete = single_fit is not None

    def evaluate(self, candidates: NDArray[Any]) -> dict[str, Integers]:
        """Return the costs of candidates [n, d], by field, each int64 [n].

        Candidates off the lattice or outside the box that was fitted are traced.

        Raises:
            ModelError: A builder raised on a candidate that had to be traced.
            CostError: A candidate could not be traced, or a cost exceeds 2**63 − 1.
        """
        candidates = np.asarray(candidates, dtype=np.int64).reshape(-1, len(self.names))
        costs = {name: np.zeros(len(candidates), dtype=np.int64) for name in FIELDS}
        needs_trace = np.ones(len(candidates), dtype=bool)
        for fit in self._fits:
            inside = fit.lattice.contains(candidates)
            if self._split_by_ones:
                inside &= _matches_ones(candidates, fit.lattice.origin == 1)
            needs_trace &= ~inside
            rows = np.flatnonzero(inside)
            for start in range(0, len(rows), CHUNK_ROWS):
                chunk = rows[start : start + CHUNK_ROWS]
                for name, values in derive_costs(fit(candidates[chunk]), self._step).items():
                    costs[name][chunk] = values
        for index in np.flatnonzero(needs_trace):
            traced_costs = self.candidate_costs(self._as_widths(candidates[index]))
            for name, value in traced_costs.as_dict().items():
                costs[name][index] = value
        return costs

    def state(self) -> dict[str, Any]:
        """Return what was fitted and traced, as JSON values; another process can `restore` it."""
        return {
            "conditions": fit_conditions(self._step, self.names),
            "fits": [serialise_fit(fit) for fit in self._fits],
            "traced": [[list(key), serialise_costs(costs)] for key, costs in self._costs.items()],
            "by_ones": self._split_by_ones,
            "complete": self._complete,
            "notes": list(self.notes),
            "lower_bound": self.lower_bound,
            "uncounted": list(self.uncounted),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the `state` of a model of the same builder, space and step; nothing is traced.

        Raises:
            CostError: It was made under other conditions: another torch, batch size or the like.
        """
        expected, stored = fit_conditions(self._step, self.names), state["conditions"]
        for name, value in expected.items():
            if stored.get(name) != value:
                raise CostError(
                    f"the costs were fitted with {name} {stored.get(name)}, expected {value}: fit "
                    "them again."
                )
        self._fits = [deserialise_fit(fit) for fit in state["fits"]]
        self._costs = {tuple(key): deserialise_costs(costs) for key, costs in state["traced"]}
        self._split_by_ones, self._complete = state["by_ones"], state["complete"]
        self.notes, self.uncounted = tuple(state["notes"]), tuple(state["uncounted"])
        self.lower_bound = state["lower_bound"]

    def _trace(self, key: tuple[int, ...]) -> Trace:
        widths = dict(zip(self.names, key, strict=True))
        traced = trace(lambda: self._build(widths), self._step)
        self.trace_count += 1
        self.notes = tuple(dict.fromkeys((*self.notes, *traced.notes)))
        self.lower_bound = self.lower_bound or traced.lower_bound
        self.uncounted = tuple(dict.fromkeys((*self.uncounted, *traced.uncounted)))
        self._costs[key] = costs_from_trace(traced, self._step)
        return traced

    def _as_widths(self, row: Integers) -> dict[str, int]:
        return {name: int(width) for name, width in zip(self.names, row, strict=True)}


def _matches_ones(candidates: Integers, ones: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for each candidate whether exactly the widths marked are 1."""
    matches: NDArray[np.bool_] = ((candidates == 1) == ones).all(axis=1)
    return matches


def _corners(space: CandidateSpace, dimensions: int) -> Integers:
    """Return the smallest and largest candidates, where the space has them."""
    corners = [getattr(space, name, lambda: None)() for name in ("smallest", "largest")]
    rows = [
        np.asarray(corner, dtype=np.int64).reshape(-1, dimensions)
        for corner in corners
        if corner is not None
    ]
    return np.unique(np.concatenate([np.zeros((0, dimensions), dtype=np.int64), *rows]), axis=0)


def _max_traced_size(dimensions: int) -> int:
    """Return the size up to which a space is traced as a whole: no dearer than a fit."""
    return comb(dimensions + DEGREES[0], dimensions) + HELD_OUT_POINTS + 2
