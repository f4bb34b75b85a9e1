"""The proposer: from what a study has tried to the candidate that is worth training next.

The first proposals are the plain baselines and a few feasible candidates at random; after that,
the untried feasible candidate with the most expected gain under the surrogate. It keeps nothing
between calls: a study can be resumed from what it recorded.

    proposal = proposer.propose(history, rng)             # one
    proposals = proposer.propose_batch(history, rng, 8)   # eight that do not crowd each other
    proposer.propose(history, rng, last=True)             # confirms the pick if it is untrained
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Exhausted
from ..goal import Goal
from ..space.feasible_set import Candidates, FeasibleSet, keys, rows
from ..space.local_search import climb
from ..surrogate.blas_threads import one_thread
from .acquisition import contenders, worth
from .baselines import Baseline
from .best_candidate import Pick, pick
from .companions import Riders
from .history import History
from .joint_search import Score, best_pair
from .posterior import Belief, believe, columns

__all__ = ["CONFIRMED", "DRAWN", "SAMPLED", "History", "Proposal", "Proposer", "rows"]

Floats = NDArray[np.float64]

SAMPLED = "sampler"
DRAWN = "start-up design"
CONFIRMED = "confirmation"

# Open candidates that every surface judges: 20,000 take some 50 ms. Of more, a shortlist is.
_JUDGED = 20_000
_SHORTLIST = 2048
# Numbers that the response surface may work out for one proposal: 2^20 candidates of 37 terms.
_SCREENED = 40_000_000
# Where the climb starts from.
_STARTS = 6
# Below this many metrics a surrogate has no ground to confirm anything.
_FEWEST = 4
# Trainings that the surrogate needs at least: a level, a slope that all widths share, and one to
# judge them by. Its priors stand in for the rest, so the start-up design need not grow with the
# number of widths (docs/decisions/0004-the-surrogate.md).
_DESIGN = 3
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A feasible, untried candidate and where it comes from.

    Attributes:
        widths: Its widths by name.
        origin: A baseline's name, the start-up design, the sampler, or a confirmation.
        companions: Values of the parameters that ride along.
    """

    widths: Mapping[str, int]
    origin: str
    companions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Proposer:
    """Proposes candidates of a feasible set for a goal.

    Attributes:
        feasible: The candidates.
        goal: What is looked for.
        baselines: What is trained first.
        riders: Parameters that ride along; None where only widths are searched.
    """

    feasible: FeasibleSet
    goal: Goal = field(default_factory=Goal)
    baselines: Sequence[Baseline] = ()
    riders: Riders | None = None

    @property
    def design(self) -> int:
        """Candidates of the start-up design: the baselines and at least one at random."""
        return max(len(self.baselines) + 1, _DESIGN)

    @one_thread()
    def propose(
        self,
        history: History,
        rng: np.random.Generator,
        *,
        last: bool = False,
        fixed: Mapping[str, Any] = _NOTHING,
    ) -> Proposal:
        """The next candidate to train.

        Args:
            history: All that was tried.
            rng: Source of all randomness; the same history and state give the same proposal.
            last: Whether the budget ends with it: then the pick is trained if it never was, so
                that what is recommended has been seen.
            fixed: Widths that somebody else has set, by name: only candidates with these.

        Raises:
            Exhausted: Every feasible candidate was tried.
        """
        if fixed := {name: fixed[name] for name in self.feasible.space.names if name in fixed}:
            return self._fixed(history, rng, fixed)
        if last and len(history.observed) >= _FEWEST:
            best = self.pick(history)
            if not best.trained and not self._is_tried(best.widths, history):
                return Proposal(widths=best.widths, origin=CONFIRMED, companions=best.companions)
        return self.propose_batch(history, rng, 1)[0]

    @one_thread()
    def propose_batch(
        self, history: History, rng: np.random.Generator, number: int
    ) -> list[Proposal]:
        """The next candidates to train at once, each chosen as if those before it were running.

        Returns:
            `number` proposals, or fewer where fewer untried feasible candidates are left.

        Raises:
            Exhausted: Every feasible candidate was tried.
        """
        found: list[Proposal] = []
        belief = None
        while len(found) < number:
            chosen = self._baseline(history) or self._drawn(history, rng)
            if chosen is None and len(history.observed):
                # Hyperparameters are learned once a batch; each further one is conditioned on.
                if belief is None:
                    belief = believe(self.feasible, history).given(self._pending(history))
                chosen = self._sampled(belief, history, rng)
            if chosen is None:
                if found:
                    break
                raise Exhausted(
                    "every feasible candidate was tried: "
                    f"{len(np.unique(keys(history.tried))):,} of {self.feasible.space.size:,} "
                    "candidates keep the limits or were refused"
                )
            row, rider, origin = chosen
            found.append(
                Proposal(
                    widths=self.feasible.space.as_mapping(row),
                    origin=origin,
                    companions={}
                    if self.riders is None or rider is None
                    else self.riders.decode(rider),
                )
            )
            more = None if rider is None else rider[None, :]
            history = history.waiting_for(row[None, :], more)
            if belief is not None:
                belief = belief.given(columns(self.feasible, row[None, :], more))
        return found

    def _fixed(
        self, history: History, rng: np.random.Generator, fixed: Mapping[str, Any]
    ) -> Proposal:
        """The best of the open candidates with some widths given; of a few thousand at most."""
        space = self.feasible.space
        pool = self._pool(history, rng).copy()
        columns_ = [space.names.index(name) for name in fixed]
        wanted = [int(value) for value in fixed.values()]
        if not self.feasible.enumerated:
            pool[:, columns_] = wanted
            pool = np.unique(pool[space.contains_rows(pool)], axis=0)
            pool = pool[self.feasible.admitted(pool)]
        pool = pool[(pool[:, columns_] == wanted).all(axis=1)]
        open_ = pool[~np.isin(keys(pool), keys(history.tried))]
        if not len(open_):
            shown = ", ".join(f"{name}={value}" for name, value in fixed.items())
            raise Exhausted(f"no untried feasible candidate has {shown}; set other widths")
        if len(open_) > _JUDGED:
            open_ = open_[rng.choice(len(open_), size=_JUDGED, replace=False)]
        best = 0
        if self.riders is None and len(history.observed):
            belief = believe(self.feasible, history).given(self._pending(history))
            best = int(np.argmax(self._scorer(belief, history)(open_)))
        return Proposal(widths=space.as_mapping(open_[best]), origin=SAMPLED)

    @one_thread()
    def pick(self, history: History) -> Pick:
        """The candidate that is believed to be best now, tried or not.

        Args:
            history: It needs at least one metric.
        """
        return pick(self.feasible, self.goal, history, believe(self.feasible, history), self.riders)

    def _pending(self, history: History) -> Floats:
        return columns(self.feasible, history.pending, history.pending_riders)

    def _is_tried(self, widths: Mapping[str, int], history: History) -> bool:
        row = self.feasible.space.as_row(widths)
        return bool(np.isin(keys(row[None, :]), keys(history.tried))[0])

    def _baseline(self, history: History) -> _Chosen | None:
        for baseline in self.baselines:
            if not self._is_tried(baseline.widths, history):
                row = self.feasible.space.as_row(baseline.widths)
                rider = None if self.riders is None else self.riders.middle()
                return row, rider, baseline.name
        return None

    def _drawn(self, history: History, rng: np.random.Generator) -> _Chosen | None:
        """While the start-up design lasts, a random open candidate.

        Spreading it out, by corners or by medoids, taught no more (docs/decisions/0004).
        """
        if len(history.tried) >= self.design and len(history.observed):
            return None
        open_ = self._open(self._pool(history, rng), history)
        if not len(open_):
            return None
        row = open_[rng.integers(len(open_))]
        return row, None if self.riders is None else self.riders.sample(1, rng)[0], DRAWN

    def _pool(self, history: History, rng: np.random.Generator) -> Candidates:
        return self.feasible.pool(rng, history.observed[_leaders(history)])

    def _open(self, pool: Candidates, history: History) -> Candidates:
        """The candidates of a pool that were not tried."""
        if self.riders is not None:
            return pool
        return pool[~np.isin(self.feasible.keys(pool), keys(history.tried))]

    def _sampled(
        self, belief: Belief, history: History, rng: np.random.Generator
    ) -> _Chosen | None:
        """The open candidate with the most expected gain."""
        pool = self._pool(history, rng)
        score = self._scorer(belief, history)
        if self.riders is not None:
            found = best_pair(pool, self.riders, score, history, rng)
            return None if found is None else (*found, SAMPLED)
        exact = self.feasible.enumerated and len(pool) <= _JUDGED
        open_ = self._open(pool if exact else self._shortlist(belief, pool, history, rng), history)
        if not len(open_) and not exact:
            open_ = self._open(pool, history)
        if not len(open_):
            return None
        scores = score(open_)
        if exact:
            return open_[int(np.argmax(scores))], None, SAMPLED
        starts = open_[np.argsort(-scores, kind="stable")[:_STARTS]]
        return climb(self.feasible, score, starts, keys(history.tried), rng), None, SAMPLED

    def _scorer(self, belief: Belief, history: History) -> Score:
        """What is expected of training candidates."""
        judge = worth(belief, self.goal, self._cost(np.vstack([history.observed, history.pending])))

        def score(candidates: Candidates, riders: Floats | None = None) -> Floats:
            return judge(columns(self.feasible, candidates, riders), self._cost(candidates))

        return score

    def _shortlist(
        self, belief: Belief, pool: Candidates, history: History, rng: np.random.Generator
    ) -> Candidates:
        """Candidates worth a closer look: the response surface's favourites and random ones."""
        at_most = max(_SCREENED // belief.metric.terms, 4 * _SHORTLIST)
        if len(pool) > at_most:
            pool = pool[rng.integers(len(pool), size=at_most)]
        if len(pool) <= 2 * _SHORTLIST:
            return pool
        number = min(_SHORTLIST + len(history.tried), len(pool))
        likely = contenders(belief, self.feasible.encoded(pool), number)
        luck = rng.integers(len(pool), size=_SHORTLIST)
        return pool[np.union1d(likely, luck)]

    def _cost(self, candidates: Candidates) -> Floats:
        if self.goal.kind == "best":
            return np.zeros(len(candidates))
        return np.asarray(self.feasible.costs(candidates)[self.goal.cost], dtype=np.float64)


_Chosen = tuple[NDArray[np.int64], Floats | None, str]


def _leaders(history: History, count: int = 4) -> NDArray[np.intp]:
    """Indices of the best observed candidates: a draw includes their neighbours."""
    return np.argsort(-history.values, kind="stable")[:count]
