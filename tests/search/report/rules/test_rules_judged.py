"""Rules judged by planted studies: beliefs that are wrong, right, or not to be told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from widthwise.search.problem.problem import Problem
from widthwise.search.report.evidence import StudyEvidence
from widthwise.search.report.rules.misconceptions import (
    EQUAL,
    EXPERIENCE,
    MORE,
    OTHER_TASK,
    Answer,
)
from widthwise.search.report.rules.rules_judged import RulesJudged, judge_rules
from widthwise.tests.search.report.diagnosis.planted import Planted, recommendation_of

WIDTHS = {
    "hidden1": {"low": 8, "high": 256, "step": 8},
    "hidden2": {"low": 8, "high": 256, "step": 8},
}


def peak(widths: Mapping[str, int]) -> float:
    """Best at 128 and 16, and worse by 0.02 an octave squared: more is worse, equal is worse."""
    first, second = np.log2(widths["hidden1"] / 128), np.log2(widths["hidden2"] / 16)
    return 0.95 - 0.02 * float(first**2 + second**2)


def rising(widths: Mapping[str, int]) -> float:
    """More is better in each layer, all the way."""
    return 0.8 + 0.02 * float(np.log2(widths["hidden1"] * widths["hidden2"]))


def flat(widths: Mapping[str, int]) -> float:
    del widths
    return 0.9


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.load(Planted(widths=WIDTHS, truth=flat).spec, Path.cwd())


def judged(planted: Planted, seed: int, problem: Problem) -> tuple[RulesJudged, StudyEvidence]:
    evidence = replace(planted.evidence(seed), problem=problem)
    rules = judge_rules(evidence, recommendation_of(evidence))
    assert rules is not None
    return rules, evidence


def answers(rules: RulesJudged) -> dict[str, Answer]:
    return {belief.claim: belief.answer for belief in rules.misconceptions}


@pytest.mark.slow
def test_wrong_beliefs_are_called_wrong_in_19_of_20_seeds(problem: Problem) -> None:
    planted = Planted(widths=WIDTHS, truth=peak, noise=0.005)
    found = [answers(judged(planted, seed, problem)[0]) for seed in range(20)]
    for claim in (MORE, EQUAL, OTHER_TASK, EXPERIENCE):
        assert sum(each[claim] is Answer.NO for each in found) >= 19, claim


def test_where_more_is_better_it_is_said_to_hold(problem: Problem) -> None:
    planted = Planted(widths=WIDTHS, truth=rising, noise=0.003)
    found = [answers(judged(planted, seed, problem)[0])[MORE] for seed in range(5)]
    assert found.count(Answer.HOLDS) >= 4
    assert Answer.NO not in found


def test_on_a_flat_surface_no_rule_is_called_worse(problem: Problem) -> None:
    planted = Planted(widths=WIDTHS, truth=flat, noise=0.005)
    found = [answers(judged(planted, seed, problem)[0]) for seed in range(5)]
    assert sum(each[EXPERIENCE] is Answer.NO for each in found) <= 1
    assert sum(each[OTHER_TASK] is Answer.NO for each in found) <= 1


def test_the_effect_of_a_rule_is_the_planted_difference(problem: Problem) -> None:
    """Near a trial intervals of 90 % hold the truth in most cases, give or take a training's noise.

    Errors of one seed go together: they are those of one surface.
    """
    planted = Planted(widths=WIDTHS, truth=peak, noise=0.005)
    held = []
    for seed in range(6):
        evidence = replace(planted.evidence(seed), problem=problem)
        recommendation = recommendation_of(evidence)
        assert recommendation is not None
        rules = judge_rules(evidence, recommendation)
        assert rules is not None
        best = peak(recommendation.recommended.widths)
        for rule in rules.rules:
            if not rule.extrapolated:
                difference = peak(rule.widths) - best
                low, high = rule.effect.low - 0.005, rule.effect.high + 0.005
                held.append(low <= difference <= high)
    assert len(held) > 15
    assert np.mean(held) >= 0.8


def test_what_is_far_from_every_trial_is_called_extrapolated(problem: Problem) -> None:
    planted = Planted(widths=WIDTHS, truth=peak, noise=0.005)
    rules, evidence = judged(planted, 0, problem)
    for rule in (*rules.rules, *rules.published):
        ratios = [
            max(
                max(rule.widths[name] / width, width / rule.widths[name])
                for name, width in trial.widths.items()
            )
            for trial in evidence.trials
        ]
        assert rule.extrapolated == (min(ratios) > 2)


def test_every_rule_is_taken_to_what_keeps_the_limits(problem: Problem) -> None:
    planted = Planted(widths=WIDTHS, truth=peak, noise=0.005, limits={"parameters": 8000})
    rules, evidence = judged(planted, 0, problem)
    assert evidence.feasible is not None
    for rule in (*rules.rules, *rules.published):
        row = evidence.space.as_row(rule.widths)
        assert evidence.feasible.is_feasible(row[None, :])[0]
    names = {rule.rule for rule in rules.rules}
    assert {"input size × 1–3", "output size × 2–10", "samples / 100"} <= names
    by_rule = {rule.rule: rule for rule in rules.rules}
    # 64 inputs: the geometric middle of 64 and 192.
    assert by_rule["input size × 1–3"].asked == {"hidden1": 111, "hidden2": 111}
    bert = next(rule for rule in rules.published if rule.rule == "BERT-base")
    assert bert.asked == {"hidden1": 768, "hidden2": 768}


def test_json_and_words(problem: Problem) -> None:
    rules, _ = judged(Planted(widths=WIDTHS, truth=peak, noise=0.005), 0, problem)
    answer = json.loads(json.dumps(rules.to_json(), allow_nan=False))
    assert [belief["claim"] for belief in answer["misconceptions"]] == [
        MORE,
        EQUAL,
        OTHER_TASK,
        EXPERIENCE,
    ]
    assert answer["rules"][0]["low"] <= answer["rules"][0]["gain"] <= answer["rules"][0]["high"]
    assert answer["sentences"][0].startswith("“More is always better”: no. The largest that fits")
    assert all(sentence.endswith(".") for sentence in answer["sentences"])


def test_what_a_rule_and_the_search_agree_on_is_said(problem: Problem) -> None:
    """On a slope the largest is the recommended one, and what published widths are taken to."""
    planted = Planted(widths=WIDTHS, truth=rising, noise=0.002)
    rules, _ = judged(planted, 0, problem)
    assert rules.misconceptions[0].text == "The largest that fits is the recommended one itself."
    bert = next(rule for rule in rules.published if rule.rule == "BERT-base")
    assert bert.describe() == "as good: it is the recommended candidate itself"
    assert (bert.effect.low, bert.effect.high) == (0, 0)


def test_a_metric_that_is_minimised(problem: Problem) -> None:
    planted = Planted(
        widths=WIDTHS,
        truth=lambda widths: -peak(widths),
        noise=0.005,
        direction="minimize",
    )
    assert answers(judged(planted, 0, problem)[0])[MORE] is Answer.NO


def test_without_a_surrogate_or_anything_learnt_there_is_nothing_to_judge() -> None:
    few = Planted(widths=WIDTHS, truth=peak, trials=3).evidence(0)
    assert judge_rules(few, recommendation_of(few)) is None
    assert judge_rules(few, None) is None
    useless = Planted(
        widths=WIDTHS, truth=flat, result=lambda _, __: {"no_better_than_constant": True}
    ).evidence(0)
    assert judge_rules(useless, recommendation_of(useless)) is None


def test_a_single_layer_and_a_model_of_ones_own() -> None:
    planted = Planted(
        widths={"size": {"low": 8, "high": 256, "step": 8}},
        truth=lambda widths: -abs(float(np.log2(widths["size"] / 64))) / 50,
        model={"build": "mine.py:build"},
        trials=20,
    )
    evidence = planted.evidence(0)
    rules = judge_rules(evidence, recommendation_of(evidence))
    assert rules is not None
    found = answers(rules)
    assert found[EQUAL] is Answer.NOT_ASKED
    assert found[EXPERIENCE] is Answer.NOT_ASKED  # which layer a width is of is not known
    assert rules.published


def test_all_networks_with_equal_layers_are_compared_in_a_space_too_large_to_be_listed() -> None:
    """Equal layers are as good, at 144: a draw from 64^4 candidates holds next to none of them."""
    best = {"h0": 152, "h1": 136, "h2": 152, "h3": 136}
    planted = Planted(
        widths={f"h{layer}": {"low": 8, "high": 512, "step": 8} for layer in range(4)},
        truth=lambda widths: (
            0.9 - 0.02 * sum(float(np.log2(widths[name] / best[name])) ** 2 for name in best)
        ),
        model={"build": "mine.py:build"},
        noise=0.001,
        trials=60,
    )
    evidence = planted.evidence(0)
    answer = recommendation_of(evidence)
    assert len(set(answer.recommended.widths.values())) > 1
    rules = judge_rules(evidence, answer)
    assert rules is not None
    (equal,) = [belief for belief in rules.misconceptions if belief.claim == EQUAL]
    assert equal.answer is not Answer.NO
    assert "8/8/8/8" not in equal.text


def test_a_study_that_was_stopped_as_untrained_judges_no_rule(problem: Problem) -> None:
    evidence = Planted(widths=WIDTHS, truth=peak).evidence(0)
    evidence = replace(evidence, problem=problem, untrained_reason="Nothing is learned.")
    assert judge_rules(evidence, recommendation_of(evidence)) is None
