"""The best at each size follows the planted law, though most trainings are far below it."""

from __future__ import annotations

import json

import numpy as np
from widthwise.search.report.diagnosis.power_law import NoLaw, PowerLaw
from widthwise.search.report.diagnosis.returns import Returns, diagnose_returns
from widthwise.search.report.diagnosis.surface import make_surface
from widthwise.tests.search.report.diagnosis.planted import Planted, best_widths, mlp_costs

RANGE = {"low": 16, "high": 512, "step": 16}
COSTS = mlp_costs(64, 10)
EXPONENT, AMPLITUDE, BEND = 0.5, 0.1, 0.01


def size_of(widths: dict[str, int]) -> float:
    return float(COSTS(np.array([list(widths.values())]))["parameters"][0])


def truth(widths: dict[str, int]) -> float:
    """A law of the size, less what uneven widths lose: even ones are the best of each size."""
    uneven = np.log2(np.array(list(widths.values()), dtype=float)).var()
    return float(0.95 - AMPLITUDE * (size_of(widths) / 2000) ** -EXPONENT - BEND * uneven)


PLANTED = Planted(
    widths={"h1": RANGE, "h2": RANGE, "h3": RANGE},
    truth=truth,  # type: ignore[arg-type]
    trials=60,
    limits={"parameters": 100_000},
)


def diagnose(planted: Planted, seed: int) -> Returns:
    evidence = planted.evidence(seed)
    surface = make_surface(evidence, best_widths(evidence))
    assert surface is not None
    found = diagnose_returns(evidence, surface, "parameters")
    assert found is not None
    return found


def test_a_planted_law_is_within_its_interval() -> None:
    exponents, gains = [], []
    for seed in range(20):
        found = diagnose(PLANTED, seed)
        assert isinstance(found.law, PowerLaw), found.law
        assert found.doubling is not None
        exponent = found.law.exponent
        gain = AMPLITUDE * (found.size / 2000) ** -EXPONENT * (1 - 2**-EXPONENT)
        exponents.append(exponent.low <= EXPONENT <= exponent.high)
        gains.append(found.doubling.low <= gain <= found.doubling.high)
    assert sum(exponents) >= 18
    assert sum(gains) >= 17, "of intervals of 90 %; of 200 seeds 88 % hold"


def test_its_words_and_its_json() -> None:
    found = diagnose(PLANTED, 1)
    values = found.to_json()
    assert values == json.loads(json.dumps(values, allow_nan=False))
    assert values["law"]["limit_of_metric"]["low"] < 0.95 < values["law"]["limit_of_metric"]["high"]
    assert found.sentence().startswith("Twice the parameters would bring +")
    assert "the noise of one training (± 0.00" in found.sentence()


def test_where_size_does_not_matter_no_law_is_told() -> None:
    flat = Planted(
        widths=PLANTED.widths, truth=lambda _: 0.9, trials=60, limits={"parameters": 100_000}
    )
    found = [diagnose(flat, seed) for seed in range(20)]
    refused = [each for each in found if isinstance(each.law, NoLaw)]
    assert len(refused) >= 18
    assert refused[0].to_json()["law"] is None
    assert refused[0].sentence().startswith("Returns of parameters: no power law is told; ")


def test_a_lower_metric_gets_better_by_the_same_law() -> None:
    lower = Planted(
        widths=PLANTED.widths,
        truth=lambda w: -truth(w),  # type: ignore[arg-type]
        trials=60,
        limits={"parameters": 100_000},
        proxy={"data": "diabetes", "metric": "rmse"},
        direction="minimize",
    )
    found, mirrored = diagnose(lower, 2), diagnose(PLANTED, 2)
    assert found.doubling is not None
    assert mirrored.doubling is not None
    assert found.doubling.value > 0
    assert found.to_json()["law"]["limit_of_metric"]["value"] < -0.9
