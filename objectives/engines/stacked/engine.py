"""The stacked engine: networks of several widths padded to common ones and trained as one.

Made for GPUs, where a narrow network leaves most of the chip idle, and for narrow networks, where
most time goes into starting operations; on a GPU steps are started as CUDA graphs. Networks with
layers that padding changes are found by a probe, and refused.

Entry point: `StackedEngine`.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any, final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ...errors import as_exception
from ...interrupt import raise_if_interrupt
from ...model.objective import Objective
from ...training.snapshot import NetworkState
from ..base import EngineUnsupported, Member, TrainingSetup
from .cuda_graph import CaptureFactory, capture_function
from .groups import build_groups
from .padding import BuiltMember, structure
from .plan import StackGroup
from .probe import check_equivalence, most_padded, require_stackable
from .stack import Stack

STEP_OVERHEAD_MACS = 5e6
"""Multiplications of a forward pass that a CPU core trains in the time that a stack's step takes to
set up, about a millisecond; measured on dense layers."""

ProbeKey = tuple[Hashable, frozenset[str], bool]
"""What a probe's result holds for: the structure, the padded widths, whether there is decay."""


Probe = Callable[[TrainingSetup, Sequence[BuiltMember], nn.Module], str | None]
"""Returns why networks cannot be stacked under a template; None if they can."""


def probe_failure(
    training: TrainingSetup, networks: Sequence[BuiltMember], template: nn.Module
) -> str | None:
    """Return why networks cannot be stacked under a template; None if they can."""
    try:
        require_stackable(template)
        check_equivalence(training, networks, template)
    except EngineUnsupported as difference:
        return str(difference)
    return None


@final
class StackedEngine:
    """Trains networks in stacks: padded to common widths, and computed by the same operations."""

    name = "stacked"

    def __init__(
        self,
        overhead_macs: float = STEP_OVERHEAD_MACS,
        *,
        capture: CaptureFactory = capture_function,
        probe: Probe = probe_failure,
    ) -> None:
        """Begin without any knowledge of networks.

        Args:
            overhead_macs: Cost of a stack's step, in multiplications of a forward pass: the larger,
                the fewer and the wider the stacks.
            capture: Returns how steps are captured on a device.
            probe: Finds out whether networks can be stacked, once for those of a structure.
        """
        self._overhead_macs, self._capture, self._probe = overhead_macs, capture, probe
        self._probe_failures: WeakKeyDictionary[Objective, dict[ProbeKey, str | None]] = (
            WeakKeyDictionary()
        )

    def start(self, training: TrainingSetup, members: Sequence[Member]) -> "StackedSession":
        """Build all members and stack them.

        Raises:
            EngineUnsupported: A stack would change the result under these settings or modules.
        """
        _require_supported(training)
        networks, failures = _build_all(training, members)
        stacks = []
        for group, group_networks, template in build_groups(
            training, networks, self._overhead_macs
        ):
            self._require_stackable(training, group, group_networks, template)
            stacks.append(Stack(training, group_networks, template, self._capture))
        parameters = {
            network.index: sum(parameter.numel() for parameter in network.model.parameters())
            for network in networks
        }
        return StackedSession(stacks, failures, parameters, training.device)

    def plan_stacks(self, training: TrainingSetup, members: Sequence[Member]) -> list[StackGroup]:
        """Return which members share a stack, and the widths that it is padded to.

        A stack holds what so many networks of those widths hold in training, and four more copies
        of their parameters, with decay five: rates, updates, gradients before they are joined, the
        best weights so far. Members that cannot be built are in no group.

        Raises:
            EngineUnsupported: A member cannot be built a second time.
        """
        networks, _ = _build_all(training, members)
        return [group for group, *_ in build_groups(training, networks, self._overhead_macs)]

    def _require_stackable(
        self,
        training: TrainingSetup,
        group: StackGroup,
        networks: Sequence[BuiltMember],
        template: nn.Module,
    ) -> None:
        """Raise `EngineUnsupported` unless networks can be stacked; remembered by structure."""
        padded = frozenset(
            name
            for name, width in group.widths.items()
            if any(network.member.widths[name] != width for network in networks)
        )
        has_decay = training.settings.weight_decay > 0
        key = (structure(template), padded, has_decay)
        failures = self._probe_failures.setdefault(training.objective, {})
        if key not in failures:
            failures[key] = self._probe(training, most_padded(networks), template)
        failure = failures[key]
        if failure is not None:
            raise EngineUnsupported(failure)


