"""The fused engine: a network's own step, repeated, with its attention in compiled code.

torch's kernel for attention is made for thousands of tokens: at some 20 it takes more than half of
a small Transformer's step. Its operators are swapped below autograd, in every step and in
evaluation; the rest, and why a step may be repeated, is as in the replay engine.

Entry point: `FusedEngine`.
"""

from collections.abc import Sequence
from typing import Any, final

from torch import Tensor

from .base import Member, Training, Unsuitable
from .fused_attention import BACKWARD, FORWARD, attention, attention_gradients, serves
from .plain import Network
from .replay_swap import Swaps
from .replay_team import Rehearsals, ReplayTeam, rehearse, started

_SWAPS: Swaps = {FORWARD: attention, BACKWARD: attention_gradients}


@final
class FusedEngine:
    """Trains each member by itself, by repeating its own steps with compiled attention."""

    name = "fused"

    def __init__(self) -> None:
        self._rehearsals = Rehearsals(_rehearse)

    def start(self, training: Training, members: Sequence[Member]) -> ReplayTeam:
        """Build all members.

        Raises:
            Unsuitable: The device is no CPU, the precision is bfloat16, or the first network's step
                cannot be repeated or has no attention to compile.
        """
        if training.settings.autocast is not None:
            precision = training.settings.precision
            raise Unsuitable(f"attention is compiled for float32 and float64, not for {precision}")
        return started(training, members, self._rehearsals, _SWAPS)


def _rehearse(training: Training, network: Network) -> str | None:
    """Return why a network's steps are of no use here; it is of no other use afterwards."""
    served: list[bool] = []

    def noticing(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        dropout_p: float = 0.0,
        *more: Any,
        **options: Any,
    ) -> tuple[Tensor, Tensor]:
        served.append(serves(query, key, value, dropout_p, options.get("attn_mask")))
        return attention(query, key, value, dropout_p, *more, **options)

    refusal = rehearse(training, network, {**_SWAPS, FORWARD: noticing})
    if refusal is None and not any(served):
        return (
            "the step has no attention that is compiled: torch's scaled dot product on a CPU, "
            "without a mask or dropout"
        )
    return refusal
