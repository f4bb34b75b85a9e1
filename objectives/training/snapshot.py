"""Snapshots: the state of a candidate's training, from which another process can continue it.

A candidate has a member for each fold, replica and learning rate. A snapshot holds the state of
each member (its curve, its best, how it ended) and, while it runs, of its network, under names that
do not depend on the engine that trained it:

    model.NAME                          the `state_dict`
    buffer.NAME                         buffers that the `state_dict` leaves out
    best.NAME                           the `state_dict` of the best epoch, once there is one
    exp_avg.NAME, exp_avg_sq.NAME       AdamW's moments, by parameter
    updates.NAME                        how often AdamW changed the parameter

Entry points: `Snapshot`, `MemberSnapshot`, `NetworkState`; `SnapshotStore`, where they go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, Protocol, TypedDict

from torch import Tensor

from ..errors import ObjectiveError


class IncompatibleSnapshot(ObjectiveError):
    """A snapshot of another network or training than the one that is to continue from it."""


class UnserialisableState(ObjectiveError):
    """A network with a state that no snapshot can hold."""


class NetworkMetadata(TypedDict):
    """What a network's state holds besides tensors, as JSON has it.

    Attributes:
        step: Updates so far.
        loss: Sum and rows of the present epoch's losses.
        streams: Random streams; only of engines that have their own.
        attributes: Plain attributes of modules that have changed, likewise.
        others: Entries of the `state_dict`s that are no tensors, by kind, likewise.
    """

    step: int
    loss: Sequence[Any]
    streams: NotRequired[Any]
    attributes: NotRequired[Mapping[str, Any]]
    others: NotRequired[Mapping[str, Mapping[str, Any]]]


class MemberMetadata(TypedDict):
    """One member in a snapshot's metadata; the keys are those of stored checkpoints.

    Attributes:
        course: The member's state.
        progress: Its network's; None once it has ended.
    """

    course: Mapping[str, Any]
    progress: NetworkMetadata | None


@dataclass(frozen=True, kw_only=True)
class NetworkState:
    """All that the next step of a network depends on.

    Attributes:
        tensors: By the names above, on the CPU, contiguous, none sharing its memory.
        metadata: The rest.
    """

    tensors: Mapping[str, Tensor]
    metadata: NetworkMetadata

    def tensors_of(self, kind: str) -> dict[str, Tensor]:
        """Return the tensors of a kind, such as "exp_avg", by the rest of their names."""
        prefix = f"{kind}."
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


@dataclass(frozen=True, kw_only=True)
class MemberSnapshot:
    """One member of a candidate.

    Attributes:
        member_state: Its curve, its best and how it ended, as JSON has it; see `loop.member`.
        network_state: Its network's; None once it has ended.
    """

    member_state: Mapping[str, Any]
    network_state: NetworkState | None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a candidate's training.

    Attributes:
        epochs: Epochs trained.
        tensors: Of all members, `0.model.NAME` the first one's; on the CPU.
        metadata: As JSON has it: "members", a `MemberMetadata` each, and what they have in common.
    """

    epochs: float
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Any]

    @classmethod
    def from_members(
        cls, *, epochs: float, members: Sequence[MemberSnapshot], metadata: Mapping[str, Any]
    ) -> "Snapshot":
        """Return the snapshot of a candidate's members and of what they have in common."""
        stored_members: list[MemberMetadata] = [
            {
                "course": member.member_state,
                "progress": None if member.network_state is None else member.network_state.metadata,
            }
            for member in members
        ]
        return cls(
            epochs=epochs,
            tensors={
                f"{index}.{name}": tensor
                for index, member in enumerate(members)
                if member.network_state is not None
                for name, tensor in member.network_state.tensors.items()
            },
            metadata={**metadata, "members": stored_members},
        )

    def member_snapshots(self) -> list[MemberSnapshot]:
        """Return the members.

        Raises:
            KeyError, TypeError: It was not made by `from_members`.
        """
        tensors_by_member: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            member, _, tensor_name = name.partition(".")
            tensors_by_member.setdefault(member, {})[tensor_name] = tensor
        return [
            MemberSnapshot(
                member_state=stored["course"],
                network_state=None
                if stored["progress"] is None
                else NetworkState(
                    tensors=tensors_by_member.get(str(index), {}), metadata=stored["progress"]
                ),
            )
            for index, stored in enumerate(self.metadata["members"])
        ]


class SnapshotStore(Protocol):
    """Where the snapshots of candidates trained together go, by the candidates' indices."""

    def load(self, index: int) -> Snapshot | None:
        """Return the snapshot to continue from, None without one; called once before training."""
        ...

    def due(self) -> bool:
        """Return whether to take snapshots now; called at milestones and within long epochs."""
        ...

    def save(self, index: int, snapshot: Snapshot) -> None:
        """Store a snapshot in place of those before. What it raises ends the training."""
        ...


def require_equal(name: str, stored: object, expected: object) -> None:
    """Raise `IncompatibleSnapshot` unless a snapshot has the training's own value of something.

    Args:
        name: What it is, for people; a plural ends in "s".
        stored: Its value in the snapshot.
        expected: Its value in the training that is to go on.
    """
    if stored != expected:
        is_, that = ("are", "those") if name.endswith("s") else ("is", "that")
        raise IncompatibleSnapshot(f"its {name} {is_} {stored}, {that} of the training {expected}")


def require_matching(
    stored: Mapping[str, Tensor], current: Mapping[str, Tensor], kind: str
) -> None:
    """Compare the names, shapes and types of tensors with those of the network.

    Args:
        stored: In a snapshot.
        current: The network's.
        kind: What they are, for people.

    Raises:
        IncompatibleSnapshot: They differ.
    """
    unmatched = sorted(stored.keys() ^ current.keys())
    if unmatched:
        owner = "the snapshot" if unmatched[0] in stored else "the model"
        raise IncompatibleSnapshot(f"{kind} '{unmatched[0]}' is in {owner} alone")
    for name, tensor in current.items():
        stored_tensor = stored[name]
        if stored_tensor.shape != tensor.shape or stored_tensor.dtype != tensor.dtype:
            raise IncompatibleSnapshot(
                f"{kind} '{name}' is {stored_tensor.dtype} {list(stored_tensor.shape)} in the "
                f"snapshot and {tensor.dtype} {list(tensor.shape)} in the model"
            )


def matching_states(
    network_state: NetworkState, current: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors of the stored `state_dict`, and those of the best one (or none).

    Args:
        network_state: A network's, in a snapshot.
        current: The tensors in the present `state_dict` of the network that is to take it over.

    Raises:
        IncompatibleSnapshot: They have other names, shapes or types than the network's own.
    """
    model, best = network_state.tensors_of("model"), network_state.tensors_of("best")
    require_matching(model, current, "the state")
    if best:
        require_matching(best, current, "the best state")
    return model, best


def require_equal_updates(network_state: NetworkState) -> int:
    """Return how many updates a network has had, all parameters equally many.

    Raises:
        IncompatibleSnapshot: Some have had fewer than others.
    """
    steps = network_state.metadata["step"]
    for name, updates in network_state.tensors_of("updates").items():
        if int(updates) != steps:
            raise IncompatibleSnapshot(
                f"'{name}' was changed in {int(updates)} of {steps} steps: the engine changes all "
                "parameters in each"
            )
    return int(steps)
