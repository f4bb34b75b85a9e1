"""What refining says it found."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import numpy as np
import pytest
from widthwise.search.goal import Goal
from widthwise.search.report.experiments.refinement import (
    Refinement,
    RefinementVerdict,
    judge_refinement,
)
from widthwise.search.report.experiments.refinement_axes import Setting
from widthwise.search.report.experiments.refinement_race import (
    Decision,
    OptionVerdict,
    RaceState,
)
from widthwise.search.report.experiments.seed_noise import Difference
from widthwise.tests.search.report.experiments.runs import planted_run

BASE = Setting(widths={"a": 8, "b": 4})
BEST = Setting(
    widths=BASE.widths,
    overrides={"proxy.learning_rate": 0.009, "proxy.schedule": "cosine", "model.dropout": 0.1},
)
DECISIONS = [
    Decision(
        axis="learning rate",
        text=f"learning rate {rate}",
        verdict=OptionVerdict.BETTER,
        difference=Difference(mean=0.02, half_width=0.01, seeds=6),
    )
    for rate in (0.003, 0.009)
] + [
    Decision(axis="normalisation", text="", verdict=OptionVerdict.NOT_TRIED, detail="there is none")
]


def refinement(gain: Difference | None, **options: Any) -> Refinement:
    best = BASE if gain is None else BEST
    state = RaceState(
        needs=(),
        best=best,
        decisions=DECISIONS,
        taken={} if gain is None else {"learning rate": "learning rate 0.009"},
        gain=gain,
        failed=options.pop("failed", None),
    )
    return judge_refinement(
        state,
        options.pop("runs", [planted_run(1, 0.8)]),
        BASE,
        study="s",
        follow_up="s/refinement",
        metric="accuracy",
        goal=Goal(direction=options.pop("direction", "maximize")),
        **{"splits": 1, **options},
    )


def test_a_gain_that_holds_is_told_with_what_to_set() -> None:
    found = refinement(Difference(mean=0.021, half_width=0.008, seeds=6))
    assert found.verdict is RefinementVerdict.REFINED
    assert found.verdict_text == (
        "Set learning rate 0.009: +2.1 ± 0.8 points over 6 fresh seeds, which no choice has seen "
        "(95 %)."
    )
    spec = tomllib.loads("\n".join(found.spec_lines))
    assert spec == {
        "proxy": {"learning_rate": 0.009, "schedule": "cosine"},
        "model": {"dropout": 0.1},
    }
    assert "normalisation: not tried, there is none." in found.sentences()


def test_a_gain_that_does_not_hold_is_none() -> None:
    found = refinement(Difference(mean=0.004, half_width=0.008, seeds=6))
    assert found.verdict is RefinementVerdict.NOTHING
    assert found.verdict_text.startswith("Nothing to refine: what learning rate 0.009 seemed to")
    assert "+0.4 ± 0.8 points" in found.verdict_text
    assert (found.spec_lines, found.setting) == ([], BASE)


def test_nothing_to_refine_and_nothing_that_could_be_are_said() -> None:
    assert refinement(None).verdict_text.startswith("Nothing to refine in what was decided on: ")
    failed = refinement(None, failed="the training loss became nan")
    assert failed.verdict is RefinementVerdict.FAILED
    assert failed.verdict_text.endswith(
        "the study's own setting failed: the training loss became nan."
    )


def test_the_json_is_plain_and_in_the_metrics_own_sign() -> None:
    found = refinement(Difference(mean=0.021, half_width=0.008, seeds=6), direction="minimize")
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert written["gain"] == {"mean": -0.021, "half_width": 0.008, "seeds": 6}
    assert written["verdict"] == "refined"
    assert written["settings"] == dict(BEST.overrides)
    assert [item["verdict"] for item in written["decisions"]] == ["better", "better", "not tried"]
    assert written["runs"][0]["widths"] == {"a": 8, "b": 4}


@pytest.mark.parametrize(("row_noise", "matters"), [(0.05, True), (0.0, False)])
def test_folds_are_advised_where_the_rows_move_the_metric(row_noise: float, matters: bool) -> None:
    """One training's metric is moved by its rows and by its seed; folds show both, seeds one."""
    seed_noise, advised = 0.01, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        runs = [planted_run(index, 0.8 + seed_noise * rng.standard_normal()) for index in range(6)]
        fold_runs = []
        rows = row_noise * rng.standard_normal(5)
        for index in range(3):
            values = 0.8 + rows + seed_noise * rng.standard_normal(5)
            spread = float(values.std(ddof=1) / np.sqrt(5))
            fold_runs.append(planted_run(index, float(values.mean()), spread=spread))
        found = refinement(None, runs=runs, fold_runs=fold_runs, fold_splits=5)
        assert found.fold_noise is not None
        advised += found.fold_noise.matters
        said = any("set folds = 5" in sentence for sentence in found.sentences())
        assert said == found.fold_noise.matters
    assert advised >= 18 if matters else advised <= 3


def test_folds_that_are_in_force_are_told_and_not_advised() -> None:
    rng = np.random.default_rng(0)
    runs = [
        planted_run(index, 0.8 + 0.01 * rng.standard_normal(), spread=0.02) for index in range(6)
    ]
    found = refinement(None, runs=runs, splits=5)
    assert found.fold_noise is not None
    assert found.fold_noise.in_force
    assert found.fold_noise.rows == pytest.approx(0.02 * 5**0.5)
    assert any("5 splits take turns" in sentence for sentence in found.sentences())
