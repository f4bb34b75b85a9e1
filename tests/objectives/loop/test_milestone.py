"""Milestones: rungs within an epoch, and none changes a figure of the training."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.training.settings import Halving
from widthwise.tests.objectives.loop.together import (
    HALVING_SETTINGS,
    MLP,
    SHORT_SETTINGS,
    WidthAsMetric,
    custom_objective,
    make_candidates,
    train_results,
    width_objective,
)


def test_rungs_within_the_first_epoch_go_by_the_share_of_the_data() -> None:
    observed: list[int] = []

    class Counting(WidthAsMetric):
        def forward(self, x: Tensor) -> Tensor:
            if self.training and self.width == 1:
                observed.append(len(x))
            return super().forward(x)

    metric = width_objective().metric
    objective = custom_objective(lambda widths: Counting(widths["a"]), metric=metric)
    training_settings = replace(HALVING_SETTINGS, batch_size=4, halving=Halving(eta=3, first=0.25))
    worst, *_, best = train_results(objective, make_candidates(1, 2, 3, 4), training_settings)
    assert sum(observed) == 12, "a quarter of 40 rows, to the batch"
    assert (worst.outcome, worst.fidelity, worst.epochs, worst.curve) == ("pruned", 0.25, 0, ())
    assert (worst.score, worst.rung_scores) == (1.0, ((0.25, 1.0),))
    assert best.outcome == "complete"
    assert [at for at, _ in best.rung_scores] == [0.25, 0.75, 2.0, 7.0]


@settings(deadline=None, max_examples=15)
@given(
    first=st.floats(0.001, 3.0),
    eta=st.integers(2, 5),
    batch_size=st.sampled_from([4, 16, 39, 64]),
)
def test_rungs_change_no_figure_of_the_candidates_promoted(
    first: float, eta: int, batch_size: int
) -> None:
    """Wherever they lie: also many of them within one batch."""
    training_settings = replace(SHORT_SETTINGS, batch_size=batch_size)
    (plain,) = train_results(MLP, [Candidate(widths={"a": 4, "b": 3}, seed=1)], training_settings)
    halved = replace(training_settings, halving=Halving(eta=eta, first=first))
    (result,) = train_results(MLP, [Candidate(widths={"a": 4, "b": 3}, seed=1)], halved)
    assert [at for at, _ in result.rung_scores] == list(halved.rungs)
    assert result.losses == pytest.approx(plain.losses, rel=1e-12)
    assert replace(result, rung_scores=(), losses=plain.losses) == plain
