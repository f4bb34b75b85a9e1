"""Random streams that depend on a seed and on nothing that ran before.

Inside `with randomness:` torch (CPU and one CUDA device), numpy and `random` draw from the seeded
streams; outside, the caller's streams are undisturbed. It can be left and entered again:

    randomness = Randomness(seed, device)
    with randomness:
        first = torch.rand(1)
    log_something_with_jitter()          # draws from the caller's streams
    with randomness:
        second = torch.rand(1)           # as if nothing had happened in between

Entry point: `Randomness`.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import torch


@final
class Randomness:
    """Seeded streams that replace torch's, numpy's and Python's global ones inside `with`.

    Attributes:
        seed: Any integer from 0 up to 2**63 - 1.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed = seed
        self._device = device
        self._seeded_states: list[Any] | None = None
        self._caller_states: list[Any] = []

    def __enter__(self) -> None:
        self._caller_states = self._current_states()
        if self._seeded_states is None:
            self._seed_all()
        else:
            self._restore(self._seeded_states)

    def __exit__(self, *_: object) -> None:
        self._seeded_states = self._current_states()
        self._restore(self._caller_states)

    @contextmanager
    def fork(self) -> Iterator[None]:
        """Draw from copies of these streams inside `with`; they stay as they are themselves."""
        with self:
            pass
        states_before = self._seeded_states
        try:
            with self:
                yield
        finally:
            self._seeded_states = states_before

    @property
    def streams(self) -> Sequence[Any]:
        """States of the streams as they were left; empty before they were first entered."""
        return self._seeded_states or ()

    def load_state(self, streams: Sequence[Any]) -> None:
        """Load the states of `streams`; a GPU's stays as it is where they have none."""
        with self:
            pass
        assert self._seeded_states is not None, "it was just left"
        self._seeded_states = [*streams, *self._seeded_states[len(streams) :]][
            : len(self._seeded_states)
        ]

    def _seed_all(self) -> None:
        random.seed(self.seed)
        np.random.seed(self.seed % 2**32)  # numpy's legacy global stream takes 32 bits
        torch.default_generator.manual_seed(self.seed)
        if self._device.type == "cuda":
            with torch.cuda.device(self._device):
                torch.cuda.manual_seed(self.seed)

    def _current_states(self) -> list[Any]:
        states: list[Any] = [random.getstate(), np.random.get_state(), torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _restore(self, states: list[Any]) -> None:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[3], self._device)
