"""Costs of all candidates at once: fitted exactly from a few dozen traces, checked, evaluated fast.

    model = CostModel(build, step, space.names)
    model.fit(space)
    model.evaluate(space.sample(100_000, rng))["flops"]     # int64 [100000]

One set of polynomials serves where a builder takes one way. Where it branches (`if a != b`, a
threshold, one special width), each way has polynomials of its own (see `piecewise`); the branches
are known from what the builder was seen to ask of its widths (see `survey`). What no polynomial
predicts is traced.

Polynomials are a forecast: they chose what to propose, but what is proposed, trained or shown is
counted by its own trace. Where that differs from the forecast, the trace is right: the model keeps
it, looks for the branch that it had missed, and `revision` tells that its forecasts have changed.

Entry point: `CostModel`, one of the sources of costs (see `source`).
"""

import logging
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
from .branches.candidates import CandidatePool
from .branches.structure import StructureProbe
from .costs import Costs, costs_from_trace
from .piecewise import PiecewiseFit
from .polynomials.fit import DEGREES, HELD_OUT_POINTS
from .registry import FIELDS, derive_costs
from .serialize import (
    deserialise_costs,
    deserialise_pieces,
    fit_conditions,
    serialise_costs,
    serialise_pieces,
)
from .source import CandidateSpace, key_of_widths
from .survey import BranchSurvey

_log = logging.getLogger(__name__)

CHUNK_ROWS = 1 << 15
"""Candidates evaluated at once: what they need fits the processor's cache."""

MAX_REFITS = 3
"""Times that polynomials are fitted again after a candidate's own trace differed from them."""


