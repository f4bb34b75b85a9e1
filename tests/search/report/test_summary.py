"""The summary: one object behind JSON, Markdown and the table that ends a run."""

from __future__ import annotations

import json

from widthwise.search.goal import Goal
from widthwise.search.report.recommendation.recommendation import Estimate, Recommendation
from widthwise.search.report.reference import Reference
from widthwise.search.report.summary import (
    StudySummary,
    best_candidate_line,
    better_model_line,
    comparison_table,
    progress_line,
)
from widthwise.search.sampler.best_candidate import BestCandidate
from widthwise.search.sampler.origin import SAMPLER, Origin
from widthwise.search.trial.history import CompletedTrial
from widthwise.storage.ledger.slot import SlotCounts

KEYS = [
    "study",
    "goal",
    "target",
    "metric",
    "budget",
    "trials",
    "limits",
    "baselines",
    "references",
    "best",
    "recommended",
    "pick",
    "noise",
    "front",
    "verdict",
    "no_better_than_constant",
    "failures",
    "history",
]


def make_trial(number: int, origin: Origin, value: float) -> CompletedTrial:
    return CompletedTrial(
        number=number,
        widths={"a": 8 * (number + 1)},
        origin=origin,
        value=value,
        test=None,
        costs={"parameters": 1000, "flops": 2000},
        seed=number,
    )


TRIALS = [make_trial(0, Origin.baseline("rule of thumb"), 0.5), make_trial(1, SAMPLER, 0.75)]
COUNTS = SlotCounts(complete=2, running=0, failed=0, pruned=0, waiting=0, paused=0)
ANSWER = Recommendation(
    best_observed=TRIALS[1],
    recommended=TRIALS[1],
    verdict="+0.2500 better.",
    estimates={1: Estimate(mean=0.7, deviation=0.01)},
    noise=0.02,
    best_candidate=BestCandidate(
        widths={"a": 24}, mean=0.8, deviation=0.1, low=0.6, high=1.0, trained=False
    ),
)


def make_summary(answer: Recommendation | None) -> StudySummary:
    return StudySummary(
        study="digits",
        goal=Goal(),
        metric="accuracy",
        counts=COUNTS,
        limits={"parameters": 5000},
        trials=TRIALS if answer else [],
        failed=[],
        recommendation=answer,
        references=[
            Reference(name="constant", value=0.5, test=0.4),
            Reference(name="trees", value=0.9, test=None),
        ],
    )


def test_json_holds_what_the_summary_holds() -> None:
    values = make_summary(ANSWER).to_json()
    assert list(values) == KEYS
    assert values == json.loads(json.dumps(values))
    assert (values["goal"], values["metric"]["direction"]) == ("best", "maximize")
    assert values["recommended"]["estimate"] == {"mean": 0.7, "deviation": 0.01}
    assert [trial["origin"] for trial in values["history"]] == ["rule of thumb", "sampler"]
    assert [trial["trial"] for trial in values["baselines"]] == [0]
    assert values["pick"]["widths"] == {"a": 24}
    assert values["references"] == {
        "constant": {"value": 0.5, "test": 0.4},
        "trees": {"value": 0.9, "test": None},
    }
    assert "boosted trees with accuracy 0.9" in str(better_model_line(make_summary(ANSWER)))


def test_without_a_complete_trial_there_is_no_answer() -> None:
    summary = make_summary(None)
    values = summary.to_json()
    assert list(values) == KEYS
    assert values["best"] is values["recommended"] is values["pick"] is values["noise"] is None
    assert summary.verdict == "No trial is complete yet."
    assert best_candidate_line(summary) is None
    assert len(comparison_table(summary)[1]) == 3, "the limits and the reference models"


def test_the_table_names_limits_baselines_and_answers() -> None:
    titles, rows = comparison_table(make_summary(ANSWER))
    assert titles[:4] == ["", "trial", "widths", "validation accuracy"]
    assert [row[0] for row in rows] == [
        "limit",
        "constant prediction",
        "boosted trees",
        "rule of thumb",
        "best observed",
        "recommended",
    ]
    assert rows[2][1:] == ["—", "—", "0.9000", "—", *["—"] * (len(titles) - 5)]
    assert rows[0][5] == "≤ 5,000"


def test_the_progress_is_a_line() -> None:
    assert progress_line(make_summary(ANSWER)) == "digits: 2 complete, of a budget of 2"
