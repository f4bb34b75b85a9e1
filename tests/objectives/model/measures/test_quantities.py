"""Measures of quantities against scikit-learn and scipy."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sklearn_metrics
from widthwise.objectives.errors import MetricError
from widthwise.objectives.model.metrics import METRICS

DRAW = torch.Generator().manual_seed(4)
TARGETS = torch.randn(60, 2, generator=DRAW, dtype=torch.float64)
OUTPUT = TARGETS + torch.randn(60, 2, generator=DRAW, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("mape", sklearn_metrics.mean_absolute_percentage_error),
        ("explained_variance", sklearn_metrics.explained_variance_score),
        ("pearson", lambda y, p: np.mean([stats.pearsonr(y[:, k], p[:, k])[0] for k in (0, 1)])),
        ("spearman", lambda y, p: np.mean([stats.spearmanr(y[:, k], p[:, k])[0] for k in (0, 1)])),
    ],
)
def test_figures_agree(name: str, function: object) -> None:
    expected = function(TARGETS.numpy(), OUTPUT.numpy())  # type: ignore[operator]
    assert METRICS[name](OUTPUT, TARGETS) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_constant_goes_with_nothing(name: str) -> None:
    assert METRICS[name](torch.ones(5), torch.arange(5.0)) == 0.0


def test_r2_of_targets_of_several_lengths_is_refused() -> None:
    accumulator = METRICS["r2"].start()
    accumulator.update(torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(MetricError, match="pad them to one length, or take mse"):
        accumulator.update(torch.ones(2, 4), torch.ones(2, 4))
