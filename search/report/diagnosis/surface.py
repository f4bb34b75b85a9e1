"""The surface that a diagnosis reads: the surrogate's posterior around the recommended widths.

`make_surface` takes it from a study's evidence. Then

    surface.effects(rows, reference)     # what each row has over the reference, with intervals
    surface.best(feasible_set)           # the row believed to be best there
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...space.feasible_set import FeasibleSet
from ...space.local_search import beam_search
from ...space.neighbourhood import Candidates, hash_rows, unique_rows
from ...space.space import Space
from ...surrogate.observations import Floats
from .interval import Effect, effect_of
from .steps import Row

if TYPE_CHECKING:
    from ...sampler.history import History
    from ...sampler.posterior import ConstrainedPosterior
    from ..evidence import StudyEvidence

DRAWS = 4000
"""Joint draws of the posterior: they tell a probability of 0.9 to ± 0.005."""

MAX_LISTED = 2**16
"""Candidates of a space that are all listed and scored; of more, so many and the surroundings of
the best of them are, so that a diagnosis takes seconds."""

MIN_BATCH = 4096
"""Costs that must be to be had at once for untried candidates to be looked at: where each has to be
traced, that would take minutes."""

_SHORTLIST_SIZE = 4096
"""Candidates, the best by the polynomial surface, that every model scores."""
_BEAM_STARTS = 8

RowTest = Callable[[Candidates], NDArray[np.bool_]]
"""Candidates [n, d] → which of them count, [n]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """The posterior of a study's metric, and where one may go on it.

    Attributes:
        space: The lattice.
        posterior: The surrogate.
        history: What was tried.
        feasible: The candidates that keep the limits; None where model or data are not here.
        row: The recommended widths, [d].
        noise: Standard deviation of one training around the surface.
    """

    space: Space
    posterior: ConstrainedPosterior
    history: History
    feasible: FeasibleSet | None
    row: Row
    noise: float

    def draws(self, rows: Candidates) -> Floats:
        """Return joint draws of the noiseless metric, higher being better, [DRAWS, n]."""
        joint = self.posterior.metric.joint(self.space.encode(rows))
        return joint.sample(DRAWS, np.random.default_rng(0))

    def effects(self, rows: Sequence[Row], reference: Row | None = None) -> list[Effect]:
        """Return what each row has over the reference, by default the recommended widths."""
        base = self.row if reference is None else reference
        draws = self.draws(np.vstack([base, *rows]))
        return [effect_of(draws[:, index] - draws[:, 0]) for index in range(1, draws.shape[1])]

    def costs(self, rows: Candidates) -> Mapping[str, NDArray[np.int64]]:
        """Return the costs of rows by name, each [n]; none where they cannot be counted."""
        return {} if self.feasible is None else self.feasible.cost_function(rows)

    def best(self, candidates: FeasibleSet, counts: RowTest | None = None) -> Row | None:
        """Return the row with the best posterior mean; None where no known one counts.

        Args:
            candidates: Where to look; all of it where it is listed, else a draw and from its best
                ones uphill.
            counts: Which rows count; all by default.
        """
        rng = np.random.default_rng(0)
        tops = np.vstack([self.row[None, :], self.history.top_observed])
        if candidates.cost_batch_size < MIN_BATCH:
            # Whatever was trained keeps the limits; to look further would trace for minutes.
            return self.best_of(unique_rows(np.vstack([tops, self.history.observed])), counts)
        pool = candidates.candidate_pool(rng, tops)
        listed = candidates.enumerated and len(pool) <= MAX_LISTED
        if len(pool) > MAX_LISTED:
            pool = pool[rng.choice(len(pool), MAX_LISTED, replace=False)]
        pool = np.vstack([pool, tops[candidates.is_feasible(tops)]])
        if counts is not None:
            pool = pool[counts(pool)]
        if len(pool) > _SHORTLIST_SIZE:
            means = self.posterior.metric.polynomial_mean(self.space.encode(pool))
            pool = pool[np.argpartition(-means, _SHORTLIST_SIZE)[:_SHORTLIST_SIZE]]
        pool = pool[self._is_usable(pool)]
        if not len(pool):
            return None
        means, _ = self.posterior.metric.predict(self.space.encode(pool))
        if listed:
            return np.asarray(pool[int(np.argmax(means))])

        def score(rows: Candidates) -> Floats:
            row_means, _ = self.posterior.metric.predict(self.space.encode(rows))
            usable = self._is_usable(rows)
            if counts is not None:
                usable &= counts(rows)
            return np.where(usable, row_means, -np.inf)

        starts = pool[np.argsort(-means, kind="stable")[:_BEAM_STARTS]]
        return beam_search(candidates, score, starts, rng)

    def best_of(self, pool: Candidates, counts: RowTest | None = None) -> Row | None:
        """Return the best of some rows; None where none counts."""
        if counts is not None:
            pool = pool[counts(pool)]
        pool = pool[self._is_usable(pool)] if len(pool) else pool
        if not len(pool):
            return None
        means, _ = self.posterior.metric.predict(self.space.encode(pool))
        return np.asarray(pool[int(np.argmax(means))])

    def _is_usable(self, rows: Candidates) -> NDArray[np.bool_]:
        """Return which rows did not fail and are likely to keep every measured limit, [n]."""
        usable = ~self.history.is_excluded(rows)
        if self.posterior.outcome_constraints:
            proven = hash_rows(self.history.observed[self.history.is_proven])
            usable &= np.isin(hash_rows(rows), proven) | self.posterior.is_probably_feasible(
                self.space.encode(rows)
            )
        return usable


def make_surface(evidence: StudyEvidence, widths: Mapping[str, int]) -> Surface | None:
    """Return the surface around the recommended widths; None while there is no surrogate."""
    posterior = evidence.posterior
    if posterior is None:
        return None
    return Surface(
        space=evidence.space,
        posterior=posterior,
        history=evidence.history,
        feasible=evidence.feasible,
        row=evidence.space.as_row(widths),
        noise=posterior.metric.noise_deviation,
    )
