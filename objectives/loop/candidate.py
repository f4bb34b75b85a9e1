"""A candidate: its widths, the members that it is trained as, and its state in training.

Entry points: `Candidate`, `members_of`, `replica_seed`; `CandidateState`, `unpack_snapshot`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..engines.base import Member
from ..training.settings import ProxySettings
from ..training.snapshot import (
    IncompatibleSnapshot,
    MemberSnapshot,
    Snapshot,
    require_equal,
)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate to train.

    Attributes:
        widths: Width of each variable, by its name.
        seed: Seed of its first replica; those of the others follow from it.
        never_pruned: Whether it is trained on even if it falls behind at a rung.
    """

    widths: Mapping[str, int]
    seed: int
    never_pruned: bool = False


def members_of(candidate: Candidate, settings: ProxySettings, repeat: int = 0) -> list[Member]:
    """Return a candidate's members in one fold: one for each replica and learning rate.

    Args:
        candidate: What is trained.
        settings: How.
        repeat: Of the folds; each has seeds of its own, so that a mean over repeats averages over
            them, too.
    """
    first = repeat * settings.replicas
    return [
        Member(
            widths=candidate.widths,
            seed=replica_seed(candidate.seed, replica),
            learning_rate=settings.learning_rate * factor,
        )
        for replica in range(first, first + settings.replicas)
        for factor in settings.rate_factors
    ]


def replica_seed(seed: int, replica: int) -> int:
    """Return the seed of a candidate's replica; the first one's is the candidate's own."""
    if replica == 0:
        return seed
    word = np.random.SeedSequence([seed, 2, replica]).generate_state(1, np.uint64)[0]
    return int(word >> np.uint64(1))


_MACHINE_SETTINGS = ("device", "data_on")
"""Settings that may differ where a training is resumed."""


@dataclass(kw_only=True)
class CandidateState:
    """The state of one candidate in training, besides that of its members.

    Attributes:
        rung_scores: Rung (in epochs) to the candidate's score there, of the rungs it has reached.
        seconds: Its share of the wall-clock time, that in earlier processes included.
        engines: What trained it in earlier processes.
        pruned: Whether it fell behind at a rung.
        cancelled: Whether the callback gave it up.
        trained_here: Whether it was trained in this process, too.
    """

    rung_scores: dict[float, float] = field(default_factory=dict)
    seconds: float = 0.0
    engines: tuple[str, ...] = ()
    pruned: bool = False
    cancelled: bool = False
    trained_here: bool = False

    def all_engines(self, current: Sequence[str]) -> tuple[str, ...]:
        """Return all engines that trained it, those of earlier processes first."""
        added = current if self.trained_here or not self.engines else ()
        return tuple(dict.fromkeys((*self.engines, *added)))

    def state_dict(self, current: Sequence[str]) -> dict[str, Any]:
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
    def from_state(cls, stored: Mapping[str, Any]) -> "CandidateState":
        """Return a stored state; raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            rung_scores={float(epochs): float(score) for epochs, score in stored["rungs"]},
            seconds=float(stored["seconds"]),
            engines=tuple(map(str, stored["engines"])),
            pruned=bool(stored["pruned"]),
        )


def resume_signature(settings: ProxySettings, rows: Sequence[int]) -> dict[str, Any]:
    """Return what a snapshot and the training that resumes it must have in common, as JSON has it.

    Args:
        settings: How candidates are trained.
        rows: Training rows of each fold.
    """
    settings_dict = asdict(settings)
    for name in _MACHINE_SETTINGS:
        settings_dict.pop(name, None)
    if not settings.final:
        settings_dict.pop("final")  # what earlier releases stored, which did not know it, goes on
    return json.loads(json.dumps({"settings": settings_dict, "rows": list(rows)}))  # type: ignore[no-any-return]


def unpack_snapshot(
    snapshot: Snapshot, signature: Mapping[str, Any], member_count: int
) -> tuple[CandidateState, list[MemberSnapshot]]:
    """Return the candidate's state and its members' snapshots.

    Args:
        snapshot: A candidate's, of any training.
        signature: The resume signature of the training that is to go on.
        member_count: Members of a candidate in that training.

    Raises:
        IncompatibleSnapshot: It is of another training.
        KeyError, TypeError, ValueError: It was made by something else.
    """
    for name, expected in signature.items():
        require_equal(name, snapshot.metadata[name], expected)
    members = snapshot.member_snapshots()
    if len(members) != member_count:
        raise IncompatibleSnapshot(f"it has {len(members)} members, the training {member_count}")
    return CandidateState.from_state(snapshot.metadata["story"]), members
