"""The classifier of two inputs, whose padding must make no difference."""

from pathlib import Path

import pytest
import torch

from .command import best_trial, load_example, run_example


@pytest.mark.slow
def test_it_learns_from_sequences_of_several_lengths(tmp_path: Path) -> None:
    best = best_trial(run_example("two_inputs", tmp_path))
    # Either class has about half the rows.
    assert best["metric"]["value"] > 0.9
    assert best["reported"]["accuracy"] > 0.9
    assert best["reported"]["auroc"] > 0.95


def test_the_loader_pads_and_the_model_looks_past_it() -> None:
    example = load_example("two_inputs")
    first, second = example.sequences(2, seed=3)
    model = example.build({"embedding": 4, "hidden": 8}).eval()
    batch = example.collate([first, second])
    together = model(batch["bases"], batch["mask"])
    for row, sample in enumerate((first, second)):
        alone = example.collate([sample])
        assert torch.allclose(model(alone["bases"], alone["mask"])[0], together[row], atol=1e-6)
