"""Stopping: when a search has found what there is to find.

A search is over when forty more trainings, as many as a study has by default, would together gain
less than the luck of a single one, and that has been so for five trainings in a row. What the next
training is expected to gain is its knowledge gradient: how much it is expected to raise what is
believed of the best candidate, its own noise counted. That falls as a search goes on, so that forty
times the next one bounds what forty would gain.

Never before the plain baselines are judged, and never before there are so many trainings as a
quadratic surface in the widths has slopes and curvatures, with those that tell the noise.

On planted surfaces of two widths, over 20 seeds: a flat one was left after 20 trainings in the
median and 28 at most, one with a peak of 30 times the noise never before the peak was found (28 to
50). One training in place of five left the peak undiscovered in 3 of 20.

Sources: Frazier, Powell and Dayanik, A knowledge-gradient policy for sequential information
collection (SIAM J. Control Optim. 47, 2008); that the gain to be expected should exceed the error
of measuring it is the rule of Makarova et al., Automatic Termination for Hyperparameter
Optimization (AutoML 2022). Their distance of confidence bounds fell below the noise only after 50
of 60 trainings, or never, on tables of finished trainings where nothing was gained after 15.

Entry point: `StoppingRule`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..errors import Exhausted
from ..sampler.history import History
from ..sampler.suggest import Suggester
from ..space.feasible_set import stack_rows
from ..space.neighbourhood import hash_rows

FURTHER_TRAININGS = 40
"""Trainings that have to gain more than the noise of one: the default budget of a study."""

IN_A_ROW = 5
"""Trainings after each of which the rule has to hold."""

MIN_TRAININGS = 10
"""Trainings below which no search stops itself."""

# Trainings among which the end of a search that did not stop itself is looked for afterwards.
_MAX_REVIEWED = 200


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """When the search of a suggester has found what there is to find.

    Attributes:
        suggester: What searches.
    """

    suggester: Suggester

    @property
    def least_trainings(self) -> int:
        """Trainings to their end before which the search goes on in any case."""
        dimensions = self.suggester.feasible_set.space.dimensions
        return max(MIN_TRAININGS, len(self.suggester.baselines) + 2 * (dimensions + 1))

    def is_met(self, history: History) -> bool:
        """Return whether the search is over after a history."""
        count = int(history.is_full_fidelity.sum())
        if count < self.least_trainings or not self._are_baselines_judged(history):
            return False
        past = history
        for _ in range(IN_A_ROW):
            if not self._is_flat(past):
                return False
            past = first_trainings(past, len(past.values) - 1)
        return True

    def trainings_needed(self, history: History) -> int | None:
        """Return after how many trainings the search could have ended; None where it could not.

        It is looked for by halving: after that many the rule is met, after one less it is not.
        """
        if len(history.pending) or history.fidelity is not None:
            return None
        least, most = self.least_trainings, len(history.values)
        before = least - 1
        for count in _growing(least, min(most, _MAX_REVIEWED)):
            if self.is_met(first_trainings(history, count)):
                break
            before = count
        else:
            return None
        while count - before > 1:
            middle = (before + count) // 2
            if self.is_met(first_trainings(history, middle)):
                count = middle
            else:
                before = middle
        return count

    def _is_flat(self, history: History) -> bool:
        """Return whether so many more trainings would gain less than the noise of one."""
        rng = np.random.default_rng(len(history.values))
        try:
            [suggestion] = self.suggester.suggest_batch(history, rng, 1)
        except Exhausted:
            return True
        gain = suggestion.relative_gain
        return gain is not None and FURTHER_TRAININGS * gain < 1.0

    def _are_baselines_judged(self, history: History) -> bool:
        """Return whether every baseline has been trained, or has failed."""
        space = self.suggester.feasible_set.space
        rows = [space.as_row(baseline.widths) for baseline in self.suggester.baselines]
        hashes = hash_rows(stack_rows(rows, space))
        is_pending = np.isin(hashes, hash_rows(history.pending))
        return bool((np.isin(hashes, hash_rows(history.tried)) & ~is_pending).all())


def first_trainings(history: History, count: int) -> History:
    """Return a history with the first so many metrics only; what failed stays."""

    def cut(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[:count]

    return replace(
        history,
        observed=history.observed[:count],
        values=history.values[:count],
        fidelity=cut(history.fidelity),
        constraint_values=cut(history.constraint_values),
        encoded_companions=cut(history.encoded_companions),
    )


def _growing(least: int, most: int) -> Iterator[int]:
    """Yield numbers from `least`, each half as much again as the one before, and at last `most`."""
    count = least
    while count < most:
        yield count
        count += (count + 1) // 2
    if most >= least:
        yield most
