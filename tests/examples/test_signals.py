"""The recurrent classifier of waveforms, against a linear model of the same samples."""

from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from .command import best_trial, load_example, run_example


@pytest.mark.slow
def test_it_tells_waveforms_apart_where_a_linear_model_cannot(tmp_path: Path) -> None:
    x, kinds = load_example("signals").load()
    linear = cross_val_score(LogisticRegression(), x, kinds, cv=3).mean()
    best = best_trial(run_example("signals", tmp_path, trials=1))
    assert linear < 0.6
    assert best["metric"]["value"] > 0.9
