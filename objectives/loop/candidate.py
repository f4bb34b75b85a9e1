"""Candidates, and the networks that each is trained as.

Entry points: `Candidate`, `members_of`, `replica_seed`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..engines.base import Member
from ..training.settings import ProxySettings
from ..training.snapshot import Record, Snapshot, Unfit


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


_OF_THE_PLACE = ("device", "data_on")
"""Settings that may be others where a training goes on."""


@dataclass
class Story:
    """One candidate's.

    Attributes:
        rungs: Rung (in epochs) to the score there, of those that it came to.
        seconds: Its share of the time, in other processes included.
        engines: What trained it in other processes.
        pruned: Whether it fell behind.
        given_up: Whether nobody waits for it any more.
        here: Whether it was trained in this process, too.
    """

    rungs: dict[float, float] = field(default_factory=dict)
    seconds: float = 0.0
    engines: tuple[str, ...] = ()
    pruned: bool = False
    given_up: bool = False
    here: bool = False

    def trained_by(self, present: tuple[str, ...]) -> tuple[str, ...]:
        """Return all engines that trained it, those of other processes first."""
        mine = present if self.here or not self.engines else ()
        return tuple(dict.fromkeys((*self.engines, *mine)))

    def facts(self, present: tuple[str, ...]) -> dict[str, Any]:
        """Return what a snapshot holds of it, as JSON has it.

        Args:
            present: The engines of this process.
        """
        return {
            "rungs": [list(pair) for pair in self.rungs.items()],
            "seconds": self.seconds,
            "engines": list(self.trained_by(present)),
            "pruned": self.pruned,
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Story":
        """Return a story as it was; raises KeyError, TypeError or ValueError for other facts."""
        return cls(
            rungs={float(epochs): float(score) for epochs, score in facts["rungs"]},
            seconds=float(facts["seconds"]),
            engines=tuple(map(str, facts["engines"])),
            pruned=bool(facts["pruned"]),
        )


def terms(settings: ProxySettings, rows: Sequence[int]) -> dict[str, Any]:
    """Return what must be the same where a training goes on, as JSON has it.

    Args:
        settings: Of the training.
        rows: To train on, in each fold.
    """
    found = asdict(settings)
    for name in _OF_THE_PLACE:
        found.pop(name, None)
    return json.loads(json.dumps({"settings": found, "rows": list(rows)}))  # type: ignore[no-any-return]


def opened(
    snapshot: Snapshot, terms: Mapping[str, Any], members: int
) -> tuple[Story, list[Record]]:
    """Return the story and the members' records in a snapshot.

    Args:
        snapshot: Any.
        terms: Of the training that is to go on.
        members: How many there are.

    Raises:
        Unfit: It is of another training.
        KeyError, TypeError, ValueError: It was made by something else.
    """
    for name, mine in terms.items():
        if snapshot.facts[name] != mine:
            raise Unfit(f"its {name} are {snapshot.facts[name]}, those of the training {mine}")
    records = snapshot.records()
    if len(records) != members:
        raise Unfit(f"it has {len(records)} members, the training {members}")
    return Story.of(snapshot.facts["story"]), records
