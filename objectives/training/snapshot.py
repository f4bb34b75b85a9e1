"""Snapshots: where a candidate's training stands, so that another process can go on from there.

A candidate has a member for each fold, replica and learning rate. Of each the course is kept (its
curve, its best, how it ended) and, while it runs, its network's progress, under names that do not
depend on the engine that trained it:

    model.NAME                          the `state_dict`
    buffer.NAME                         buffers that the `state_dict` leaves out
    best.NAME                           the `state_dict` of the best epoch, once there is one
    exp_avg.NAME, exp_avg_sq.NAME       AdamW's moments, by parameter
    updates.NAME                        how often AdamW changed the parameter

Entry points: `Snapshot`, `Record`, `Progress`; `Keeper`, who keeps them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from ..errors import ObjectiveError


class Unfit(ObjectiveError):
    """A snapshot of another network or training than the one that is to go on from it."""


class Unkeepable(ObjectiveError):
    """A network with a state that no snapshot can hold."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """All that the next step of a network depends on.

    Attributes:
        tensors: By the names above, on the CPU, contiguous, none sharing its memory.
        facts: As JSON has them: `step`, the updates so far; `loss`, sum and rows of the present
            epoch's; and what only some engines have.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def of(self, kind: str) -> dict[str, Tensor]:
        """Return the tensors of a kind, such as "exp_avg", by the rest of their names."""
        start = f"{kind}."
        return {
            name.removeprefix(start): one
            for name, one in self.tensors.items()
            if name.startswith(start)
        }


@dataclass(frozen=True, kw_only=True)
class Record:
    """One member of a candidate.

    Attributes:
        course: How it fares, as JSON has it; see `Course.facts`.
        progress: Its network's; None once it has ended.
    """

    course: Mapping[str, Any]
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Where a candidate's training stands.

    Attributes:
        epochs: How far it is.
        tensors: Of all members, `0.model.NAME` the first one's; on the CPU.
        facts: The rest, as JSON has it.
    """

    epochs: float
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @classmethod
    def of(
        cls, *, epochs: float, records: Sequence[Record], facts: Mapping[str, Any]
    ) -> "Snapshot":
        """Return the snapshot of a candidate's members and what they have in common."""
        return cls(
            epochs=epochs,
            tensors={
                f"{n}.{name}": tensor
                for n, one in enumerate(records)
                if one.progress is not None
                for name, tensor in one.progress.tensors.items()
            },
            facts={
                **facts,
                "members": [
                    {
                        "course": one.course,
                        "progress": None if one.progress is None else one.progress.facts,
                    }
                    for one in records
                ],
            },
        )

    def records(self) -> list[Record]:
        """Return the members; raises KeyError or TypeError where it was not made by `of`."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            member, _, own = name.partition(".")
            parts.setdefault(member, {})[own] = tensor
        return [
            Record(
                course=one["course"],
                progress=None
                if one["progress"] is None
                else Progress(tensors=parts.get(str(n), {}), facts=one["progress"]),
            )
            for n, one in enumerate(self.facts["members"])
        ]


class Keeper(Protocol):
    """Who keeps the snapshots of candidates trained together; they go by their place there."""

    def load(self, place: int) -> Snapshot | None:
        """Return where to go on from; None to begin. Asked once for each, before the training."""
        ...

    def due(self) -> bool:
        """Say whether to take snapshots now; asked at every stop and, in long epochs, between."""
        ...

    def save(self, place: int, snapshot: Snapshot) -> None:
        """Keep a snapshot, in place of those before. What it raises ends the training."""
        ...


def require_alike(found: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> None:
    """Raise `Unfit` unless tensors have the names, shapes and types of the network's own.

    Args:
        found: In a snapshot.
        own: The network's.
        what: What they are, for people.
    """
    strange = sorted(found.keys() ^ own.keys())
    if strange:
        where = "the snapshot" if strange[0] in found else "the model"
        raise Unfit(f"{what} '{strange[0]}' is in {where} alone")
    for name, one in own.items():
        kept = found[name]
        if kept.shape != one.shape or kept.dtype != one.dtype:
            raise Unfit(
                f"{what} '{name}' is {kept.dtype} {list(kept.shape)} in the snapshot and "
                f"{one.dtype} {list(one.shape)} in the model"
            )


def require_in_step(progress: Progress) -> int:
    """Return a network's updates; raises `Unfit` where its parameters have had unequally many."""
    for name, updates in progress.of("updates").items():
        if int(updates) != progress.facts["step"]:
            raise Unfit(
                f"'{name}' was changed in {int(updates)} of {progress.facts['step']} steps: the "
                "engine changes all parameters in each"
            )
    return int(progress.facts["step"])
