"""A candidate: the seeds of its members, and what it has of its rungs when it is resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.loop.candidate import replica_seed
from widthwise.objectives.model.metrics import Metric
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.objectives.training.settings import Halving
from widthwise.tests.objectives.loop.snapshots import (
    SHORT_SETTINGS,
    FileSnapshotStore,
    ResumableTraining,
    TrainingInterrupted,
    make_candidates,
    make_custom_objective,
)


def test_the_first_replica_is_the_training_alone() -> None:
    assert replica_seed(2**63 - 1, 0) == 2**63 - 1
    seeds = [replica_seed(seed, k) for seed in (0, 1) for k in range(50)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)


class WidthAsMetric(nn.Module):
    """A network whose validation metric is its width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers, self.width = nn.Linear(7, 3), width

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out if self.training else torch.full_like(out, float(self.width))


def width_objective() -> ModuleObjective:
    metric = Metric(name="width", direction="maximize", function=lambda out, _: float(out.mean()))
    return make_custom_objective(WidthAsMetric, metric=metric)


HALVING_SETTINGS = replace(SHORT_SETTINGS, epochs=9, halving=Halving(eta=3, first=1.0))


@pytest.mark.parametrize("stop_after", range(1, 9))
def test_a_pruned_candidate_stays_pruned(stop_after: int, tmp_path: Path) -> None:
    run = ResumableTraining(
        width_objective(), make_candidates(4, 9, 1, 8, 2, 7, 3, 6, 5), HALVING_SETTINGS, PlainEngine
    )
    results, _ = run.train_in_pieces(tmp_path, stop_after)
    assert results == run.train_uninterrupted()
    assert {result.outcome for result in results} == {"pruned", "complete"}


def test_scores_at_rungs_that_were_reached_before_count_for_others(tmp_path: Path) -> None:
    """The resumed candidate was better there: those that begin now fall behind it."""
    nine, four = make_candidates(9, 4)
    with pytest.raises(TrainingInterrupted):
        ResumableTraining(
            width_objective(), [nine], HALVING_SETTINGS, PlainEngine
        ).train_with_store(FileSnapshotStore(tmp_path, 2))
    results = ResumableTraining(
        width_objective(), [nine, four], HALVING_SETTINGS, PlainEngine
    ).train_with_store(FileSnapshotStore(tmp_path))
    assert [result.outcome for result in results] == ["complete", "pruned"]
    assert results[0].rung_scores == ((1.0, 9.0), (3.0, 9.0))
    assert results[1].fidelity == 1.0


def test_a_candidate_is_not_compared_again_at_a_rung_it_has_reached(tmp_path: Path) -> None:
    """Better ones that begin later prune it at the next rung only."""
    four, *better = make_candidates(4, 9, 8, 7)
    with pytest.raises(TrainingInterrupted):
        ResumableTraining(
            width_objective(), [four], HALVING_SETTINGS, PlainEngine
        ).train_with_store(FileSnapshotStore(tmp_path, 2))
    results = ResumableTraining(
        width_objective(), [four, *better], HALVING_SETTINGS, PlainEngine
    ).train_with_store(FileSnapshotStore(tmp_path))
    assert [result.outcome for result in results] == ["pruned", "complete", "pruned", "pruned"]
    assert results[0].fidelity == 3.0
    assert results[0].rung_scores == ((1.0, 4.0), (3.0, 4.0))
