"""The stacked engine: networks of several widths padded to common ones and trained as one.

Made for GPUs, where a narrow network leaves most of the chip idle, and for narrow networks, where
most time goes into starting operations; on a GPU steps are started as CUDA graphs. Layers that
compute otherwise when padded are found by a probe and refused.

Entry point: `StackedEngine`.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ...errors import contained
from ...model.objective import Objective
from ...training.snapshot import Progress
from ..base import Member, Training, Unsuitable
from .groups import grouped
from .padding import Network, structure
from .plan import Group
from .probe import extremes, prove, require_stackable
from .stack import Stack

OVERHEAD = 5e6
"""Multiplications of a forward pass that a CPU core trains in the time, about a millisecond, that a
stack's step takes to set up; measured on dense layers."""

Subject = tuple[Hashable, frozenset[str], bool]
"""What a verdict is about: the structure, the widths that are padded, whether there is decay."""


@final
class StackedEngine:
    """Trains networks in stacks; see `Engine`."""

    name = "stacked"

    def __init__(self, overhead: float = OVERHEAD) -> None:
        """Set the price of a stack.

        Args:
            overhead: Of its step, in multiplications of a forward pass: the larger, the fewer and
                the wider the stacks.
        """
        self._overhead = overhead
        self._verdicts: WeakKeyDictionary[Objective, dict[Subject, str | None]] = (
            WeakKeyDictionary()
        )

    def start(self, training: Training, members: Sequence[Member]) -> "StackedTeam":
        """Build all members and stack them.

        Raises:
            Unsuitable: Settings, or modules, whose result a stack would change.
        """
        _require_supported(training)
        networks, faults = _built(training, members)
        stacks = []
        for group, mine, template in grouped(training, networks, self._overhead):
            self._require_safe(training, group, mine, template)
            stacks.append(Stack(training, mine, template))
        parameters = {one.place: sum(p.numel() for p in one.model.parameters()) for one in networks}
        return StackedTeam(stacks, faults, parameters, training.device)

    def groups(self, training: Training, members: Sequence[Member]) -> list[Group]:
        """Return which members share a stack, and the widths that it is padded to.

        A stack holds what so many networks of those widths hold in training, and of their
        parameters four or, with decay, five copies more: rates, moves, gradients about to be
        joined, the best ones so far. Members that cannot be built are in no group.

        Raises:
            Unsuitable: A member cannot be built a second time.
        """
        networks, _ = _built(training, members)
        return [group for group, *_ in grouped(training, networks, self._overhead)]

    def _require_safe(
        self, training: Training, group: Group, networks: Sequence[Network], template: nn.Module
    ) -> None:
        """Probe what was not probed before; raises Unsuitable."""
        padded = frozenset(
            name
            for name, width in group.widths.items()
            if any(one.member.widths[name] != width for one in networks)
        )
        decay = training.settings.weight_decay > 0
        subject = (structure(template), padded, decay)
        verdicts = self._verdicts.setdefault(training.objective, {})
        if subject not in verdicts:
            verdicts[subject] = _verdict(training, extremes(networks), template)
        verdict = verdicts[subject]
        if verdict is not None:
            raise Unsuitable(verdict)


