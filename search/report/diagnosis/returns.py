"""Diminishing returns: the best quality at each size, and where doubling stops paying.

What counts is the best network of at most each size, but trainings are of good and bad ones. So
every training is raised by what the surrogate believes the best candidate of at most its size to
have over it (its shortfall); the power law is fitted to these. Each keeps its own noise, no lucky
one is picked, and the less sure a shortfall is the less its training weighs:

    weight = noise² / (noise² + variance of the shortfall)

Entry points: `diagnose_returns`, `Returns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....objectives.cost.registry import Unit
from ...space.neighbourhood import Candidates
from ...surrogate.observations import Floats
from ...units import COST_BY_NAME, format_compact, format_memory
from .interval import Effect, format_amount, gain_unit
from .power_law import Estimated, NoLaw, PowerLaw, fit_power_law
from .surface import MIN_BATCH, Surface

if TYPE_CHECKING:
    from ..evidence import StudyEvidence

MAX_TRIALS = 150
"""Trainings that a law is fitted to; of more, so many spread evenly over the sizes."""
SHORTFALL_DRAWS = 20
"""Draws of all shortfalls together that a law is fitted to: they err together, not one by one."""
MAX_POOL = 4096
"""Feasible candidates among which the best of each size is looked for."""

_VAGUE_RATIO = 20.0
"""Ratio of an interval's ends from which on an exponent is as good as unknown."""


