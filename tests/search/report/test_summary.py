"""The summary: one object behind JSON, Markdown and the table that ends a run."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from widthwise.search.goal import Goal
from widthwise.search.report.answer_lines import answer_lines, better_model_line
from widthwise.search.report.confirmation.confirmation import Confirmation
from widthwise.search.report.confirmation.contender import Contender
from widthwise.search.report.confirmation.words import MetricWords
from widthwise.search.report.recommendation.candidate import Estimate, JudgedCandidate
from widthwise.search.report.recommendation.recommendation import Recommendation
from widthwise.search.report.reference import Reference
from widthwise.search.report.summary import (
    StudySummary,
    comparison_table,
    progress_line,
)
from widthwise.search.report.verdict import Verdict
from widthwise.search.sampler.origin import SAMPLER, Origin
from widthwise.search.trial.history import CompletedTrial
from widthwise.storage.ledger.slot import SlotCounts, SlotRecord, SlotState, TrialOutcome

KEYS = [
    "study",
    "goal",
    "target",
    "metric",
    "budget",
    "trials",
    "limits",
    "verdict",
    "verdict_text",
    "best",
    "recommended",
    "runner_up",
    "noise",
    "reason",
    "front",
    "knee",
    "in_question",
    "more_trainings",
    "search_pick",
    "baselines",
    "better_model",
    "confirmation",
    "proxy_fidelity",
    "diagnosis",
    "rules",
    "stopping",
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
ESTIMATE = Estimate(mean=0.7, deviation=0.01)


def candidate(label: str, trial: CompletedTrial | None, **widths: int) -> JudgedCandidate:
    return JudgedCandidate(
        label=label,
        widths=trial.widths if trial else widths,
        trial=trial,
        estimate=ESTIMATE,
        costs={"parameters": 1000, "flops": 2000},
    )


ANSWER = Recommendation(
    best_observed=candidate("best observed", TRIALS[1]),
    recommended=candidate("recommended", None, a=24),
    baselines={"rule of thumb": candidate("rule of thumb", TRIALS[0])},
    verdict=Verdict.GAIN,
    verdict_text="A gain: 0.2500 better.",
    reason="Not the best observed: luck.",
    estimates={1: ESTIMATE},
    noise=0.02,
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
    assert values["recommended"]["estimate"]["mean"] == 0.7
    assert values["recommended"]["estimate"]["high"] == pytest.approx(0.7196)
    assert (values["recommended"]["trial"], values["recommended"]["widths"]) == (None, {"a": 24})
    assert (values["verdict"], values["verdict_text"]) == ("gain", "A gain: 0.2500 better.")
    assert [trial["origin"] for trial in values["history"]] == ["rule of thumb", "sampler"]
    baselines = values["baselines"]
    assert (baselines["rule of thumb"]["trial"], baselines["rule of thumb"]["value"]) == (0, 0.5)
    assert baselines["constant"] == {"value": 0.5, "test": 0.4}
    assert baselines["trees"] == {"value": 0.9, "test": None}
    assert "boosted trees with accuracy 0.9" in str(better_model_line(make_summary(ANSWER)))


def test_without_a_complete_trial_there_is_no_answer() -> None:
    summary = make_summary(None)
    values = summary.to_json()
    assert list(values) == KEYS
    assert values["best"] is values["recommended"] is values["runner_up"] is values["noise"] is None
    assert values["verdict"] == "no trials"
    assert summary.verdict_text == "No trial is complete yet."
    assert answer_lines(summary) == []
    assert len(comparison_table(summary)[1]) == 3, "the limits and the reference models"


def failed_slot(number: int, outcome: TrialOutcome) -> SlotRecord:
    unknown = {field.name: None for field in fields(SlotRecord)}
    known = {"number": number, "state": SlotState.DONE, "outcome": outcome, "failures": 0}
    return SlotRecord(**{**unknown, **known})


def test_where_every_training_became_nan_it_says_so_and_what_to_do() -> None:
    outcomes = [TrialOutcome.NAN, TrialOutcome.NAN, TrialOutcome.OUT_OF_MEMORY]
    spent = replace(
        make_summary(None),
        counts=SlotCounts(complete=0, running=0, failed=3, pruned=0, waiting=0),
        failed=[failed_slot(number, outcome) for number, outcome in enumerate(outcomes)],
    )
    assert spent.verdict is Verdict.NO_TRIALS
    assert "in 2 of 3 the loss or the metric became nan" in spent.verdict_text
    assert "proxy.learning_rate" in spent.verdict_text
    assert "`widthwise resume digits --trials +2`" in spent.verdict_text
    waiting = replace(spent.counts, failed=2, waiting=1)
    assert replace(spent, counts=waiting).verdict_text == "No trial is complete yet."


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
    assert rows[-1][1:5] == ["—", "a=24", "—", "0.700 ± 0.010"]
    assert rows[0][5] == "≤ 5,000"


def test_the_progress_is_a_line() -> None:
    assert progress_line(make_summary(ANSWER)) == "digits: 2 complete, of a budget of 2"


def test_a_confirmation_has_the_last_word() -> None:
    summary = replace(make_summary(ANSWER), confirmation=confirmation())
    values = summary.to_json()
    assert (values["verdict"], values["verdict_text"]) == ("no gain", "Confirmed: no gain.")
    assert values["confirmation"]["verdict"] == "no gain"
    assert values["recommended"]["widths"] == {"a": 24}


def test_nothing_is_recommended_where_nothing_is_learnt() -> None:
    untrained = replace(confirmation(), verdict=Verdict.NOT_TRAINED)
    summary = replace(make_summary(ANSWER), confirmation=untrained)
    assert not any(line.startswith("Recommended") for line in answer_lines(summary))


def test_what_a_confirmation_chose_is_recommended() -> None:
    chosen = Contender(label="rule of thumb", widths={"a": 8}, costs={"parameters": 7})
    summary = replace(make_summary(ANSWER), confirmation=replace(confirmation(), chosen=chosen))
    values = summary.to_json()
    assert (values["recommended"]["widths"], values["recommended"]["trial"]) == ({"a": 8}, 0)
    assert values["search_pick"]["widths"] == {"a": 24}
    lines = answer_lines(summary)
    assert lines[0].startswith("Recommended: a=8, trial 0")
    assert "the search would have taken a=24" in lines[0]
    assert not any("Not the best observed" in line for line in lines)
    labels = [row[0] for row in comparison_table(summary)[1]]
    assert labels[-2:] == ["the search's pick", "rule of thumb = recommended"]
    open_race = replace(summary, confirmation=replace(confirmation(), complete=False))
    assert str(better_model_line(open_race)) in answer_lines(open_race), "nothing told it yet"
    assert open_race.to_json()["recommended"]["widths"] == {"a": 24}


def test_which_of_network_and_other_model_is_better_is_said_once() -> None:
    told = replace(confirmation(), remarks=["Another model is better here: boosted trees."])
    untold = replace(confirmation(), remarks=["On the test split it is worse."])
    summary = make_summary(ANSWER)
    sentence = str(better_model_line(summary))
    assert sentence not in answer_lines(replace(summary, confirmation=told))
    assert sentence in answer_lines(replace(summary, confirmation=untold))


def confirmation() -> Confirmation:
    return Confirmation(
        verdict=Verdict.NO_GAIN,
        verdict_text="Confirmed: no gain.",
        chosen=None,
        complete=True,
        results=[],
        comparisons=[],
        reference=None,
        remarks=[],
        saved=[],
        trainings=0,
        confidence=95,
        metric=MetricWords(name="accuracy", sign=1.0),
    )
