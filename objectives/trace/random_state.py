"""Random states that a step keeps: memory that no operator makes.

`torch.get_rng_state` returns its 5,056 bytes past the dispatcher, so a dispatch mode does not see
them. `torch.utils.checkpoint` keeps such a state for each of its blocks until the backward pass,
and `torch.random.fork_rng` one while it lasts.

Entry point: `random_states_counted`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .live_bytes import LiveBytes


@contextmanager
def random_states_counted(recorder: LiveBytes) -> Iterator[None]:
    """Count the random states of the CPU that are taken inside, as long as they live."""
    original = torch.get_rng_state

    def get_rng_state() -> Tensor:
        state = original()
        recorder.note_allocation(state)
        return state

    torch.get_rng_state = torch.random.get_rng_state = get_rng_state
    try:
        yield
    finally:
        torch.get_rng_state = torch.random.get_rng_state = original
