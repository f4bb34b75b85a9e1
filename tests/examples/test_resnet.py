"""The residual network on digits, against a linear model of the same pixels."""

from pathlib import Path

import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from .command import best_trial, run_example


@pytest.mark.slow
def test_it_reads_digits_as_well_as_a_linear_model(tmp_path: Path) -> None:
    x, y = load_digits(return_X_y=True)
    linear = cross_val_score(LogisticRegression(max_iter=200), x[::3] / 16, y[::3], cv=3).mean()
    best = best_trial(run_example("resnet", tmp_path, trials=1))
    assert best["metric"]["value"] > linear - 0.02
