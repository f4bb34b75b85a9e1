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
from ..training.snapshot import IncompatibleSnapshot, MemberSnapshot, Snapshot


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate to train.

    Attributes:
        widths: What to build.
        seed: Of its first replica; the others' follow from it.
        never_pruned: Never stopped for falling behind.
    """

    widths: Mapping[str, int]
    seed: int
    never_pruned: bool = False


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


_MACHINE_SETTINGS = ("device", "data_on")
"""Settings that may be others where a training goes on."""


@dataclass
class CandidateState:
    """One candidate's.

    Attributes:
        rung_scores: Rung (in epochs) to the score there, of those that it came to.
        seconds: Its share of the time, in other processes included.
        engines: What trained it in other processes.
        pruned: Whether it fell behind.
        cancelled: Whether nobody waits for it any more.
        trained_here: Whether it was trained in this process, too.
    """

    rung_scores: dict[float, float] = field(default_factory=dict)
    seconds: float = 0.0
    engines: tuple[str, ...] = ()
    pruned: bool = False
    cancelled: bool = False
    trained_here: bool = False

    def all_engines(self, current: tuple[str, ...]) -> tuple[str, ...]:
        """Return all engines that trained it, those of other processes first."""
        added = current if self.trained_here or not self.engines else ()
        return tuple(dict.fromkeys((*self.engines, *added)))

    def state_dict(self, current: tuple[str, ...]) -> dict[str, Any]:
        """Return what a snapshot holds of it, as JSON has it.

        Args:
            current: The engines of this process.
        """
        return {
            "rungs": [list(pair) for pair in self.rung_scores.items()],
            "seconds": self.seconds,
            "engines": list(self.all_engines(current)),
            "pruned": self.pruned,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "CandidateState":
        """Return a story as it was; raises KeyError, TypeError or ValueError for other facts."""
        return cls(
            rung_scores={float(epochs): float(score) for epochs, score in state["rungs"]},
            seconds=float(state["seconds"]),
            engines=tuple(map(str, state["engines"])),
            pruned=bool(state["pruned"]),
        )


def resume_signature(settings: ProxySettings, rows: Sequence[int]) -> dict[str, Any]:
    """Return what must be the same where a training goes on, as JSON has it.

    Args:
        settings: Of the training.
        rows: To train on, in each fold.
    """
    settings_dict = asdict(settings)
    for name in _MACHINE_SETTINGS:
        settings_dict.pop(name, None)
    return json.loads(json.dumps({"settings": settings_dict, "rows": list(rows)}))  # type: ignore[no-any-return]


def unpack_snapshot(
    snapshot: Snapshot, expected: Mapping[str, Any], member_count: int
) -> tuple[CandidateState, list[MemberSnapshot]]:
    """Return the story and the members' records in a snapshot.

    Args:
        snapshot: Any.
        expected: Of the training that is to go on.
        member_count: How many there are.

    Raises:
        IncompatibleSnapshot: It is of another training.
        KeyError, TypeError, ValueError: It was made by something else.
    """
    for name, expected_value in expected.items():
        if snapshot.metadata[name] != expected_value:
            raise IncompatibleSnapshot(
                f"its {name} are {snapshot.metadata[name]}, those of the training {expected_value}"
            )
    member_snapshots = snapshot.member_snapshots()
    if len(member_snapshots) != member_count:
        raise IncompatibleSnapshot(
            f"it has {len(member_snapshots)} members, the training {member_count}"
        )
    return CandidateState.from_state(snapshot.metadata["story"]), member_snapshots
