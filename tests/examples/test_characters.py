"""The family's character model, against the characters' frequencies."""

import math

import numpy as np

from .command import load_example, train_example


def test_it_predicts_better_than_the_frequencies_of_characters() -> None:
    (_, train), (_, held_out) = load_example("characters").load()
    frequencies = np.bincount(train.ravel(), minlength=train.max() + 1) / train.size
    known = held_out[held_out <= train.max()]
    unigram = math.exp(-np.log(np.maximum(frequencies[known], 1e-6)).mean())
    value = train_example("characters", {"d_model": 32, "heads": 2, "d_ff1": 64, "d_ff2": 0})
    assert 1 < value < 0.75 * unigram
