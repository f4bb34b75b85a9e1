"""A Hugging Face model is trained by the loss that it computes itself."""

from pathlib import Path

import pytest

from .command import best_trial, load_example, run_example


@pytest.mark.slow
def test_it_learns_by_its_own_loss(tmp_path: Path) -> None:
    _, validation = load_example("hugging_face").load()
    share = float(validation.labels.double().mean())
    best = best_trial(run_example("hugging_face", tmp_path))
    assert best["metric"]["value"] > max(share, 1 - share) + 0.15
    # What no model knows better than the classes' shares: their entropy, about 0.66 nats.
    assert best["reported"]["loss"] < 0.5
