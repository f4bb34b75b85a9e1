"""The whole diagnosis: the most important first; of a study that learnt nothing, only that."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from widthwise.search.report.diagnosis.diagnosis import MAX_HEADLINES, Diagnosis, diagnose_study
from widthwise.search.report.diagnosis.power_law import Estimated
from widthwise.search.report.evidence import StudyEvidence
from widthwise.tests.search.report.diagnosis.planted import (
    Planted,
    make_evidence,
    power_truth,
    recommendation_of,
)

RANGE = {"low": 32, "high": 512, "step": 32}
PLANTED = Planted(
    widths={"h1": RANGE, "h2": {"low": 8, "high": 64, "step": 8}, "h3": RANGE},
    truth=power_truth(h1=(0.3, 0.9), h2=(0.8, 0.6), h3=(0.2, 0.9)),
    limits={"parameters": 60_000, "flops": 400_000},
)
NOTHING_LEARNT = replace(
    PLANTED,
    truth=lambda _: 0.1,
    noise=0.0,
    trials=20,
    result=lambda _widths, _rng: {"constant_score": 0.1, "no_better_than_constant": True},
)


def diagnose(evidence: StudyEvidence) -> Diagnosis:
    found = diagnose_study(evidence, recommendation_of(evidence))
    assert found is not None
    return found


def test_a_study_that_learnt_nothing_gets_that_diagnosis_and_no_other() -> None:
    for seed in range(20):
        found = diagnose(NOTHING_LEARNT.evidence(seed))
        assert found.untrained is not None
        assert found.sentences() == found.headlines() == [found.untrained]
        parts = found.to_json()
        assert all(not parts[name] for name in parts if name not in ("not_trained", "sentences"))
    assert found.untrained.startswith("Not trained: All 20 trials are no better than a constant")
    for advice in ("learning rate (now 0.001", "scaling", "target"):
        assert advice in found.untrained


def test_a_study_that_was_stopped_as_it_learnt_nothing_gets_that_diagnosis() -> None:
    """Even where a lucky trial is above the constant."""
    stopped = replace(PLANTED.evidence(0), untrained_reason="Nothing is learned: 3 of 8 trials.")
    found = diagnose(stopped)
    assert found.sentences() == ["Not trained. Nothing is learned: 3 of 8 trials."]


def test_one_trial_that_learnt_is_enough_to_be_judged() -> None:
    evidence = NOTHING_LEARNT.evidence(0)
    learnt = replace(evidence.records[3], value=0.8, result={"constant_score": 0.1})
    records = [*evidence.records[:3], learnt, *evidence.records[4:]]
    found = diagnose(make_evidence(evidence.spec, records, evidence.feasible))
    assert found.untrained is None
    assert found.layers is not None


def test_the_most_important_comes_first_and_nothing_twice() -> None:
    found = diagnose(PLANTED.evidence(0))
    sentences = found.sentences()
    assert sentences[0].startswith("h2 stands at the top of its range (64)")
    assert sentences[1].startswith("Bottleneck: h2")
    assert len(sentences) == len(set(sentences))
    headlines = found.headlines()
    assert len(headlines) <= MAX_HEADLINES
    assert sentences[: len(headlines)] == headlines
    assert any("widthwise sweep planted --rows" in each for each in sentences)


def test_no_longer_range_is_urged_where_twice_the_size_does_not_pay() -> None:
    found = diagnose(PLANTED.evidence(0))
    (first, *others) = found.returns
    gain = Estimated(value=0.001, low=0.0, high=0.002)
    level = replace(first, doubling=gain, noise=0.01)
    assert level.has_stopped_paying
    unpaid = replace(found, returns=(level, *others))
    assert not any("take high" in line for line in unpaid.headlines())
    assert any("take high" in line for line in unpaid.sentences())


def test_json_has_every_part() -> None:
    values = diagnose(PLANTED.evidence(0)).to_json()
    assert values == json.loads(json.dumps(values, allow_nan=False))
    assert values["layers"]["bottleneck"] == ["h2"]
    assert [each["names"] for each in values["range_bounds"] if each["too_narrow"]] == [["h2"]]
    assert {each["name"] for each in values["limits"]["limits"]} == {"flops", "parameters"}
    assert {each["cost"] for each in values["returns"]} >= {"parameters"}
    for part in ("shape", "rows", "fitting"):
        assert values[part] is not None


def test_the_same_study_gets_the_same_diagnosis() -> None:
    first, second = (diagnose(PLANTED.evidence(1)).to_json() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("trials", [1, 3, 4])
def test_few_trials_are_no_trouble(trials: int) -> None:
    found = diagnose(replace(PLANTED, trials=trials).evidence(0))
    assert (found.layers is None) == (trials < 4)
    json.dumps(found.to_json(), allow_nan=False)
    assert all(found.sentences())


def test_without_a_complete_trial_there_is_none() -> None:
    evidence = make_evidence(PLANTED.spec, [], None)
    assert diagnose_study(evidence, None) is None


def test_without_the_model_only_what_the_trials_tell_is_told() -> None:
    full = PLANTED.evidence(0)
    found = diagnose(make_evidence(full.spec, full.records, None))
    assert found.layers is not None
    assert found.limits is not None
    assert found.returns == ()
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize(("trials", "seconds"), [(200, 3.0), (10_000, 8.0)])
def test_it_takes_seconds(trials: int, seconds: float) -> None:
    """Processor seconds of the diagnosis alone: the surrogate is fitted for the recommendation."""
    evidence = replace(PLANTED, trials=trials).evidence(0)
    recommendation = recommendation_of(evidence)
    assert evidence.posterior is not None
    started = time.process_time()
    assert diagnose_study(evidence, recommendation) is not None
    assert time.process_time() - started < seconds
