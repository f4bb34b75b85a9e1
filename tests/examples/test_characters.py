"""The family's character model, against the characters' frequencies."""

import math
from pathlib import Path

import numpy as np
import pytest

from .command import best_trial, load_example, run_example


@pytest.mark.slow
def test_it_predicts_better_than_the_frequencies_of_characters(tmp_path: Path) -> None:
    (_, train), (_, held_out) = load_example("characters").load()
    frequencies = np.bincount(train.ravel(), minlength=train.max() + 1) / train.size
    known = held_out[held_out <= train.max()]
    unigram = math.exp(-np.log(np.maximum(frequencies[known], 1e-6)).mean())
    best = best_trial(run_example("characters", tmp_path, trials=1))
    assert best["metric"]["name"] == "perplexity"
    assert 1 < best["metric"]["value"] < 0.75 * unigram
