"""The survey of a space before its costs are fitted: where does the builder branch?

First the builder is run on many candidates with widths that record what is asked of them
(`a == b`, `d % 64`), without a trace; then on members of both sides of every question, which may
lead to further ones. The answers divide the space into parts, and each part is fitted (see
`piecewise`). All models built must then have the number of parameters that the polynomials
predict. Where one disagrees though no question was recorded, the usual reasons are tried.

Entry point: `BranchSurvey`.
"""

from collections.abc import Sequence
from typing import final

import numpy as np

from ..trace.cuda_allocator import Integers
from ..trace.trace import Trace
from .branches.candidates import CandidatePool, probe_rows, special_rows
from .branches.expression import Question
from .branches.hypotheses import polynomial_questions, separating_questions
from .branches.partition import Partition, varying_questions
from .branches.structure import Structure, StructureProbe
from .piecewise import PiecewiseFit, fit_piecewise
from .polynomials.fit import TraceRow
from .polynomials.support import likely_exponents

MAX_ROUNDS = 6
"""Rounds of fitting, each with further questions."""

MAX_SURVEY_TRACES = 600
"""Traces that a fit of all parts may cost; past that, candidates are traced when asked for."""

MAX_BUILT_TENSORS = 2_500
"""Parameters and buffers that the models of the first round may have together."""

MIN_BUILDS, MAX_BUILDS = 24, 160
"""Models of the first round."""

MAX_KEYS = 256
"""Values of a width that are each built, where any of them may be a case of its own."""

_WITNESSES = 2
_EXPLORATION_ROUNDS = 4


class _TooManyTraces(Exception):
    """The parts need more traces than they may cost."""


