"""The surface finds what is best, and tells differences with the truth inside their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from widthwise.search.report.diagnosis.surface import make_surface
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.tests.search.report.diagnosis.planted import Planted, best_widths, mlp_costs

RANGE = {"low": 16, "high": 512, "step": 16}
PLANTED = Planted(
    widths={"h1": RANGE, "h2": RANGE},
    truth=lambda w: 0.9 - 0.02 * (np.log2(w["h1"]) - 7) ** 2 - 0.01 * (np.log2(w["h2"]) - 6) ** 2,
    limits={"parameters": 100_000},
)


def test_the_best_of_a_listed_set_is_near_the_optimum() -> None:
    evidence = PLANTED.evidence(0)
    assert PLANTED.truth(best_widths(evidence)) > 0.895


def test_a_space_too_large_to_list_is_climbed() -> None:
    planted = replace(PLANTED, widths={"h1": RANGE, "h2": RANGE, "h3": RANGE})
    evidence = planted.evidence(0)
    surface = make_surface(evidence, evidence.trials[0].widths)
    assert surface is not None
    unlisted = FeasibleSet(
        evidence.space, evidence.spec.limits.to_limits(), mlp_costs(64, 10), cost_batch_size=4096
    )
    assert not unlisted.enumerated
    row = surface.best(unlisted)
    assert row is not None
    assert planted.truth(evidence.space.as_mapping(row)) > 0.89
    odd = surface.best(unlisted, lambda rows: rows[:, 0] < 64)
    assert odd is not None
    assert odd[0] < 64
    assert surface.best(unlisted, lambda rows: rows[:, 0] < 0) is None


def test_where_costs_are_traced_one_by_one_only_what_was_trained_is_looked_at() -> None:
    evidence = PLANTED.evidence(0)
    surface = make_surface(evidence, evidence.trials[0].widths)
    assert surface is not None
    asked: list[int] = []

    def costs(rows: np.ndarray) -> Mapping[str, np.ndarray]:
        asked.append(len(rows))
        return mlp_costs(64, 10)(rows)

    traced = FeasibleSet(
        evidence.space, evidence.spec.limits.to_limits(), costs, cost_batch_size=256
    )
    asked.clear()
    row = surface.best(traced)
    assert row is not None
    assert evidence.space.as_mapping(row) in [dict(trial.widths) for trial in evidence.trials]
    assert asked == []
    assert surface.best(traced, lambda rows: rows[:, 0] < 0) is None


def test_intervals_of_differences_hold_the_truth() -> None:
    held = []
    for seed in range(20):
        evidence = PLANTED.evidence(seed)
        surface = make_surface(evidence, {"h1": 128, "h2": 64})
        assert surface is not None
        rows = np.array([[256, 64], [64, 64], [128, 128], [128, 32]])
        base = PLANTED.truth({"h1": 128, "h2": 64})
        for row, effect in zip(rows, surface.effects(list(rows)), strict=True):
            gain = PLANTED.truth(evidence.space.as_mapping(row)) - base
            held.append(effect.low <= gain <= effect.high)
    assert np.mean(held) > 0.8, "intervals of 90 %, 80 of them in 20 studies"


def test_too_few_trainings_have_no_surface() -> None:
    evidence = Planted(widths={"h1": RANGE}, truth=lambda _: 0.5, trials=3).evidence(0)
    assert make_surface(evidence, evidence.trials[0].widths) is None


def test_what_failed_is_never_the_best() -> None:
    evidence = PLANTED.evidence(0)
    surface = make_surface(evidence, evidence.trials[0].widths)
    assert surface is not None
    assert evidence.feasible is not None
    best = surface.best(evidence.feasible)
    assert best is not None
    failed = replace(surface.history, failed=best[None, :])
    other = replace(surface, history=failed).best(evidence.feasible)
    assert other is not None
    assert other.tolist() != best.tolist()
