"""The language model's perplexity, against that of the characters' frequencies."""

import math
from pathlib import Path

import pytest
import torch

from .command import best_trial, load_example, run_example


@pytest.mark.slow
def test_it_predicts_better_than_the_frequencies_of_characters(tmp_path: Path) -> None:
    train, validation = load_example("language_model").load()
    counts = torch.bincount(train.tokens).double()
    frequencies = counts / counts.sum()
    unigram = math.exp(-frequencies[validation.tokens].log().mean())
    best = best_trial(run_example("language_model", tmp_path))
    assert best["metric"]["name"] == "perplexity"
    assert 1 < best["metric"]["value"] < 0.75 * unigram
    assert best["reported"]["accuracy"] > float(frequencies.max())