@final
class BranchSurvey:
    """Looks for the branches of a builder and fits the parts of its space.

    Attributes:
        questions: Those that divide the space, as far as is known.
    """

    def __init__(
        self,
        *,
        pool: CandidatePool,
        probe: StructureProbe,
        names: Sequence[str],
        trace_row: TraceRow,
    ) -> None:
        """Prepare a survey.

        Args:
            pool: Candidates of the space.
            probe: Builds candidates.
            names: The widths, in the order of the columns.
            trace_row: Traces one candidate, with plain numbers as widths.
        """
        self.questions: list[Question] = []
        self._pool, self._probe, self._names = pool, probe, tuple(names)
        self._trace_row = trace_row
        self._built: dict[tuple[int, ...], Structure] = {}
        self._asked: set[Question] = set()
        self._traced: dict[tuple[int, ...], tuple[int, int]] = {}
        self._special = special_rows(pool)
        self._traces_left = MAX_SURVEY_TRACES

    def fit(self, required: Integers | None = None) -> PiecewiseFit | None:
        """Return the fits of the parts; None where they cannot be relied on, or cost too much.

        Args:
            required: Candidates [k, d] that must be predicted too, and where to look for branches.

        Raises:
            ModelError: The builder raised, or returned no module.
            CostError: The costs depend on data, or the step fails.
        """
        self._traces_left = MAX_SURVEY_TRACES
        try:
            return self._fit(required)
        except _TooManyTraces:
            return None

    def _fit(self, required: Integers | None) -> PiecewiseFit | None:
        if required is None:
            # With plain numbers first: what is wrong with the user's code is told by a trace.
            self._trace(self._special[0])
            self._build_first()
        else:
            self._special = np.unique(np.concatenate([self._special, required]), axis=0)
            for row in required:
                self._build(row)
        self._explore()
        for _ in range(MAX_ROUNDS):
            pieces = fit_piecewise(
                Partition(questions=tuple(self.questions)),
                self._pool.rows,
                self._pool.all_rows,
                self._special,
                self._trace,
                is_listed=self._pool.is_complete,
                likely=likely_exponents(
                    self._built_rows(), [built.shapes for built in self._built.values()]
                ),
            )
            mispredicted = self._mispredicted(pieces)
            if pieces.is_complete and not mispredicted.any():
                return pieces
            further = self._explain(pieces, mispredicted)
            if not further:
                return None if mispredicted.any() else pieces
            self._add(further)
        return None

    def _trace(self, row: Integers) -> Trace:
        if _key(row) not in self._traced:
            if not self._traces_left:
                raise _TooManyTraces
            self._traces_left -= 1
        traced = self._trace_row(row)
        # Another number of operations means another way.
        self._traced[_key(row)] = (len(traced.training.live), len(traced.inference.live))
        return traced

    def _build_first(self) -> None:
        first = self._build(self._special[0])
        if first is None:
            return
        count = MAX_BUILT_TENSORS // max(first.tensor_count, 1)
        for row in probe_rows(self._pool, min(max(count, MIN_BUILDS), MAX_BUILDS)):
            self._build(row)

    def _build(self, row: Integers) -> Structure | None:
        key = _key(row)
        if key not in self._built:
            structure = self._probe.build(dict(zip(self._names, key, strict=True)))
            if structure is None:
                return None
            self._built[key] = structure
        return self._built[key]

    def _explore(self) -> None:
        """Build members of both sides of every question asked, until nothing new is asked."""
        for _ in range(_EXPLORATION_ROUNDS):
            self._build_keys()
            new = [q for q in self._probe.recorder.questions() if q not in self._asked]
            self._asked.update(new)
            if not new:
                return
            self._add(new)
            for question in new:
                answers = question.evaluate(self._pool.rows)
                for answer in np.unique(answers)[:4]:
                    for row in self._pool.rows[answers == answer][:_WITNESSES]:
                        self._build(row)

    def _build_keys(self) -> None:
        """Build a candidate for each value of a width that was a key of a dictionary or set."""
        for kind, column, *_ in list(self._probe.recorder.hashed):
            if kind == "width":
                _, first = np.unique(self._pool.rows[:, column], return_index=True)
                for index in first[:MAX_KEYS]:
                    self._build(self._pool.rows[index])

    def _add(self, questions: Sequence[Question]) -> None:
        """Add those questions that divide the space, and members of the parts that they make."""
        self._pool.enrich(questions)
        self.questions = varying_questions([*self.questions, *questions], self._pool.all_rows)

    def _built_rows(self) -> Integers:
        return np.array(list(self._built), dtype=np.int64).reshape(-1, len(self._names))

    def _mispredicted(self, pieces: PiecewiseFit) -> Integers:
        """Return which built candidates have other parameters than is predicted, [n] of 0 or 1."""
        rows = self._built_rows()
        mispredicted = np.zeros(len(rows), dtype=np.int64)
        counted = np.array([built.parameters for built in self._built.values()], dtype=np.int64)
        for fit, indices in pieces.assignments(rows):
            predicted = fit(rows[indices])["parameters"]
            mispredicted[indices] = predicted != counted[indices]
        return mispredicted

    def _explain(self, pieces: PiecewiseFit, mispredicted: Integers) -> list[Question]:
        """Return further questions that tell apart what the parts do not."""
        known = set(self.questions)
        for rows, labels in (
            (self._built_rows(), mispredicted.tolist()),
            (self._built_rows(), [built.label for built in self._built.values()]),
            (
                np.array(list(self._traced), dtype=np.int64),
                [hash(label) for label in self._traced.values()],
            ),
        ):
            if len(rows):
                groups = np.unique(pieces.partition.codes(rows), return_inverse=True)[1]
                found = separating_questions(rows, labels, groups)
                if found and not known.issuperset(found):
                    return found
        questions = self._explain_sizes(pieces, known)
        if questions:
            return questions
        # A dimension of one element lets torch use a view where it copies otherwise.
        ones = [
            Question("==", ("width", column), ("const", 1))
            for column in range(len(self._names))
            if (self._pool.rows[:, column] == 1).any()
        ]
        return [question for question in ones if question not in known]

    def _explain_sizes(self, pieces: PiecewiseFit, known: set[Question]) -> list[Question]:
        """Return a question within whose answers the parameters are polynomials again."""
        if not self._built:
            return []
        for row in probe_rows(self._pool, 2 * len(self._built)):
            self._build(row)
        rows = self._built_rows()
        values = np.array([built.parameters for built in self._built.values()], dtype=np.int64)
        groups = np.unique(pieces.partition.codes(rows), return_inverse=True)[1]
        questions = polynomial_questions(rows, values, groups)
        return [question for question in questions or () if question not in known]


def _key(row: Integers) -> tuple[int, ...]:
    return tuple(int(width) for width in row)