@final
class StackedSession:
    """Members in stacks; see `Session`.

    Attributes:
        failures: Members that failed, with what their model, loss or memory raised.
    """

    def __init__(
        self,
        stacks: list[Stack],
        failures: dict[int, Exception],
        parameter_counts: Mapping[int, int],
        device: torch.device,
    ) -> None:
        self._stacks, self.failures = stacks, failures
        self._parameter_counts, self._device = parameter_counts, device

    def advance(
        self, batches: Mapping[int, Sequence[Tensor]], mid_epoch: Collection[int] = ()
    ) -> dict[int, float]:
        """Train members on batches of their own; see `Session`.

        An exception in a stack of several members is no single one's, and propagates.
        """
        results: dict[int, float] = {}
        for stack in self._aligned_stacks(batches, mid_epoch):
            member_batches = [batches[index] for index in stack.member_indices]
            try:
                rows = torch.stack(
                    [torch.cat(list(batch_list)) for batch_list in member_batches]
                ).to(self._device)
                losses = stack.advance(
                    rows, list(map(len, member_batches[0])), stack.member_indices[0] in mid_epoch
                )
                results.update(zip(stack.member_indices, losses, strict=True))
            except BaseException as error:
                raise_if_interrupt(error)
                if len(member_batches) > 1:
                    raise
                self.failures[stack.member_indices[0]] = as_exception(error)
                self.drop(stack.member_indices)
        return results

    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return the members' outputs for all rows; see `Session`."""
        results: dict[int, Any] = {}
        for stack, positions in self._stacks_with(members):
            outputs = stack.predict(positions, inputs)
            results.update(
                {
                    stack.member_indices[position]: output
                    for position, output in zip(positions, outputs, strict=True)
                }
            )
        return results

    def save_best(self, members: Sequence[int]) -> None:
        """Keep a copy of the present weights and buffers, on the device."""
        for stack, positions in self._stacks_with(members):
            stack.save_best(positions)

    def restore_best(self, members: Sequence[int]) -> None:
        """Put the copies back into place."""
        for stack, positions in self._stacks_with(members):
            stack.restore_best(positions)

    def drop(self, members: Sequence[int]) -> None:
        """Free the members' memory: the stacks shrink to the others."""
        dropped = frozenset(members)
        self._stacks = [
            piece
            for stack in self._stacks
            for piece in _split_stack(stack, [index in dropped for index in stack.member_indices])
            if piece.member_indices[0] not in dropped
        ]

    def network_state(self, member: int) -> NetworkState:
        """Return all that a member's next step depends on; see `Session`."""
        ((stack, (position,)),) = self._stacks_with([member])
        return stack.network_state(position)

    def load_state(self, states: Mapping[int, NetworkState]) -> dict[int, Exception]:
        """Put members where they were; see `Session`. Those after the same step stay together."""
        incompatible = {index: self.failures[index] for index in states if index in self.failures}
        self._split_by(
            {index: member_state.metadata["step"] for index, member_state in states.items()}
        )
        for stack in self._stacks:
            by_position = {
                position: states[member_state]
                for position, member_state in enumerate(stack.member_indices)
                if member_state in states
            }
            incompatible |= {
                stack.member_indices[position]: error
                for position, error in stack.load_state(by_position).items()
            }
        return incompatible

    def state_dict(self, member: int) -> dict[str, Any]:
        """Return the present weights and buffers, of their true sizes, on the CPU."""
        ((stack, (position,)),) = self._stacks_with([member])
        return stack.state_dict(position)

    def parameter_count(self, member: int) -> int:
        """Return the numbers in the network's own parameters."""
        return self._parameter_counts.get(member, 0)

    def peak_memory(self, member: int) -> None:  # noqa: ARG002
        """Return None: the allocator's figure is the whole stack's."""
        return

    def _stacks_with(self, members: Sequence[int]) -> Iterator[tuple[Stack, list[int]]]:
        """Yield the stacks that hold some of the members, with their positions in the stack."""
        requested = frozenset(members)
        for stack in self._stacks:
            positions = [
                position
                for position, index in enumerate(stack.member_indices)
                if index in requested
            ]
            if positions:
                yield stack, positions

    def _aligned_stacks(
        self, batches: Mapping[int, Sequence[Tensor]], mid_epoch: Collection[int]
    ) -> list[Stack]:
        """Split the stacks whose members have batches of different sizes; return those to train.

        The members of a stack share the number of their step, on which Adam's correction depends.
        """
        self._split_by(
            {
                index: (index in mid_epoch, *map(len, member_batches))
                for index, member_batches in batches.items()
            }
        )
        return [stack for stack in self._stacks if stack.member_indices[0] in batches]

    def _split_by(self, labels: Mapping[int, Hashable]) -> None:
        """Split every stack so that the members of each part have the same label, or all none."""
        self._stacks = [
            piece
            for stack in self._stacks
            for piece in _split_stack(stack, [labels.get(index) for index in stack.member_indices])
        ]


def _split_stack(stack: Stack, labels: Sequence[Hashable]) -> list[Stack]:
    """Return the stack's parts, one for each label; the stack itself where there is only one."""
    parts: dict[Hashable, list[int]] = {}
    for position, label in enumerate(labels):
        parts.setdefault(label, []).append(position)
    return [stack] if len(parts) == 1 else [stack.subset(positions) for positions in parts.values()]


def _build_all(
    training: TrainingSetup, members: Sequence[Member]
) -> tuple[list[BuiltMember], dict[int, Exception]]:
    """Build all members; return the networks, and what the builder of the others raised."""
    networks, failures = [], {}
    for index, member in enumerate(members):
        try:
            networks.append(BuiltMember.build(training, index, member))
        except BaseException as error:
            failures[index] = as_exception(error)
    return networks, failures


def _require_supported(training: TrainingSetup) -> None:
    settings = training.settings
    if settings.autocast is not None:
        raise EngineUnsupported(f"precision '{settings.precision}' is not computed in stacks")
    if settings.accumulate > 1:
        raise EngineUnsupported(f"a stack takes whole batches, accumulate is {settings.accumulate}")
