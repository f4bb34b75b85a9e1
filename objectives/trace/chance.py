"""Models that decide by chance what they compute: layers dropped at random, branches drawn.

A trace sees one outcome, a training meets many, and a limit must hold for the costliest. So where a
step drew from a random stream, it is traced for several outcomes: streams that repeat one number,
and a seeded one. Layers kept by `random() > p`, or by `random() < p`, are all kept in one of them.

Streams are those of Python and numpy, `random.Random` objects that the model holds, and single
numbers that torch draws: those have a value here (`draw_number`), so that a model may branch on it.
A forced stream repeats one number of eight that lie evenly in [0, 1), so that of up to seven
branches each is taken once, or the greatest number below 1.

Entry points: `Chance`, `OUTCOMES`.
"""

import random
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import numpy as np
from torch import nn

OUTCOMES: tuple[float, ...] = (*(eighth / 8 for eighth in range(8)), 1.0, -1.0)
"""What a step that draws is traced for: the number that streams repeat, 1.0 for the greatest below;
negative for streams that are seeded instead."""

_STATE_WORDS = 624
"""Words of a Mersenne Twister's state, the generator of Python and of numpy's legacy stream."""

_FORCED_WORDS = 600
"""Words that yield the forced number, which takes two of them. The others lead back to random
values, which loops that draw until a value is accepted need to come to an end."""


@final
class Chance:
    """The random streams that a model may draw from.

    Attributes:
        was_used: Whether anything was drawn inside `watched` so far.
    """

    def __init__(self, model: nn.Module) -> None:
        self.was_used = False
        self._numbers = random.Random(0)  # noqa: S311
        self._own = [
            value
            for module in model.modules()
            for value in vars(module).values()
            if isinstance(value, random.Random | np.random.Generator | np.random.RandomState)
        ]

    def draw_number(self) -> float:
        """Return a number in [0, 1) for a single number that torch draws."""
        self.was_used = True
        return self._numbers.random()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note in `was_used` whether something is drawn inside."""
        states = self._states()
        try:
            yield
        finally:
            self.was_used = self.was_used or self._states() != states

    def force(self, outcome: float) -> None:
        """Put the streams into the state that leads to an outcome."""
        words = _state_words(outcome)
        state = (3, (*words, 0), None)
        random.setstate(state)
        np.random.set_state(("MT19937", np.array(words, dtype=np.uint32), 0, 0, 0.0))
        self._numbers.setstate(state)
        for stream in self._own:
            if isinstance(stream, random.Random):
                stream.setstate(state)

    def _states(self) -> Hashable:
        states: list[Any] = [random.getstate(), np.random.get_state()]
        for stream in self._own:
            if isinstance(stream, random.Random):
                states.append(stream.getstate())
            elif isinstance(stream, np.random.Generator):
                states.append(stream.bit_generator.state)
            else:
                states.append(stream.get_state())
        return _comparable(states)


def _comparable(state: Any) -> Hashable:
    """Return a stream's state as values that can be compared: numpy's hold arrays."""
    if isinstance(state, np.ndarray):
        return state.tobytes()
    if isinstance(state, Mapping):
        return tuple((key, _comparable(value)) for key, value in state.items())
    if isinstance(state, list | tuple):
        return tuple(map(_comparable, state))
    return state  # type: ignore[no-any-return]


def _state_words(outcome: float) -> tuple[int, ...]:
    """Return a Mersenne Twister's state; worked example: 0.0 makes `random.random()` return 0.0."""
    _, seeded, _ = random.Random(0).getstate()  # noqa: S311
    words: tuple[int, ...] = seeded[:_STATE_WORDS]
    if outcome < 0:
        return words
    forced = _untemper(min(int(outcome * 2**32), 2**32 - 1))
    return (forced,) * _FORCED_WORDS + words[_FORCED_WORDS:]


def _untemper(output: int) -> int:
    """Return the word of the state that a Mersenne Twister turns into an output of 32 bits.

    The inverse of its tempering, four exclusive ors with shifted bits (Matsumoto and Nishimura,
    1998). Worked example: the output 2**32 - 1 comes of 0x12DD9BB3.
    """
    word = output ^ output >> 18
    word ^= word << 15 & 0xEFC60000
    shifted = word
    for _ in range(4):
        shifted = word ^ (shifted << 7 & 0x9D2C5680)
    word = shifted
    for _ in range(2):
        shifted = word ^ shifted >> 11
    return shifted
