"""Costs from the user's own function: taken as given, checked, and never silently missing."""

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from widthwise.objectives.cost.costs import FIELDS
from widthwise.objectives.cost.user_costs import UserCostModel
from widthwise.objectives.errors import CostError
from widthwise.search.space.limits import Limits

ROWS = np.array([[8, 4], [16, 2], [8, 4]])


class Space:
    size = 3

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(ROWS[:n])

    def enumerate(self) -> np.ndarray:
        return ROWS


def costs(widths: Mapping[str, int]) -> Mapping[str, Any]:
    return {"parameters": widths["a"] * widths["b"], "flops": np.int64(2 * widths["a"])}


def user_costs_of(value: Any) -> UserCostModel:
    return UserCostModel(lambda _: value, "ab")


def test_the_functions_figures_are_the_costs() -> None:
    model = UserCostModel(costs, "ab")
    model.fit(Space())
    assert model.candidate_costs({"b": 4, "a": 8}).as_dict() == {
        "parameters": 32,
        "macs": 8,
        "flops": 16,
    }
    evaluated = model.evaluate(ROWS)
    assert {name: values.tolist() for name, values in evaluated.items()} == {
        "parameters": [32, 32, 32],
        "macs": [8, 16, 8],
        "flops": [16, 32, 16],
    }
    assert all(values.dtype == np.int64 for values in evaluated.values())
    assert (model.trace_count, model.counted_by) == (0, "given")


def test_a_candidate_is_asked_for_once() -> None:
    calls: list[dict[str, int]] = []

    def noted(widths: Mapping[str, int]) -> Mapping[str, int]:
        calls.append(dict(widths))
        return costs(widths)

    model = UserCostModel(noted, "ab")
    model.evaluate(ROWS)
    model.candidate_costs({"a": 16, "b": 2})
    assert calls == [{"a": 8, "b": 4}, {"a": 16, "b": 2}]


def test_a_limit_on_what_is_given_works() -> None:
    model = UserCostModel(costs, "ab")
    assert Limits(flops=20).is_feasible(model.evaluate(ROWS)).tolist() == [True, False, True]
    assert not Limits(parameters=31).admits(model.candidate_costs({"a": 8, "b": 4}).as_dict())


def test_a_limit_on_what_is_not_given_is_refused() -> None:
    model, limits = UserCostModel(costs, "ab"), Limits(train_memory=10**9)
    for check in (
        lambda: limits.is_feasible(model.evaluate(ROWS)),
        lambda: limits.admits(model.candidate_costs({"a": 8, "b": 4}).as_dict()),
    ):
        with pytest.raises(CostError) as refusal:
            check()
        assert str(refusal.value) == (
            "the cost function gives parameters, macs, flops, but not train_memory, which is "
            "asked for: return it too, or set no limit on it."
        )


def test_no_candidates_give_no_costs() -> None:
    evaluated = UserCostModel(costs, "ab").evaluate(np.zeros((0, 2)))
    assert {name: len(values) for name, values in evaluated.items()} == dict.fromkeys(FIELDS, 0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "returned None for a=8, b=4"),
        (7, "returned an int"),
        ({"flop": 3}, "gives 'flop' for a=8, b=4: expected any of parameters"),
        ({"flops": 2.0}, r"flops = 2\.0 for a=8, b=4: expected a whole number"),
        ({"flops": -1}, "flops = -1"),
        ({"flops": True}, "flops = True"),
        ({"flops": 2**63}, "from 0 to"),
        ({"flops": 3, "macs": 2}, "3 FLOPs and 2 MACs"),
    ],
    ids=["None", "number", "unknown", "float", "negative", "bool", "huge", "FLOPs and MACs"],
)
def test_what_is_no_cost_is_refused(value: Any, message: str) -> None:
    with pytest.raises(CostError, match=message) as refusal:
        user_costs_of(value).fit(Space())
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)


def test_a_function_that_raises_is_named() -> None:
    with pytest.raises(CostError, match=r"KeyError.*test_user_costs.py line.*a=8, b=4"):
        UserCostModel(lambda widths: {"flops": widths["c"]}, "ab").evaluate(ROWS)


@pytest.mark.parametrize("raised", [SystemExit(0), SystemExit("bye"), asyncio.CancelledError()])
def test_a_function_that_ends_the_program_is_named(raised: BaseException) -> None:
    def costs(_: object) -> Any:
        raise raised

    with pytest.raises(CostError, match=f"raised {type(raised).__name__}.* for a=8, b=4"):
        UserCostModel(costs, ("a", "b")).candidate_costs({"a": 8, "b": 4})


def test_other_costs_for_other_candidates_are_refused() -> None:
    def function(widths: Mapping[str, int]) -> Mapping[str, int]:
        return {"flops": 2} if widths["a"] == 8 else {"parameters": 2}

    with pytest.raises(CostError, match="for a=8, b=4 and parameters for a=16, b=2"):
        UserCostModel(function, "ab").evaluate(ROWS)
