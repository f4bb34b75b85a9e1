"""The rank of a layer's activations: how many of its dimensions it uses.

    srank    the fewest singular values that hold 99 % of the sum of all
             Kumar et al., Implicit Under-Parameterization Inhibits Data-Efficient Deep
             Reinforcement Learning (2021), arXiv 2010.14498, section 3, δ = 0.01
    stable   Σ σ² / max σ²                   Rudelson and Vershynin (2007)
    entropy  exp(−Σ p ln p), p = σ / Σ σ     Roy and Vetterli, The Effective Rank (2007)

Activations are centred: what is the same for every row belongs to the bias. With no more rows than
dimensions the ranks are bounded by the rows, which is said.
Entry points: `activation_rank`, `ActivationRank`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DELTA = 0.01
"""Share of the sum of singular values that srank leaves out; the paper's."""

_ROUNDING = 1e-6
"""Singular values below this share of the largest are rounding, in single precision."""


@dataclass(frozen=True, kw_only=True)
class ActivationRank:
    """The ranks of activations.

    Attributes:
        dimensions: Neurons or channels.
        srank: Dimensions that hold 99 % of the singular values' sum.
        stable: Stable rank.
        entropy: Effective rank by entropy.
        constant: Neurons whose activation is the same for every row, such as dead ones.
        rows: Positions that were looked at.
    """

    dimensions: int
    srank: int
    stable: float
    entropy: float
    constant: int
    rows: int

    @property
    def is_bounded_by_rows(self) -> bool:
        """Whether there are too few rows to tell the dimensions apart."""
        return self.rows <= self.dimensions


def activation_rank(activations: Tensor) -> ActivationRank:
    """Return the ranks of activations, [positions, channels]."""
    values = activations.detach().double().cpu()
    centred = values - values.mean(dim=0)
    # From the Gram matrix of the shorter side: positions are many.
    gram = centred.T @ centred if len(values) > values.shape[1] else centred @ centred.T
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(0)
    largest = float(singular[0]) if len(singular) else 0.0
    spread = centred.std(dim=0) if len(values) > 1 else torch.zeros(values.shape[1])
    scale = float(values.abs().max()) if values.numel() else 0.0
    constant = int((spread <= _ROUNDING * max(scale, 1e-30)).sum())
    if largest <= _ROUNDING * max(scale, 1e-30):
        return ActivationRank(
            dimensions=values.shape[1],
            srank=0,
            stable=0.0,
            entropy=0.0,
            constant=constant,
            rows=len(values),
        )
    singular = singular[singular > _ROUNDING * largest]
    shares = singular / singular.sum()
    return ActivationRank(
        dimensions=values.shape[1],
        srank=int((shares.cumsum(0) < 1 - DELTA).sum()) + 1,
        stable=float(singular.square().sum() / largest**2),
        entropy=float((-(shares * shares.log()).sum()).exp()),
        constant=constant,
        rows=len(values),
    )
