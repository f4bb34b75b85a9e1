"""The limit that binds is named, with what more of it brings; one that does not is not."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from widthwise.search.report.diagnosis.limits import (
    LimitsDiagnosis,
    diagnose_limits,
    main_cost,
)
from widthwise.search.report.diagnosis.surface import make_surface
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.tests.search.report.diagnosis.planted import (
    Planted,
    best_widths,
    make_evidence,
    mlp_costs,
    power_truth,
)

RANGE = {"low": 32, "high": 512, "step": 32}
THREE = {"h1": RANGE, "h2": RANGE, "h3": RANGE}
RISING = power_truth(h1=(0.5, 0.6), h2=(0.5, 0.6), h3=(0.5, 0.6))
BY_FLOPS = Planted(widths=THREE, truth=RISING, limits={"parameters": 60_000, "flops": 80_000})
SATURATED = Planted(
    widths=THREE,
    truth=lambda w: 0.95 - sum(max(0.0, 6 - np.log2(each)) ** 2 for each in w.values()) / 180,
    limits={"parameters": 200_000},
)


def diagnose(planted: Planted, seed: int) -> LimitsDiagnosis:
    evidence = planted.evidence(seed)
    surface = make_surface(evidence, best_widths(evidence))
    assert surface is not None
    return diagnose_limits(evidence, surface)


@pytest.mark.parametrize(
    ("limits", "binding"),
    [
        ({"parameters": 60_000, "flops": 80_000}, "flops"),
        ({"parameters": 30_000, "flops": 300_000}, "parameters"),
    ],
    ids=["flops", "parameters"],
)
def test_a_planted_limit_is_named_and_the_other_is_not(
    limits: dict[str, int], binding: str
) -> None:
    planted = Planted(widths=THREE, truth=RISING, limits=limits)
    found = Counter(
        tuple(each.name for each in diagnose(planted, seed).binding) for seed in range(20)
    )
    assert found == {(binding,): 20}


def test_a_limit_that_quality_does_not_need_does_not_bind() -> None:
    found = [diagnose(SATURATED, seed).binding for seed in range(20)]
    assert found.count([]) >= 18


def test_what_a_tenth_more_brings_is_within_its_interval() -> None:
    """Against the best of all networks that the truth has within either limit."""
    feasible, relaxed = BY_FLOPS.feasible(), None
    rows = feasible.space.enumerate()
    costs = mlp_costs(64, 10)(rows)
    truth = 0.95 - 0.5 * (rows.astype(float) ** -0.6).sum(axis=1)
    present = truth[feasible.limits.is_feasible(costs)].max()
    relaxed = truth[(costs["flops"] <= 88_000) & (costs["parameters"] <= 60_000)].max()
    held = []
    for seed in range(20):
        (limit,) = diagnose(BY_FLOPS, seed).binding
        assert limit.tenth_more is not None
        held.append(limit.tenth_more.low <= relaxed - present <= limit.tenth_more.high)
    assert sum(held) >= 16


def test_limits_that_bind_together_are_told_where_neither_does_alone() -> None:
    """FLOPs and MACs are one and the same: more of one alone allows nothing."""
    twins = Planted(widths=THREE, truth=RISING, limits={"flops": 80_000, "macs": 40_000})
    told = []
    for seed in range(20):
        found = diagnose(twins, seed)
        assert found.binding == []
        told.append(found.binds_together)
    assert sum(told) >= 19
    assert found.sentences()[0].startswith("Limits that bind together: FLOPs, MACs. A tenth more")
    assert "a tenth more of it alone changes nothing" in found.sentences()[1]


def test_its_words_and_its_json() -> None:
    found = diagnose(BY_FLOPS, 0)
    first, second = found.sentences()
    assert first.startswith("Limit that binds: FLOPs ≤ 80k, ")
    assert "A tenth more brings +" in first
    assert "it does not bind; no next wider network breaks it" in second
    values = found.to_json()
    assert values == json.loads(json.dumps(values, allow_nan=False))
    assert values["binding"] == ["flops"]
    assert values["limits"][0]["reached"] is True
    assert set(values["limits"][0]["widths"]) == {"h1", "h2", "h3"}


def test_without_limits_none_binds() -> None:
    found = diagnose(Planted(widths=THREE, truth=RISING), 0)
    assert found.sentences() == ["No limit is set, so none binds."]


def test_where_costs_cannot_be_counted_nothing_is_claimed() -> None:
    evidence = BY_FLOPS.evidence(0)
    blind = make_evidence(evidence.spec, evidence.records, None)
    surface = make_surface(blind, evidence.trials[0].widths)
    assert surface is not None
    found = diagnose_limits(blind, surface)
    assert [each.reached for each in found.limits] == [None, None]
    assert found.limits[0].used is not None, "as it was counted when it was trained"
    assert found.binding == []
    assert "cannot be told here" in found.sentences()[-1]


def test_where_every_candidate_is_traced_no_space_is_traced() -> None:
    evidence = BY_FLOPS.evidence(0)
    widths = best_widths(evidence)
    traced = FeasibleSet(
        evidence.space, evidence.spec.limits.to_limits(), mlp_costs(64, 10), cost_batch_size=256
    )
    slow = make_evidence(evidence.spec, evidence.records, traced)
    surface = make_surface(slow, widths)
    assert surface is not None
    flops = diagnose_limits(slow, surface).limits[0]
    assert (flops.reached, flops.tenth_more) == (True, None)


@pytest.mark.parametrize(
    ("study", "limits", "cost"),
    [
        ({}, {}, "parameters"),
        ({}, {"parameters": 60_000, "flops": 80_000}, "flops"),
        ({"goal": "front", "cost": "parameters"}, {"flops": 80_000}, "parameters"),
    ],
    ids=["no limit", "the limit used most", "the goal's"],
)
def test_the_cost_that_matters(study: dict[str, str], limits: dict[str, int], cost: str) -> None:
    evidence = Planted(widths=THREE, truth=RISING, limits=limits, study=study).evidence(0)
    surface = make_surface(evidence, best_widths(evidence))
    assert surface is not None
    assert main_cost(evidence, surface) == cost
