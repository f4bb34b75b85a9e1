"""An overfit is called so, a good training is not; underfit and too short are told apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from widthwise.search.report.diagnosis.fitting import (
    Fitting,
    FittingDiagnosis,
    diagnose_fitting,
    judge_curves,
)
from widthwise.search.report.reference import Reference
from widthwise.search.sampler.origin import SAMPLER
from widthwise.search.trial.history import CompletedTrial
from widthwise.tests.search.report.diagnosis.planted import Planted, make_evidence

EPOCHS = 120
Curves = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


def noisy(values: np.ndarray, rng: np.random.Generator, noise: float = 0.05) -> np.ndarray:
    return np.asarray(values * np.exp(rng.normal(0, noise, len(values))))


def times() -> np.ndarray:
    return np.linspace(0, 1, EPOCHS)


def overfit(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Learning by heart: validation loss turns at a third, training loss goes on to fall."""
    t = times()
    return noisy(0.05 + 2 * np.exp(-6 * t), rng, 0.02), noisy(
        0.5 + 1.5 * np.exp(-10 * t) + 0.5 * np.maximum(t - 0.3, 0), rng
    )


def gap(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """No turn, but a plateau of validation at twice the training loss."""
    t = times()
    return noisy(0.3 + 1.7 * np.exp(-8 * t), rng, 0.02), noisy(0.6 + 1.4 * np.exp(-8 * t), rng)


def good(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    t = times()
    return noisy(0.40 + 1.6 * np.exp(-8 * t), rng, 0.02), noisy(0.44 + 1.5 * np.exp(-8 * t), rng)


def nothing_left(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Validation loss is six times the training loss, and both are next to nothing."""
    t = times()
    return noisy(0.001 + 2 * np.exp(-12 * t), rng), noisy(0.006 + 2 * np.exp(-12 * t), rng)


def with_dropout(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Dropout raises the training loss above the validation loss."""
    t = times()
    return noisy(0.6 + 1.4 * np.exp(-8 * t), rng, 0.02), noisy(0.4 + 1.5 * np.exp(-8 * t), rng)


def short(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    t = times()
    return noisy(2 - 1.2 * t, rng, 0.005), noisy(2.05 - 1.2 * t, rng, 0.005)


def planted(curves: Curves, **result: Any) -> Planted:
    def report(_: Mapping[str, int], rng: np.random.Generator) -> Mapping[str, Any]:
        losses, validation_losses = curves(rng)
        return {
            "losses": losses.tolist(),
            "validation_losses": validation_losses.tolist(),
            "constant_score": 0.1,
            **result,
        }

    return Planted(
        widths={"h1": {"low": 16, "high": 128, "step": 16}},
        truth=lambda _: 0.9,
        trials=8,
        result=report,
    )


def diagnose(study: Planted, seed: int, **options: Any) -> FittingDiagnosis:
    evidence = study.evidence(seed)
    return diagnose_fitting(
        evidence,
        evidence.trials[0],
        **{"is_recommended": True, "rows": None, "parameters": None, **options},
    )


@pytest.mark.parametrize("curves", [overfit, gap], ids=["rise", "gap"])
def test_a_planted_overfit_is_called_so(curves: Curves) -> None:
    found = [diagnose(planted(curves), seed) for seed in range(20)]
    assert sum(each.fitting == Fitting.OVERFIT for each in found) >= 19
    assert found[0].sentence().startswith("The recommended network overfits: ")
    assert "widthwise refine planted" in found[0].sentence()


@pytest.mark.parametrize("curves", [good, nothing_left, with_dropout])
def test_a_good_training_is_not_called_overfit(curves: Curves) -> None:
    found = [diagnose(planted(curves), seed) for seed in range(20)]
    assert sum(each.fitting == Fitting.GOOD for each in found) >= 19
    assert "neither over- nor underfitting" in found[0].sentence()


def test_a_training_that_still_gets_better_was_too_short() -> None:
    found = [diagnose(planted(short), seed).fitting for seed in range(20)]
    assert found.count(Fitting.TOO_SHORT) >= 19


def test_the_rules_name_their_reason() -> None:
    rise, no_rise = diagnose(planted(overfit), 0), diagnose(planted(gap), 0)
    assert rise.findings is not None
    assert no_rise.findings is not None
    assert rise.findings.rises
    assert "validation loss rose by" in rise.sentence()
    assert no_rise.findings.gap
    assert not no_rise.findings.rises
    assert "times its training loss (the rule: over 1.5)" in no_rise.sentence()


def test_high_losses_are_underfitting_only_where_another_model_saw_more() -> None:
    evidence = planted(good, constant_score=0.86).evidence(0)
    trial = evidence.trials[0]
    options = {"is_recommended": True, "rows": None, "parameters": None}
    references = [
        Reference(name="constant", value=0.86, test=None),
        Reference(name="trees", value=0.95, test=None),
    ]
    low = replace(trial, value=0.87)
    seen = make_evidence(evidence.spec, evidence.records, None, references=references)
    found = diagnose_fitting(seen, low, **options)  # type: ignore[arg-type]
    assert found.fitting == Fitting.UNDERFIT
    assert found.learnt == pytest.approx(0.01 / 0.14)
    assert "7% of the way" in found.sentence()
    alone = diagnose_fitting(evidence, low, **options)  # type: ignore[arg-type]
    assert alone.fitting == Fitting.GOOD, "the data may tell no more"


def test_larger_networks_that_overfit_more_are_told() -> None:
    def report(widths: Mapping[str, int], rng: np.random.Generator) -> Mapping[str, Any]:
        losses, validation = good(rng)
        return {
            "losses": losses.tolist(),
            "validation_losses": (validation * (1 + widths["h1"] / 128)).tolist(),
        }

    study = replace(
        planted(good),
        widths={"h1": {"low": 16, "high": 512, "step": 16}},
        trials=30,
        result=report,
    )
    found = diagnose(study, 0)
    assert found.trend is not None
    assert found.trend > 0.8
    assert "larger ones more so" in found.sentences()[1]
    assert diagnose(replace(study, result=planted(good).result), 0).trend is None


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (1_000, "1 training rows per parameter (1,000): fewer than 10"),
        (50_000, "50 training rows per parameter (1,000): between 10 and 100"),
        (200_000, "2e+02 training rows per parameter (1,000): over 100"),
    ],
)
def test_samples_per_parameter_are_told_beside_the_curves(rows: int, words: str) -> None:
    found = diagnose(planted(good), 0, rows=rows, parameters=1_000)
    sentence = found.sentences()[-1]
    assert sentence.startswith(words)
    assert ("no overfitting all the same" in sentence) == (rows == 1_000)


def trial(losses: list[float], validation_losses: list[float], **fields: Any) -> CompletedTrial:
    return CompletedTrial(
        number=0,
        widths={"h1": 16},
        origin=SAMPLER,
        value=0.9,
        test=None,
        costs={},
        seed=0,
        losses=losses,
        validation_losses=validation_losses,
        **fields,
    )


def test_losses_without_a_ratio_leave_the_first_rule_silent() -> None:
    findings = judge_curves(trial([-1.0] * 20, [-0.5] * 20))
    assert findings is not None
    assert (findings.ratio, findings.gap, findings.rises) == (None, False, False)


def test_few_validations_tell_no_rise() -> None:
    findings = judge_curves(trial([1.0, 0.5, 0.1], [1.0, 1.5, 3.0]))
    assert findings is not None
    assert (findings.rise, findings.rises, findings.still_falling) == (None, False, False)
    assert judge_curves(trial([], [])) is None


def test_the_kept_weights_decide_where_there_is_one_training_and_the_mean_where_several() -> None:
    validation = [*np.linspace(2, 0.5, 50), *np.linspace(0.5, 1.5, 50)]
    losses = list(np.linspace(2, 0.01, 100))
    early = judge_curves(trial(losses, validation, best_epoch=10))
    folds = judge_curves(trial(losses, validation, best_epoch=10, spread=0.01))
    assert early is not None
    assert folds is not None
    assert early.ratio is not None
    assert folds.ratio is not None
    assert early.ratio == pytest.approx(1.0, abs=0.2)
    assert folds.ratio == pytest.approx(0.5 / 1.0, abs=0.1)


def test_json_is_plain() -> None:
    values = diagnose(planted(overfit), 0, rows=1_000, parameters=500).to_json()
    assert values == json.loads(json.dumps(values, allow_nan=False))
    assert values["fitting"] == "overfit"
    assert values["samples_per_parameter"] == 2.0
    empty = diagnose(replace(planted(good), result=lambda _w, _r: {}), 0)
    assert empty.fitting == Fitting.UNKNOWN
    assert empty.to_json()["curves"] is None
    assert "no training has curves that tell" in empty.sentence()


def test_a_training_of_the_confirmation_is_judged_by_its_own_curves() -> None:
    """Its number is that of a slot elsewhere: here of a trial that does not overfit."""
    evidence = planted(good).evidence(0)
    confirmed = planted(overfit).evidence(0).trials[0]
    assert confirmed.number == evidence.trials[0].number
    found = diagnose_fitting(evidence, confirmed, is_recommended=True, rows=None, parameters=None)
    assert found.fitting is Fitting.OVERFIT
    missing = diagnose_fitting(
        evidence, replace(confirmed, number=999), is_recommended=True, rows=None, parameters=None
    )
    assert missing.fitting is Fitting.OVERFIT
