"""How far short trainings can be trusted, on planted rankings."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from widthwise.search.report.confirmation.comparison import RaceRules
from widthwise.search.report.confirmation.proxy_fidelity import ProxyFidelity, judge_proxy
from widthwise.tests.search.report.confirmation.confirmation_inputs import (
    contender,
    evidence,
    trainings,
)

FIELD = [contender(f"spread out {n}", 10 * (n + 1)) for n in range(8)]
LONG = np.linspace(0.80, 0.94, 8)


def judge(
    short: Any, *, long_noise: float = 0.002, noise: float | None = None, late: bool = False
) -> ProxyFidelity:
    rng = np.random.default_rng(3)
    trials = [
        SimpleNamespace(
            widths=item.widths,
            value=float(value),
            best_epoch=9 if late else 4,
            curve=[0.1] * 10,
        )
        for item, value in zip(FIELD, short, strict=False)
    ]
    runs = [
        run
        for item, mean in zip(FIELD, LONG, strict=True)
        for run in trainings(item, list(mean + rng.normal(0, long_noise, size=5)))
    ]
    posterior = None
    if noise is not None:
        posterior = SimpleNamespace(metric=SimpleNamespace(noise_deviation=noise))
    study = evidence(trials=trials, posterior=posterior)
    result = judge_proxy(FIELD, runs, study, rules=RaceRules())
    assert result is not None
    return result


def test_a_faithful_proxy_needs_no_advice():
    fidelity = judge(LONG - 0.05)
    assert fidelity.tau == pytest.approx(1.0)
    assert fidelity.low > 0.5
    assert fidelity.in_order == fidelity.told_apart > 20
    assert not fidelity.is_low
    assert fidelity.advice == ""


def test_tau_and_its_interval_are_as_published():
    short = LONG[[1, 0, 3, 2, 5, 4, 7, 6]]
    fidelity = judge(short, long_noise=0.0005)
    tau = stats.kendalltau(short, LONG).statistic
    half_width = 1.96 * math.sqrt(0.437 / 4)
    assert fidelity.tau == pytest.approx(tau)
    half_step = 2 / (8 * 7)
    assert fidelity.low == pytest.approx(math.tanh(math.atanh(tau - half_step) - half_width))
    assert fidelity.high == pytest.approx(math.tanh(math.atanh(tau + half_step) + half_width))


def test_the_interval_holds_a_high_tau_as_often_as_stated():
    """A true τ of 2 / π arcsin 0.99 = 0.91 (Kendall), where most samples are in order."""
    rng, tau, held = np.random.default_rng(2), 2 / math.pi * math.asin(0.99), 0
    for _ in range(200):
        long = rng.normal(size=8)
        short = 0.99 * long + math.sqrt(1 - 0.99**2) * rng.normal(size=8)
        trials = [
            SimpleNamespace(widths=item.widths, value=value, best_epoch=None, curve=())
            for item, value in zip(FIELD, short.tolist(), strict=True)
        ]
        runs = [
            run
            for item, value in zip(FIELD, long.tolist(), strict=True)
            for run in trainings(item, [value] * 2)
        ]
        fidelity = judge_proxy(FIELD, runs, evidence(trials=trials), rules=RaceRules())
        assert fidelity is not None
        held += fidelity.low <= tau <= fidelity.high
    assert held / 200 >= 0.95 - 3 * (0.05 * 0.95 / 200) ** 0.5


def test_noisy_short_trainings_are_to_be_averaged():
    fidelity = judge(LONG[::-1], noise=0.1)
    assert fidelity.is_low
    assert "replicas = 3" in fidelity.advice


def test_trainings_that_were_cut_short_are_to_be_longer():
    fidelity = judge(LONG[::-1], noise=0.001, late=True)
    assert "train longer" in fidelity.advice


def test_else_the_learning_rate_is_looked_at():
    assert "learning rate" in judge(LONG[::-1], noise=0.001).advice


def test_where_long_trainings_tell_nothing_apart_the_short_ones_are_not_blamed():
    fidelity = judge(LONG[::-1], long_noise=1.0)
    assert not fidelity.is_low
    assert "do not tell them apart" in " ".join(fidelity.sentences())


def test_few_candidates_say_little():
    fidelity = judge(LONG[:3])
    assert (fidelity.low, fidelity.high) == (-1.0, 1.0)
    assert "95 %" not in fidelity.sentences()[0]
    assert "With 3 candidates that says little" in fidelity.sentences()[0]
    assert "95 %" not in fidelity.sentences()[0]


def test_a_single_pair_is_told_in_words():
    assert "one pair apart; the short ones have it in the same order" in str(
        judge(LONG[:2]).sentences()
    )


def test_without_a_common_candidate_nothing_can_be_compared():
    fidelity = judge([])
    assert fidelity.tau is None
    assert "none of the confirmed candidates" in fidelity.sentences()[0]
    assert fidelity.to_json()["tau"] is None


def test_without_a_confirmation_there_is_none():
    assert judge_proxy(FIELD, [], evidence(), rules=RaceRules()) is None
