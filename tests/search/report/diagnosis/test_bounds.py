"""A range that is too narrow is told, with the one to take; where a limit stops, it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from widthwise.search.report.diagnosis.bounds import BoundDiagnosis, diagnose_bounds
from widthwise.search.report.diagnosis.surface import make_surface
from widthwise.tests.search.report.diagnosis.planted import Planted, best_widths, power_truth

RANGE = {"low": 16, "high": 512, "step": 16}
NARROW_MIDDLE = Planted(
    widths={"h1": RANGE, "h2": {"low": 8, "high": 64, "step": 8}, "h3": RANGE},
    truth=power_truth(h1=(0.3, 0.9), h2=(0.8, 0.6), h3=(0.2, 0.9)),
    limits={"parameters": 60_000, "flops": 400_000},
)


def diagnose(planted: Planted, seed: int, **widths: int) -> list[BoundDiagnosis]:
    evidence = planted.evidence(seed)
    surface = make_surface(evidence, widths or best_widths(evidence))
    assert surface is not None
    return diagnose_bounds(surface, wants_small=evidence.goal.kind.uses_cost)


def too_narrow(planted: Planted) -> list[list[tuple[str, str]]]:
    return [
        [(each.layer.title, each.side) for each in diagnose(planted, seed) if each.too_narrow]
        for seed in range(20)
    ]


def test_a_planted_range_is_named_with_the_one_to_take() -> None:
    found = [diagnose(NARROW_MIDDLE, seed) for seed in range(20)]
    named = [[(x.layer.title, x.bound) for x in each if x.too_narrow] for each in found]
    assert named == [[("h2", 128)]] * 20
    assert found[0][0].sentence("accuracy").startswith("h2 stands at the top of its range (64)")
    assert found[0][0].sentence("accuracy").endswith("accuracy: take high = 128.")


def test_a_range_whose_end_the_optimum_does_not_need_is_wide_enough() -> None:
    saturated = Planted(
        widths={"h1": RANGE, "h2": RANGE},
        truth=lambda w: 0.95 - sum(max(0.0, 6 - np.log2(each)) ** 2 for each in w.values()) / 180,
    )
    assert too_narrow(saturated).count([]) >= 18


def test_where_a_limit_balances_the_layers_no_range_is_blamed() -> None:
    balanced = Planted(
        widths={"h1": RANGE, "h2": RANGE, "h3": RANGE},
        truth=power_truth(h1=(0.5, 0.6), h2=(0.5, 0.6), h3=(0.5, 0.6)),
        limits={"parameters": 30_000},
    )
    assert too_narrow(balanced).count([]) >= 19


def test_a_limit_that_stops_a_layer_is_told_from_its_range() -> None:
    """h1 at its top costs too much to be any wider, and all layers are worth the same."""
    stopped = Planted(
        widths={"h1": {"low": 16, "high": 128, "step": 16}, "h2": RANGE},
        truth=power_truth(h1=(0.2, 0.6), h2=(0.6, 0.6)),
        limits={"parameters": 24_000},
    )
    found = diagnose(stopped, 0, h1=128, h2=112)
    assert [(each.layer.title, each.too_narrow) for each in found] == [("h1", False)]
    assert found[0].stopped_by_limit
    assert "a limit or the model, not the range, stops it" in found[0].sentence("accuracy")


def test_no_bound_is_advised_that_the_limits_forbid() -> None:
    tight = replace(NARROW_MIDDLE, limits={"parameters": 60_000, "flops": 30_000})
    for each in diagnose(tight, 0):
        if each.bound is not None and each.side == "top":
            smallest = np.array([[16, each.bound, 16]])
            assert tight.feasible().cost_function(smallest)["flops"][0] <= 30_000


def test_a_bottom_that_is_too_high_is_told_where_narrow_is_better() -> None:
    narrow_best = Planted(
        widths={"h1": {"low": 64, "high": 512, "step": 32}, "h2": RANGE},
        truth=lambda w: 0.9 - 0.03 * (np.log2(w["h1"]) - 4) - 0.01 * (np.log2(w["h2"]) - 6) ** 2,
    )
    named = too_narrow(narrow_best)
    assert named.count([("h1", "bottom")]) >= 18
    (bound,) = (each for each in diagnose(narrow_best, 0) if each.too_narrow)
    assert bound.bound == 32
    assert bound.to_json()["side"] == "bottom"


def test_small_enough_at_the_bottom_asks_for_smaller_still() -> None:
    """For the goal "smallest" a narrowing that loses nothing is enough."""
    plateau = Planted(
        widths={"h1": {"low": 64, "high": 512, "step": 32}, "h2": RANGE},
        truth=lambda w: 0.9 - 0.5 * w["h2"] ** -0.6,
        study={"goal": "smallest", "target": 0.85, "cost": "parameters"},
        trials=60,
    )

    def count(planted: Planted) -> int:
        found = [diagnose(planted, seed, h1=64, h2=128) for seed in range(20)]
        return sum(any(x.too_narrow and x.layer.title == "h1" for x in each) for each in found)

    assert count(plateau) >= 12, "few of these trials lie at the bottom: a search's would"
    assert count(replace(plateau, study={})) <= 1
