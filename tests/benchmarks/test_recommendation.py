"""The benchmark of the recommendation: its figures mean what they say."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recommendation.__main__ import main, run_seed
from benchmarks.recommendation.figures import summarise
from benchmarks.recommendation.replay import Judged


@pytest.fixture
def table_path(tmp_path: Path) -> Path:
    """Every combination of two widths; quality peaks inside, cost is their product."""
    widths = np.array(list(product([4, 8, 16, 32, 64], repeat=2)))
    truth = -((np.log2(widths) - [4.0, 3.0]) ** 2).sum(axis=1)
    runs = truth[:, None] + np.random.default_rng(0).normal(0, 0.05, (len(widths), 3))
    path = tmp_path / "made.npz"
    np.savez(path, widths=widths, accuracy=runs, flops=widths.prod(axis=1))
    return path


def test_the_command_writes_what_the_seeds_gave(
    table_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.recommendation.__main__.DIGITS", table_path)
    out = tmp_path / "out.json"
    assert main(["--percentiles", "60", "--seeds", "3", "--trials", "8", "--json", str(out)]) == 0
    figures = json.loads(out.read_text())["made, 60th"]
    assert list(figures) == ["4", "8"]
    entry = figures["8"]
    assert entry["seeds"] == 3
    assert entry["over_optimum"]["mean"] <= 0
    assert entry["over_largest"]["mean"] > 0
    assert 0 <= entry["over_best_observed"]["p"] <= 1
    assert sum(entry["verdicts"].values()) == 3


def test_truth_is_told_by_the_runs_that_the_search_did_not_see(table_path: Path) -> None:
    runs = np.load(table_path)["accuracy"]
    for seed in (0, 1):
        judged = run_seed(
            seed,
            path=table_path,
            metric="accuracy",
            cost="flops",
            percentile=100.0,
            counts=[8],
        )
        unseen = np.delete(runs, seed, axis=1).mean(axis=1)
        assert judged[0].optimum == pytest.approx(unseen.max())
        assert judged[0].largest == pytest.approx(unseen[-1])
        assert judged[0].recommended in unseen


def test_the_paired_test_sees_a_small_steady_gain() -> None:
    rng = np.random.default_rng(0)

    def judged(seed: int) -> Judged:
        base = float(rng.normal(90, 5))
        return Judged(
            count=10,
            recommended=base + 0.1,
            best_observed=base,
            largest=base + 0.1,
            best_baseline=base,
            optimum=base + 1,
            is_trained=True,
            is_within=True,
            verdict="gain",
            more_trainings=None,
        )

    entry = summarise([[judged(seed)] for seed in range(20)])["10"]
    assert entry["over_best_observed"]["mean"] == pytest.approx(0.1)
    assert entry["over_best_observed"]["p"] < 0.001
    assert entry["over_largest"]["p"] == 1.0
    assert entry["true_gain_by_verdict"] == {"gain": pytest.approx(0.1)}


def test_a_table_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--table", "nowhere.npz", "--seeds", "0"]) == 2
    assert "nowhere.npz" in capsys.readouterr().err
