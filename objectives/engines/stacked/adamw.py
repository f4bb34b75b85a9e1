"""AdamW for a stack: one update of all members' parameters, each number with a rate of its own.

torch's fused kernel takes one rate for all, and its update is proportional to it. Applied to zeros,
with rate 1 and no decay, it gives the update for rate 1, which is multiplied by the rates:

    weights ← weights · kept - rates · m̂ / (√v̂ + ε),    kept = 1 - rate · decay

A schedule multiplies both rates by a factor, which lies in a tensor: a captured step reads it anew.

The rate is zero in the padding, which therefore stays zero whatever its gradient.

Entry point: `StackedAdamW`.
"""

from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor
from torch.optim.adamw import adamw


@final
class StackedAdamW:
    """The optimizer of flat parameters; all members have done the same number of steps."""

    def __init__(
        self, rates: Tensor, decay_factors: Tensor | None, *, scheduled: bool = False
    ) -> None:
        """Start at step 0.

        Args:
            rates: Step size of each number, flat.
            decay_factors: Share of each number that decay leaves in a step, flat; None without
                decay.
            scheduled: Whether `set_factor` is called before each step.
        """
        self._rates, self._decay_factors = rates, decay_factors
        self._factor = torch.ones((), dtype=rates.dtype, device=rates.device) if scheduled else None
        self._exp_avg, self._exp_avg_sq = torch.zeros_like(rates), torch.zeros_like(rates)
        self._step = torch.zeros((), device=rates.device)

    def update(self, weights: Tensor, gradient: Tensor) -> None:
        """Do a step, in place; weights and gradient are flat and contiguous."""
        updates = torch.zeros_like(weights)
        adamw(
            [updates],
            [gradient],
            [self._exp_avg],
            [self._exp_avg_sq],
            [],
            [self._step],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=1.0,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        rates, decay_factors = self._rates, self._decay_factors
        if self._factor is not None:
            rates = rates * self._factor
            if decay_factors is not None:
                decay_factors = 1 - (1 - decay_factors) * self._factor
        if decay_factors is not None:
            weights.mul_(decay_factors)
        weights.addcmul_(updates, rates)

    def set_factor(self, factor: float) -> None:
        """Set what the rates are multiplied by in the next step, where they are scheduled."""
        if self._factor is not None:
            self._factor.fill_(factor)

    @property
    def moments(self) -> Mapping[str, Tensor]:
        """The flat moments, by their names in a snapshot; a state is loaded by writing to them."""
        return {"exp_avg": self._exp_avg, "exp_avg_sq": self._exp_avg_sq}

    def load_state(self, steps: int) -> None:
        """Set the number of steps done; the moments are written separately."""
        self._step.fill_(steps)

    def subset(self, select: Callable[[Tensor], Tensor]) -> "StackedAdamW":
        """Return the optimizer of some members, whose numbers `select` takes from a flat tensor."""
        decay_factors = None if self._decay_factors is None else select(self._decay_factors)
        scheduled = self._factor is not None
        subset = StackedAdamW(select(self._rates), decay_factors, scheduled=scheduled)
        subset._exp_avg, subset._exp_avg_sq = select(self._exp_avg), select(self._exp_avg_sq)
        subset._step = self._step.clone()
        return subset
