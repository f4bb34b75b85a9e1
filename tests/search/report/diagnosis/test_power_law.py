"""Planted laws are within their intervals; what is no law is refused with a reason."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit
from widthwise.search.report.diagnosis.power_law import NoLaw, PowerLaw, fit_power_law

NOISE = 0.004


def planted(
    seed: int, exponent: float = 0.5, amplitude: float = 0.1, count: int = 40, octaves: float = 5.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = 1000 * 2 ** rng.uniform(0, octaves, count)
    return sizes, 0.95 - amplitude * (sizes / 1000) ** -exponent + rng.normal(0, NOISE, count)


def fitted(seed: int, **law: float) -> PowerLaw:
    found = fit_power_law(*planted(seed, **law))  # type: ignore[arg-type]
    assert isinstance(found, PowerLaw), found
    return found


@pytest.mark.parametrize("exponent", [0.3, 0.5, 1.0])
def test_a_planted_law_is_within_its_interval(exponent: float) -> None:
    held = []
    for seed in range(20):
        found = fitted(seed, exponent=exponent)
        assert found.exponent.low <= found.exponent.value <= found.exponent.high
        held.append(found.exponent.low <= exponent <= found.exponent.high)
    assert sum(held) >= 18


@pytest.mark.slow
def test_intervals_hold_the_truth_nine_times_in_ten() -> None:
    held = np.zeros(3)
    laws = 0
    for seed in range(300):
        found = fit_power_law(*planted(seed))
        if isinstance(found, NoLaw):
            continue
        laws += 1
        truths = (0.95, 0.1 * 32**-0.5 * (1 - 2**-0.5), 0.95 - 0.1 * 64**-0.5)
        figures = (found.ceiling, found.gain(32_000, 2.0), found.quality(64_000))
        held += [
            each.low <= truth <= each.high for each, truth in zip(figures, truths, strict=True)
        ]
    assert laws >= 297, "a test at 0.1 % refutes a true law once in a while"
    assert (held / laws > 0.86).all()
    assert (held / laws < 0.95).all()


def test_the_estimate_is_that_of_scipy() -> None:
    sizes, values = planted(0)

    def law(n: np.ndarray, ceiling: float, amplitude: float, exponent: float) -> np.ndarray:
        return ceiling - amplitude * (n / 1000) ** -exponent

    (ceiling, _, exponent), _ = curve_fit(law, sizes, values, p0=(0.9, 0.1, 0.5))
    found = fitted(0)
    assert found.ceiling.value == pytest.approx(ceiling, abs=1e-3)
    assert found.exponent.value == pytest.approx(exponent, rel=0.02)


def test_uncertain_qualities_widen_the_intervals() -> None:
    sizes, values = planted(0)
    shifts = np.random.default_rng(1).normal(0, 0.02, (20, 1)) * np.log2(sizes / sizes.min())
    plain, doubtful = fitted(0), fit_power_law(sizes, values, draws=values + shifts * 0.2)
    assert isinstance(doubtful, PowerLaw)
    widths = [
        each.gain(32_000, 2.0).high - each.gain(32_000, 2.0).low for each in (plain, doubtful)
    ]
    assert widths[1] > 1.3 * widths[0]


def test_where_doubling_stops_paying() -> None:
    truth = 1000 * 0.1 * (1 - 2**-1) / NOISE
    held = []
    for seed in range(20):
        found = fitted(seed, exponent=1.0)
        until = found.pays_until(NOISE)
        step = 2**0.25  # sizes are tried a quarter of an octave apart
        held.append(until.low / step <= truth <= until.high)
    assert sum(held) >= 18
    assert found.pays_until(1.0).value == pytest.approx(found.sizes.min())
    assert found.pays_until(1e-9).high == float("inf")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param(lambda n: 0.9 + 0 * n, "does not rise with", id="constant"),
        pytest.param(lambda n: 0.9 - 0.02 * np.log2(n / 1000), "does not rise with", id="falling"),
        pytest.param(
            lambda n: 0.9 - 0.02 * (np.log2(n / 1000) - 3.5) ** 2,
            "does not follow a power law",
            id="up and down",
        ),
    ],
)
def test_what_is_no_law_is_refused(values: object, reason: str) -> None:
    refused = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sizes = 1000 * 2 ** rng.uniform(0, 5, 40)
        qualities = values(sizes) + rng.normal(0, NOISE, 40)  # type: ignore[operator]
        found = fit_power_law(sizes, qualities, what="parameters")
        refused += isinstance(found, NoLaw) and reason in found.reason
    assert refused >= 18


@pytest.mark.parametrize(
    ("count", "octaves", "reason"),
    [(7, 5.0, "7 trainings at 7 values"), (40, 1.0, "span a factor of")],
    ids=["too few", "too close"],
)
def test_too_little_is_no_law(count: int, octaves: float, reason: str) -> None:
    found = fit_power_law(*planted(0, count=count, octaves=octaves))
    assert isinstance(found, NoLaw)
    assert reason in found.reason
    few = fit_power_law(np.repeat([1e3, 1e4, 1e5], 5), np.arange(15.0))
    assert isinstance(few, NoLaw)
    assert "at 3 values of size" in few.reason
