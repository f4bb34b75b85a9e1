"""Stretches of Python's own help texts, as arrays of character numbers, and what comes next."""

from pydoc_data.topics import topics

import numpy as np

CHARACTERS = "\n abcdefghijklmnopqrstuvwxyz0123456789.,:;()[]{}'\"=_-*<>/"
STEPS = 32


def load():
    numbers = {character: number for number, character in enumerate(CHARACTERS, start=1)}
    text = "\n".join(topics[name] for name in sorted(topics))[:60_000].lower()
    tokens = np.array([numbers.get(character, 0) for character in text])
    rows = (len(tokens) - 1) // STEPS
    x = tokens[: rows * STEPS].reshape(rows, STEPS)
    y = tokens[1 : rows * STEPS + 1].reshape(rows, STEPS)
    held_out = rows // 5
    return (x[:-held_out], y[:-held_out]), (x[-held_out:], y[-held_out:])