@final
class StackedTeam:
    """Members in stacks; see `Team`."""

    def __init__(
        self,
        stacks: list[Stack],
        faults: dict[int, Exception],
        parameters: Mapping[int, int],
        device: torch.device,
    ) -> None:
        self._stacks, self._faults = stacks, faults
        self._parameters, self._device = parameters, device

    def advance(
        self, batches: Mapping[int, Sequence[Tensor]], midway: Collection[int] = ()
    ) -> dict[int, float | Exception]:
        """Train members on batches of their own; see `Team`.

        An exception in a stack of several is everybody's and propagates.
        """
        found: dict[int, float | Exception] = dict(self._failed(batches))
        for stack in self._in_step(batches, midway):
            mine = [batches[place] for place in stack.places]
            try:
                rows = torch.stack([torch.cat(list(one)) for one in mine]).to(self._device)
                losses = stack.advance(rows, list(map(len, mine[0])), stack.places[0] in midway)
                found.update(zip(stack.places, losses, strict=True))
            except (Exception, SystemExit) as error:
                if len(mine) > 1:
                    raise
                found[stack.places[0]] = self._faults[stack.places[0]] = contained(error)
                self.drop(stack.places)
        return found

    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return each member's outputs for all rows; see `Team`."""
        found: dict[int, Any] = self._failed(members)
        for stack, indices in self._of(members):
            outputs = stack.predict(indices, inputs)
            found.update({stack.places[n]: one for n, one in zip(indices, outputs, strict=True)})
        return found

    def remember(self, members: Sequence[int]) -> None:
        """Keep a copy of the present weights and buffers, beside them on the device."""
        for stack, indices in self._of(members):
            stack.remember(indices)

    def recall(self, members: Sequence[int]) -> None:
        """Put the copies back into place."""
        for stack, indices in self._of(members):
            stack.recall(indices)

    def drop(self, members: Sequence[int]) -> None:
        """Give up the members' memory: the others close up."""
        gone = frozenset(members)
        self._stacks = [
            part
            for stack in self._stacks
            for part in _split(stack, [place in gone for place in stack.places])
            if part.places[0] not in gone
        ]

    def progress(self, member: int) -> Progress:
        """Return all that a member's next step depends on; see `Team`."""
        ((stack, (index,)),) = self._of([member])
        return stack.progress(index)

    def go_on_from(self, progress: Mapping[int, Progress]) -> dict[int, Exception]:
        """Put members where they were; see `Team`. Those after one step stay together."""
        unfit = self._failed(progress)
        self._part_by({place: one.facts["step"] for place, one in progress.items()})
        for stack in self._stacks:
            mine = {n: progress[one] for n, one in enumerate(stack.places) if one in progress}
            unfit |= {stack.places[n]: error for n, error in stack.go_on_from(mine).items()}
        return unfit

    def state(self, member: int) -> dict[str, Any]:
        """Return the present weights and buffers, of their true sizes, on the CPU."""
        ((stack, (index,)),) = self._of([member])
        return stack.state(index)

    def parameters(self, member: int) -> int:
        """Return the numbers in the network's own parameters."""
        return self._parameters.get(member, 0)

    def peak_memory(self, member: int) -> None:  # noqa: ARG002
        """Return None: the allocator's figure is the whole stack's."""
        return

    def _failed(self, members: Iterable[int]) -> dict[int, Any]:
        return {place: self._faults[place] for place in members if place in self._faults}

    def _of(self, members: Sequence[int]) -> Iterator[tuple[Stack, list[int]]]:
        """Yield the stacks that hold some of the members, with their indices there, rising."""
        asked = frozenset(members)
        for stack in self._stacks:
            indices = [n for n, place in enumerate(stack.places) if place in asked]
            if indices:
                yield stack, indices

    def _in_step(
        self, batches: Mapping[int, Sequence[Tensor]], midway: Collection[int]
    ) -> list[Stack]:
        """Part the stacks whose members have batches of different lengths; return those to train.

        Members of a stack share their step, on which Adam's correction depends.
        """
        self._part_by(
            {place: (place in midway, *map(len, mine)) for place, mine in batches.items()}
        )
        return [stack for stack in self._stacks if stack.places[0] in batches]

    def _part_by(self, labels: Mapping[int, Hashable]) -> None:
        """Part the stacks whose members have several labels, or only some of them one."""
        self._stacks = [
            part
            for stack in self._stacks
            for part in _split(stack, [labels.get(place) for place in stack.places])
        ]


def _split(stack: Stack, labels: Sequence[Hashable]) -> list[Stack]:
    """Return the stack's parts of one label each; itself where there is one."""
    parts: dict[Hashable, list[int]] = {}
    for index, label in enumerate(labels):
        parts.setdefault(label, []).append(index)
    return [stack] if len(parts) == 1 else [stack.part(one) for one in parts.values()]


def _built(
    training: Training, members: Sequence[Member]
) -> tuple[list[Network], dict[int, Exception]]:
    """Build all members; return those that could be, and what the others raised."""
    networks, faults = [], {}
    for place, member in enumerate(members):
        try:
            networks.append(Network.build(training, place, member))
        except (Exception, SystemExit) as error:
            faults[place] = contained(error)
    return networks, faults


def _require_supported(training: Training) -> None:
    settings = training.settings
    if settings.autocast is not None:
        raise Unsuitable(f"precision '{settings.precision}' is not computed in stacks")
    if settings.accumulate > 1:
        raise Unsuitable(f"a stack takes whole batches, accumulate is {settings.accumulate}")


def _verdict(training: Training, networks: Sequence[Network], template: nn.Module) -> str | None:
    """Return why networks cannot be stacked, or None."""
    try:
        require_stackable(template)
        prove(training, networks, template)
    except Unsuitable as difference:
        return str(difference)
    return None