@dataclass(frozen=True, kw_only=True)
class Returns:
    """Quality against one measure of size.

    Attributes:
        cost: The measure, a name of the registry.
        size: Of the recommended network.
        law: The fitted law, or why there is none.
        doubling: Gain of the best network of twice the recommended one's size; None without a law.
        pays_until: Size from which doubling brings less than the noise of one training; likewise.
        noise: Standard deviation of one training.
        sign: −1 where a lower metric is better.
        metric: What a gain is in, `gain_unit`.
    """

    cost: str
    size: float
    law: PowerLaw | NoLaw
    doubling: Estimated | None
    pays_until: Estimated | None
    noise: float
    sign: float
    metric: str

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON; the law is ceiling − amplitude · size^(−exponent)."""
        if isinstance(self.law, NoLaw):
            return {"cost": self.cost, "size": self.size, "law": None, "reason": self.law.reason}
        ceiling, exponent = self.law.ceiling, self.law.exponent
        ends = sorted((self.sign * ceiling.low, self.sign * ceiling.high))
        assert self.doubling is not None
        assert self.pays_until is not None
        return {
            "cost": self.cost,
            "size": self.size,
            "law": {
                "limit_of_metric": {
                    "value": self.sign * ceiling.value,
                    "low": ends[0],
                    "high": ends[1],
                },
                "exponent": estimated_json(exponent),
            },
            "doubling": {
                "gain": self.doubling.value,
                "low": self.doubling.low,
                "high": self.doubling.high,
            },
            "pays_until": estimated_json(self.pays_until),
            "noise": self.noise,
        }

    def sentence(self) -> str:
        """Return what a person reads."""
        title = COST_BY_NAME[self.cost].title
        if isinstance(self.law, NoLaw):
            return f"Returns of {title}: no power law is told; {self.law.reason}."
        assert self.doubling is not None
        assert self.pays_until is not None
        return (
            f"Twice the {title} would bring {format_estimated(self.doubling)} {self.metric} "
            f"({describe_exponent(self.law.exponent)}). {self._pays_sentence(title)}"
        )

    @property
    def has_stopped_paying(self) -> bool:
        """Whether twice the size would bring less than the noise of one training."""
        return self.doubling is not None and self.doubling.high < self.noise

    def _pays_sentence(self, title: str) -> str:
        assert self.doubling is not None
        assert self.pays_until is not None
        noise = f"the noise of one training (± {format_amount(self.noise)})"
        if self.has_stopped_paying:
            return f"That is less than {noise}: doubling has stopped paying."
        until = self.pays_until
        ends = f"{self._size(until.low)} to {self._size(until.high)}"
        if not np.isfinite(until.low):
            more = "more" if self.doubling.low > self.noise else "not clearly more"
            return f"That is {more} than {noise}, and no end of it is in sight."
        if self.doubling.low > self.noise:
            return f"That is more than {noise}; doubling stops paying at {ends} {title}."
        is_vague = not until.high <= _VAGUE_RATIO * until.low
        where = "" if is_vague else f"; it stops at {ends} {title}"
        return f"Whether that is more than {noise} is not clear{where}."

    def _size(self, size: float) -> str:
        """Return a size in three digits."""
        if not np.isfinite(size):
            return "far beyond"
        if COST_BY_NAME[self.cost].unit is Unit.BYTES:
            return format_memory(round(size))
        return format_compact(round(size))


def diagnose_returns(evidence: StudyEvidence, surface: Surface, cost: str) -> Returns | None:
    """Fit the law of quality in a cost; None where the cost is not known."""
    trials = [
        trial
        for trial in evidence.trials
        if trial.costs.get(cost, 0) > 0 and not trial.no_better_than_constant
    ]
    figures = surface.costs(surface.row[None, :]).get(cost)
    if not trials or figures is None:
        return None
    trials = sorted(trials, key=lambda trial: trial.costs[cost])
    if len(trials) > MAX_TRIALS:
        picks = np.linspace(0, len(trials) - 1, MAX_TRIALS).round().astype(int)
        trials = [trials[index] for index in picks]
    rows = np.stack([surface.space.as_row(trial.widths) for trial in trials])
    sizes = np.array([float(trial.costs[cost]) for trial in trials])
    values = np.array([evidence.goal.sign * trial.value for trial in trials])
    shortfall, deviation, draws = _shortfalls(surface, rows, sizes, cost)
    law = fit_power_law(
        sizes,
        values + shortfall,
        surface.noise**2 / (surface.noise**2 + deviation**2),
        draws=values + draws,
        what=COST_BY_NAME[cost].title,
    )
    size = float(figures[0])
    return Returns(
        cost=cost,
        size=size,
        law=law,
        doubling=law.gain(size, 2.0) if isinstance(law, PowerLaw) else None,
        pays_until=law.pays_until(surface.noise) if isinstance(law, PowerLaw) else None,
        noise=surface.noise,
        sign=evidence.goal.sign,
        metric=gain_unit(evidence.spec.metric, evidence.goal),
    )


def _shortfalls(
    surface: Surface, rows: Candidates, sizes: Floats, cost: str
) -> tuple[Floats, Floats, Floats]:
    """Return what the best candidate of at most each size has over a row.

    Returns:
        Mean [n], deviation [n] and joint draws [SHORTFALL_DRAWS, n].
    """
    pool, pool_sizes = _pool(surface, rows), sizes
    if len(pool) > len(rows):
        pool_sizes = surface.costs(pool)[cost].astype(np.float64)
    means, _ = surface.posterior.metric.predict(surface.space.encode(pool))
    best = _best_up_to(sizes, pool_sizes, means)
    joint = surface.posterior.metric.joint(surface.space.encode(np.vstack([rows, pool[best]])))
    count = len(rows)
    mean, deviation = joint.contrasts(np.hstack([-np.eye(count), np.eye(count)]))
    draws = joint.sample(SHORTFALL_DRAWS, np.random.default_rng(0))
    return mean, deviation, draws[:, count:] - draws[:, :count]


def _pool(surface: Surface, rows: Candidates) -> Candidates:
    """Return feasible candidates of every size, the rows among them; else these alone."""
    feasible = surface.feasible
    assert feasible is not None, "costs are known only where the feasible set is"
    if feasible.cost_batch_size < MIN_BATCH:
        return rows
    rng = np.random.default_rng(0)
    pool = feasible.candidate_pool(rng, surface.history.top_observed)
    if len(pool) > MAX_POOL:
        pool = pool[rng.choice(len(pool), MAX_POOL, replace=False)]
    return np.vstack([pool, surface.row, rows])


def _best_up_to(sizes: Floats, pool_sizes: Floats, means: Floats) -> NDArray[np.intp]:
    """Return for each size the index of the pool's best mean among those of at most that size."""
    order = np.argsort(pool_sizes, kind="stable")
    running = np.maximum.accumulate(means[order])
    is_new = np.concatenate([[True], running[1:] > running[:-1]])
    last_new = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))
    position = np.searchsorted(pool_sizes[order], sizes, side="right") - 1
    return np.asarray(order[last_new[position]])


def describe_exponent(exponent: Estimated) -> str:
    """Return the exponent of a law for people."""
    if exponent.high > _VAGUE_RATIO * exponent.low:
        return "by a power law whose exponent these trainings cannot tell"
    return (
        f"power law with exponent {exponent.value:.2g}, 90 %: {exponent.low:.2g} to "
        f"{exponent.high:.2g}"
    )


def estimated_json(estimated: Estimated) -> dict[str, float | None]:
    """Return an estimate as JSON, which has no infinity: None there."""
    figures = {"value": estimated.value, "low": estimated.low, "high": estimated.high}
    return {name: figure if np.isfinite(figure) else None for name, figure in figures.items()}


def format_estimated(estimated: Estimated) -> str:
    """Return an estimated gain for people: `+0.0042 (0.0011 to 0.0073)`."""
    return str(
        Effect(
            mean=estimated.value,
            low=estimated.low,
            high=estimated.high,
            probability_positive=float(estimated.value > 0),
        )
    )