@final
class CostModel:
    """Costs of any candidate of a space.

    Without `fit`, or where no polynomial holds, every candidate asked for is traced once and kept.

    Attributes:
        names: The widths, in the order of the columns.
        trace_count: Candidates traced so far.
        notes: Sentences on what to know about the figures, of all candidates traced.
        lower_bound: Whether train_memory of some candidate is a lower bound.
        uncounted: Operations of any candidate traced that count 0 FLOPs for want of a formula.
        revision: Grows when what `evaluate` returns has changed, as a trace differed from it.
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
        self.revision = 0
        self._build = build
        self._step = step
        self._costs: dict[tuple[int, ...], Costs] = {}
        self._traces: dict[tuple[int, ...], Trace] = {}
        self._exceptions: dict[tuple[int, ...], Costs] = {}
        self._pieces: PiecewiseFit | None = None
        self._space: CandidateSpace | None = None
        self._survey: BranchSurvey | None = None
        self._refits_left = MAX_REFITS

    @property
    def counted_by(self) -> Literal["polynomial", "tracing"]:
        """How `evaluate` knows costs: by polynomials, or by tracing each candidate."""
        return "polynomial" if self._pieces is not None and self._pieces.is_complete else "tracing"

    def candidate_costs(self, widths: Mapping[str, int]) -> Costs:
        """Return the costs of one candidate by its own trace; the gate before every training.

        Raises:
            ModelError: The builder raised, or returned no module.
            CostError: The costs depend on data, or the step fails.
        """
        key = key_of_widths(self.names, widths)
        if key not in self._costs:
            self._trace(key)
            self._compare(key)
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
        self._space, self._pieces, self._refits_left = space, None, MAX_REFITS
        if space.size <= _max_traced_size(len(self.names)):
            for row in space.enumerate():
                self.candidate_costs(self._as_widths(row))
            return
        self._survey = self._new_survey(seed)
        self._pieces = self._survey.fit()

    def evaluate(self, candidates: NDArray[Any]) -> dict[str, Integers]:
        """Return the costs of candidates [n, d], by field, each int64 [n].

        Candidates off the lattice or outside the box that was fitted are traced.

        Raises:
            ModelError: A builder raised on a candidate that had to be traced.
            CostError: A candidate could not be traced, or a cost exceeds 2**63 − 1.
        """
        candidates = np.asarray(candidates, dtype=np.int64).reshape(-1, len(self.names))
        costs = {name: np.zeros(len(candidates), dtype=np.int64) for name in FIELDS}
        needs_trace = self._forecast(candidates, costs)
        for key in self._exceptions:
            needs_trace |= (candidates == np.array(key)).all(axis=1)
        for index in np.flatnonzero(needs_trace):
            key = tuple(int(width) for width in candidates[index])
            if key not in self._costs:
                self._trace(key)
            for name, value in self._costs[key].as_dict().items():
                costs[name][index] = value
        return costs

    def state(self) -> dict[str, Any]:
        """Return what was fitted and traced, as JSON values; another process can `restore` it."""
        return {
            "conditions": fit_conditions(self._step, self.names),
            "pieces": self._pieces and serialise_pieces(self._pieces),
            "traced": [[list(key), serialise_costs(costs)] for key, costs in self._costs.items()],
            "exceptions": [list(key) for key in self._exceptions],
            "notes": list(self.notes),
            "lower_bound": self.lower_bound,
            "uncounted": list(self.uncounted),
        }

    def restore(self, state: Mapping[str, Any], space: CandidateSpace | None = None) -> None:
        """Take the `state` of a model of the same builder, space and step; nothing is traced.

        Args:
            state: As `state` returned it.
            space: The candidates; without it nothing can be fitted again should a trace differ.

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
        pieces = state["pieces"]
        self._space = space
        self._pieces = None if pieces is None else deserialise_pieces(pieces)
        self._costs = {tuple(key): deserialise_costs(costs) for key, costs in state["traced"]}
        self._exceptions = {tuple(key): self._costs[tuple(key)] for key in state["exceptions"]}
        self.notes, self.uncounted = tuple(state["notes"]), tuple(state["uncounted"])
        self.lower_bound = state["lower_bound"]

    def _forecast(self, candidates: Integers, costs: dict[str, Integers]) -> NDArray[np.bool_]:
        """Write costs [n] by polynomials; return which candidates have none."""
        is_missing = np.ones(len(candidates), dtype=bool)
        if self._pieces is None:
            return is_missing
        for fit, rows in self._pieces.assignments(candidates):
            is_missing[rows] = False
            for start in range(0, len(rows), CHUNK_ROWS):
                chunk = rows[start : start + CHUNK_ROWS]
                for name, values in derive_costs(fit(candidates[chunk]), self._step).items():
                    costs[name][chunk] = values
        return is_missing

    def _compare(self, key: tuple[int, ...]) -> None:
        """Learn from a candidate's own trace where it differs from the forecast."""
        row = np.array([key], dtype=np.int64)
        forecast = {name: np.zeros(1, dtype=np.int64) for name in FIELDS}
        if self._forecast(row, forecast)[0]:
            return
        traced = self._costs[key].as_dict()
        differing = [name for name in FIELDS if int(forecast[name][0]) != traced[name]]
        if not differing:
            return
        name = differing[0]
        self._exceptions[key] = self._costs[key]
        self._learn(row)
        self.revision += 1
        consequence = (
            "all costs were fitted again"
            if self.counted_by == "polynomial"
            else "candidates are traced one by one from here on"
        )
        formatted = ", ".join(
            f"{name}={width}" for name, width in zip(self.names, key, strict=True)
        )
        sentence = (
            f"{formatted} was expected to have {name} {int(forecast[name][0]):,} and has "
            f"{traced[name]:,} by its own trace, which counts: the builder does something else "
            f"there; {consequence}."
        )
        self.notes = tuple(dict.fromkeys((*self.notes, sentence)))
        _log.warning("%s", sentence, extra={"event": "cost_differs"})

    def _learn(self, row: Integers) -> None:
        """Fit again, with a candidate [1, d] among those that must be predicted."""
        space = self._space
        pieces = None
        if space is not None and self._refits_left:
            self._refits_left -= 1
            if self._survey is None:
                self._survey = self._new_survey(0)
            pieces = self._survey.fit(row)
        self._pieces = pieces

    def _new_survey(self, seed: int) -> BranchSurvey:
        assert self._space is not None
        pool = CandidatePool(self._space, len(self.names), np.random.default_rng(seed))
        return BranchSurvey(
            pool=pool,
            probe=StructureProbe(self._build, self._step),
            names=self.names,
            trace_row=self._trace_row,
        )

    def _trace_row(self, row: Integers) -> Trace:
        key = tuple(int(width) for width in row)
        if key not in self._traces:
            self._trace(key)
        return self._traces[key]

    def _trace(self, key: tuple[int, ...]) -> None:
        widths = dict(zip(self.names, key, strict=True))
        traced = trace(lambda: self._build(widths), self._step)
        self.trace_count += 1
        self.notes = tuple(dict.fromkeys((*self.notes, *traced.notes)))
        self.lower_bound = self.lower_bound or traced.lower_bound
        self.uncounted = tuple(dict.fromkeys((*self.uncounted, *traced.uncounted)))
        self._traces[key] = traced
        self._costs[key] = costs_from_trace(traced, self._step)

    def _as_widths(self, row: Integers) -> dict[str, int]:
        return {name: int(width) for name, width in zip(self.names, row, strict=True)}


def _max_traced_size(dimensions: int) -> int:
    """Return the size up to which a space is traced as a whole: no dearer than a fit."""
    return comb(dimensions + DEGREES[0], dimensions) + HELD_OUT_POINTS + 2
