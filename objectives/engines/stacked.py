"""The stacked engine: networks of several widths padded to common ones and trained as one.

Made for GPUs, where a narrow network leaves most of the chip idle, and for narrow networks, where
most time goes into starting operations. Layers that compute otherwise when padded are found by a
probe and refused; CUDA graphs are not used.

Entry point: `StackedEngine`.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..errors import reason
from ..objective import Objective
from ..randomness import Randomness
from .base import Member, Training, Unsuitable
from .padding import Network, fits, held, structure, trainable
from .padding_plan import Group, Outline, halves, plan
from .probe import extremes, prove
from .stacked_stack import Stack

OVERHEAD = 5e6
"""Multiplications that a CPU core does while a stack's step is set up: about a millisecond."""

Key = tuple[Hashable, frozenset[str], bool]
"""What a verdict is about: structure, widths that are padded, whether there is decay."""


@final
class StackedEngine:
    """Trains networks in stacks; see `Engine`."""

    name = "stacked"

    def __init__(self, overhead: float = OVERHEAD) -> None:
        """Set the price of a stack.

        Args:
            overhead: Of a step, in multiplications: the larger, the fewer and wider the stacks.
        """
        self._overhead = overhead
        self._verdicts: WeakKeyDictionary[Objective, dict[Key, str | None]] = WeakKeyDictionary()

    def start(self, training: Training, members: Sequence[Member]) -> "StackedTeam":
        """Build all members and stack them.

        Raises:
            Unsuitable: Settings, or modules, that a stack would compute differently.
        """
        _require_supported(training)
        networks, faults = _build(training, members)
        stacks = []
        for group, template in self._templates(training, _outlines(networks.values()), networks):
            mine = [networks[place] for place in group.places]
            self._require_safe(training, mine, template)
            stacks.append(Stack(training, mine, template))
        parameters = {
            place: sum(p.numel() for p in one.model.parameters()) for place, one in networks.items()
        }
        return StackedTeam(training, stacks, faults, parameters)

    def groups(self, training: Training, members: Sequence[Member]) -> list[Group]:
        """Return which members would share a stack, and the widths that it would be padded to.

        A stack holds as much as so many networks of those widths. Members that cannot be built
        are in no group.

        Raises:
            Unsuitable: A member cannot be built again.
        """
        networks, _ = _build(training, members)
        found = self._templates(training, _outlines(networks.values()), networks)
        return [group for group, _ in found]
