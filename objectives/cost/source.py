"""Where costs come from: what the search asks of a cost model, and what that asks of a space.

Entry points: `CostSource`, of which `model.CostModel` (traced and fitted),
`user_costs.UserCostModel` (the user's own function) and `user_costs.NoCosts` are the kinds;
`CandidateSpace`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..trace.cuda_allocator import Integers


class CandidateSpace(Protocol):
    """A finite lattice of candidates; rows are widths in declared order.

    `smallest()` and `largest()`, where a space has them, return its corners: a row, or rows.
    """

    @property
    def size(self) -> int:
        """How many candidates there are."""
        ...

    def sample(self, count: int, rng: np.random.Generator) -> Integers:
        """Return `count` random candidates [count, d], repeats allowed."""
        ...

    def enumerate(self) -> Integers:
        """Return all candidates [size, d]; asked only of small spaces."""
        ...


class CandidateCosts(Protocol):
    """What one candidate costs."""

    def as_dict(self) -> dict[str, int]:
        """Return the costs that are known, by name of `registry.FIELDS`."""
        ...


class CostSource(Protocol):
    """Costs of any candidate of a space.

    Attributes:
        names: The widths, in the order of the columns.
        trace_count: Candidates traced so far.
        notes: Sentences on what to know about the figures.
        lower_bound: Whether train_memory of some candidate is a lower bound.
        uncounted: Operations that count 0 FLOPs for want of a formula.
        revision: Grows when `evaluate` has other answers than before.
    """

    names: tuple[str, ...]
    trace_count: int
    notes: tuple[str, ...]
    lower_bound: bool
    uncounted: tuple[str, ...]
    revision: int

    @property
    def counted_by(self) -> Literal["polynomial", "tracing", "given", "nothing"]:
        """How `evaluate` knows the costs."""
        ...

    def candidate_costs(self, widths: Mapping[str, int]) -> CandidateCosts:
        """Return the costs of one candidate, counted on itself: the gate before every training.

        Raises:
            ObjectiveError: The user's code does not work on this candidate.
        """
        ...

    def fit(self, space: CandidateSpace, *, seed: int = 0) -> None:
        """Learn what makes `evaluate` fast over a space; a seed changes no cost.

        Raises:
            ObjectiveError: The user's code does not work on a candidate of the space.
        """
        ...

    def evaluate(self, candidates: NDArray[Any]) -> Mapping[str, Integers]:
        """Return the costs of candidates [n, d], by name, each int64 [n].

        Raises:
            ObjectiveError: The user's code does not work on one of them.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return what `fit` learnt, as JSON values; another process can `restore` it."""
        ...

    def restore(self, state: Mapping[str, Any], space: CandidateSpace | None = None) -> None:
        """Take the `state` of a source of the same builder, space and step.

        Raises:
            CostError: It was made under other conditions.
        """
        ...


def key_of_widths(names: Sequence[str], widths: Mapping[str, int]) -> tuple[int, ...]:
    """Return a candidate's widths in the order of `names`, to keep its costs under."""
    return tuple(int(widths[name]) for name in names)
