"""Candidates, and the networks that each is trained as.

Entry points: `Candidate`, `members_of`, `replica_seed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .engines.base import Member
from .proxy import ProxySettings


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate to train.

    Attributes:
        widths: What to build.
        seed: Of its first replica; the others' follow from it.
        spared: Never stopped for falling behind.
    """

    widths: Mapping[str, int]
    seed: int
    spared: bool = False


def members_of(candidate: Candidate, settings: ProxySettings) -> list[Member]:
    """Return a candidate's networks of one fold: one for each replica and learning rate."""
    return [
        Member(
            widths=candidate.widths,
            seed=replica_seed(candidate.seed, replica),
            learning_rate=settings.learning_rate * factor,
        )
        for replica in range(settings.replicas)
        for factor in settings.rate_factors
    ]


def replica_seed(seed: int, replica: int) -> int:
    """Return the seed of a candidate's replica; the first one's is the candidate's own."""
    if replica == 0:
        return seed
    word = np.random.SeedSequence([seed, 2, replica]).generate_state(1, np.uint64)[0]
    return int(word >> np.uint64(1))
