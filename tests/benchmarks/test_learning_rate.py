"""The learning-rate benchmark: figures that mean what they say, JSON of the promised form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.learning_rate import __main__ as command
from benchmarks.learning_rate.figures import noise_ceiling, optima, taus, taus_of_means
from benchmarks.learning_rate.signals import CLASSES, SIGNAL_LENGTH, signals
from benchmarks.learning_rate.sweep import FULL, QUICK


def quadratic_losses(best: list[float], rates: range, seeds: int = 3) -> np.ndarray:
    """Losses whose best rates are given, and lower at each further width; the seeds agree."""
    rows = [(np.array(rates) - at) ** 2 - number for number, at in enumerate(best)]
    return np.repeat(np.stack(rows)[:, :, None], seeds, axis=2)


def test_the_best_rate_lies_between_those_tried() -> None:
    losses = quadratic_losses([-6.25, -5.0, -7.5], range(-9, -2))
    assert optima(losses, range(-9, -2)) == pytest.approx([-6.25, -5.0, -7.5])


def test_a_best_rate_at_the_end_is_that_rate() -> None:
    losses = quadratic_losses([-20.0, 3.0], range(-9, -2))
    assert optima(losses, range(-9, -2)) == [-9.0, -3.0]


def test_a_rate_that_fits_all_widths_ranks_them_and_one_that_does_not_ranks_them_wrong() -> None:
    assert taus(quadratic_losses([-6.0] * 5, range(-9, -2))) == pytest.approx([1.0] * 7)
    drifting = taus(quadratic_losses([-5.0, -6.0, -7.0, -8.0], range(-9, -2)))
    assert drifting[0] == pytest.approx(1.0)
    assert drifting[-1] == pytest.approx(-1.0)


def test_noise_lowers_the_tau_of_single_trainings_not_what_the_rate_is_blamed_for() -> None:
    losses = quadratic_losses([-6.0] * 5, range(-9, -2))
    noisy = losses + np.random.default_rng(0).normal(0, 2, (5, 1, 3))
    assert noise_ceiling(losses) == pytest.approx(1.0)
    assert noise_ceiling(noisy) == pytest.approx(taus(noisy)[3])
    assert noise_ceiling(noisy) < 1
    assert taus_of_means(noisy) == pytest.approx([1.0] * 7)


def test_a_rate_at_which_all_burst_ranks_nothing() -> None:
    losses = quadratic_losses([-6.0] * 5, range(-9, -2))
    losses[:, -1] = 2.3
    assert taus(losses)[-1] == 0.0


def test_signals_are_of_ten_classes_and_hard_for_a_linear_model() -> None:
    data = signals(1500, 500, seed=0)
    assert data.input_shape == (SIGNAL_LENGTH,)
    assert data.train.targets.unique().numel() == data.outputs == CLASSES
    assert 0.8 < float(data.train.inputs.std()) < 2
    inputs = torch.cat([data.train.inputs, torch.ones(1500, 1)], dim=1)
    expected = torch.nn.functional.one_hot(data.train.targets, CLASSES).float()
    weights = torch.linalg.lstsq(inputs, expected).solution
    actual = (torch.cat([data.validation.inputs, torch.ones(500, 1)], dim=1) @ weights).argmax(1)
    assert 0.1 < float((actual == data.validation.targets).float().mean()) < 0.5


def test_signals_repeat_themselves() -> None:
    first, second, other = (signals(20, 10, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert not torch.equal(first.train.inputs, other.train.inputs)


def test_the_json_has_the_promised_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = replace(QUICK, widths=(64, 128), rates=(-8, -7, -6), rows=200, validation=100, epochs=1)
    monkeypatch.setattr(command, "QUICK", tiny)
    out = tmp_path / "out.json"
    assert command.main(["--quick", "--json", str(out)]) == 0
    payload = json.loads(out.read_text())
    for kind in ("standard", "mup"):
        assert set(payload[kind]["optimum_log2"]) == set(payload[kind]["loss"]) == {"64", "128"}
        assert set(payload[kind]["tau"]) == {"-8", "-7", "-6"}
        assert set(payload[kind]["tau_of_means"]) == {"-8", "-7", "-6"}
        assert -1 <= payload[kind]["tau_ceiling"] <= 1
        assert payload[kind]["drift_octaves"] >= 0
    # 64 is the base: there both are the same training.
    assert payload["standard"]["loss"]["64"] == payload["mup"]["loss"]["64"]
    assert payload["plan"]["base"] == 64
    assert "octaves" in capsys.readouterr().out


def test_the_full_plan_spans_what_is_asked() -> None:
    assert (FULL.widths[0], FULL.widths[-1]) == (16, 1024)
    assert -6 in FULL.rates
    assert -6 in QUICK.rates
