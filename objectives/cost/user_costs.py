"""Costs from the user's own function, for models that cannot be traced.

A model with custom kernels, data-dependent work or modules that need real data has no costs that a
trace could count. Whoever knows them can say so:

    def costs(widths):
        return {"parameters": 31 * widths["hidden"], "flops": 62 * widths["hidden"]}

    model = UserCostModel(costs, space.names)
    model.evaluate(candidates)["flops"]

It is a `source.CostSource` as `model.CostModel` is. What the function does not give is unknown, and
never taken for 0: asking for it, as a limit does, raises a CostError.

Where nothing at all is known of costs, `NoCosts` says so.

Entry points: `UserCostModel`, `UserCosts`; `NoCosts`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Literal, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from ..errors import CostError, describe_error, describe_type
from ..trace.cuda_allocator import Integers
from ..user_code import user_code_location, user_errors
from .registry import FIELDS, MAX_COST
from .source import CandidateSpace, key_of_widths

CostFunction = Callable[[Mapping[str, int]], Mapping[str, int]]
"""`(widths) -> any of registry.FIELDS, by name`: whole numbers ≥ 0; bytes, and FLOPs per sample."""

ValueT = TypeVar("ValueT")


class _KnownCosts(dict[str, ValueT]):
    """Costs by name; one that was not given raises a sentence."""

    def __missing__(self, name: str) -> ValueT:
        known = ", ".join(self) or "none"
        raise CostError(
            f"the cost function gives {known}, but not {name}, which is asked for: return it too, "
            "or set no limit on it."
        )


@final
@dataclass(frozen=True, kw_only=True)
class UserCosts:
    """What one candidate costs, as the user's function says.

    Attributes:
        values: Costs by name, of `registry.FIELDS`.
        lower_bound: Whether train_memory leaves something out: never, as the function is trusted.
        uncounted: Operations without a formula: none, for the same reason.
        notes: Sentences on what to know about these figures.
    """

    values: Mapping[str, int]
    lower_bound: bool = False
    uncounted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, int]:
        """Return the costs given; indexing one that was not raises a CostError."""
        return _KnownCosts(self.values)


@final
class UserCostModel:
    """Costs of any candidate by a function of its widths, each asked once.

    Attributes:
        names: The widths, in the order of the columns.
        trace_count: Candidates traced: always 0.
        notes: Sentences on what to know about the figures.
        lower_bound: Always False: the function is trusted.
        uncounted: Always empty, for the same reason.
        counted_by: "given".
        revision: Always 0.
    """

    def __init__(self, function: CostFunction, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.trace_count = 0
        self.notes: tuple[str, ...] = ("the costs are those that the user's own function gives.",)
        self.lower_bound = False
        self.uncounted: tuple[str, ...] = ()
        self.revision = 0
        self.counted_by: Literal["given"] = "given"
        self._function = function
        self._costs: dict[tuple[int, ...], dict[str, int]] = {}

    def candidate_costs(self, widths: Mapping[str, int]) -> UserCosts:
        """Return the costs given for one candidate.

        Raises:
            CostError: The function raised, or gave something else than costs.
        """
        values = self._cached_costs(key_of_widths(self.names, widths))
        return UserCosts(values=values, notes=self.notes)

    def fit(self, space: CandidateSpace, *, seed: int = 0) -> None:
        """Ask for the costs of one candidate, so that a wrong function fails early.

        Raises:
            CostError: The function raised, or gave something else than costs.
        """
        for row in space.sample(1, np.random.default_rng(seed)):
            self._cached_costs(tuple(int(width) for width in row))

    def evaluate(self, candidates: NDArray[Any]) -> dict[str, Integers]:
        """Return the costs of candidates [n, d], by field, each int64 [n].

        Indexing a cost that the function did not give raises a CostError.

        Raises:
            CostError: The function raised, gave something else than costs, or does not give the
                same costs for all candidates.
        """
        rows = np.asarray(candidates, dtype=np.int64).reshape(-1, len(self.names)).tolist()
        costs_by_row = [self._cached_costs(tuple(row)) for row in rows]
        if not costs_by_row:
            return _KnownCosts({name: np.zeros(0, dtype=np.int64) for name in FIELDS})
        for costs, row in zip(costs_by_row, rows, strict=True):
            if costs.keys() != costs_by_row[0].keys():
                raise CostError(
                    f"the cost function gives {', '.join(costs_by_row[0])} for "
                    f"{self._format_widths(rows[0])} and {', '.join(costs)} for "
                    f"{self._format_widths(row)}: give the same costs for all."
                )
        return _KnownCosts(
            {
                name: np.array([costs[name] for costs in costs_by_row], dtype=np.int64)
                for name in costs_by_row[0]
            }
        )

    def state(self) -> dict[str, Any]:
        """Return nothing: asking the function again costs nothing."""
        return {}

    def restore(self, state: Mapping[str, Any], space: CandidateSpace | None = None) -> None:
        """Take what `state` returned: nothing."""

    def _cached_costs(self, key: tuple[int, ...]) -> dict[str, int]:
        if key not in self._costs:
            self._costs[key] = self._call_function(key)
        return self._costs[key]

    def _call_function(self, key: tuple[int, ...]) -> dict[str, int]:
        widths = dict(zip(self.names, key, strict=True))
        with user_errors(
            lambda error: CostError(
                f"the cost function raised {describe_error(error)}{user_code_location(error)} for "
                f"{self._format_widths(key)}; it must return costs for every candidate."
            )
        ):
            returned: object = self._function(widths)
        if not isinstance(returned, Mapping):
            raise CostError(
                f"the cost function returned {describe_type(returned)} for "
                f"{self._format_widths(key)}, expected a mapping with any of {', '.join(FIELDS)}."
            )
        costs = {name: self._as_int(name, value, key) for name, value in returned.items()}
        if "macs" in costs and "flops" in costs and costs["flops"] != 2 * costs["macs"]:
            raise CostError(
                f"the cost function gives {costs['flops']} FLOPs and {costs['macs']} MACs for "
                f"{self._format_widths(key)}: FLOPs are 2 × MACs; give one of them."
            )
        if "macs" in costs:
            costs["flops"] = 2 * costs["macs"]
        elif "flops" in costs:
            costs["macs"] = -(-costs["flops"] // 2)
        return {name: costs[name] for name in FIELDS if name in costs}

    def _as_int(self, name: object, value: object, key: tuple[int, ...]) -> int:
        if name not in FIELDS:
            raise CostError(
                f"the cost function gives {name!r} for {self._format_widths(key)}: expected any of "
                f"{', '.join(FIELDS)}."
            )
        try:
            number = -1 if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
        except TypeError:
            number = -1
        if not 0 <= number <= MAX_COST // 2:
            raise CostError(
                f"the cost function gives {name} = {value!r} for {self._format_widths(key)}: "
                "expected a whole number from 0 to 2**62."
            )
        return number

    def _format_widths(self, key: Sequence[int]) -> str:
        return ", ".join(f"{name}={width}" for name, width in zip(self.names, key, strict=True))


@final
class NoCosts:
    """Costs of candidates of which nothing is known: there is none to limit or to compare.

    Attributes:
        names: The widths, in the order of the columns.
        trace_count: Candidates traced: always 0.
        notes: Sentences on what to know about the figures: none.
        lower_bound: Always False.
        uncounted: Always empty.
        counted_by: "nothing".
        revision: Always 0.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.trace_count = 0
        self.notes: tuple[str, ...] = ()
        self.lower_bound = False
        self.uncounted: tuple[str, ...] = ()
        self.revision = 0
        self.counted_by: Literal["nothing"] = "nothing"

    def candidate_costs(self, widths: Mapping[str, int]) -> UserCosts:
        """Return no costs."""
        del widths
        return UserCosts(values={})

    def fit(self, space: CandidateSpace, *, seed: int = 0) -> None:
        """Learn nothing."""

    def evaluate(self, candidates: NDArray[Any]) -> dict[str, Integers]:
        """Return no costs."""
        del candidates
        return {}

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def restore(self, state: Mapping[str, Any], space: CandidateSpace | None = None) -> None:
        """Take what `state` returned: nothing."""
