"""The suggester: from what a study has tried to the candidate to train next.

The first suggestions are the plain baselines and a few feasible candidates at random (the initial
design); after that, the untried feasible candidate with the most expected gain under the surrogate.
It is stateless: a study can be resumed from what it recorded.

    suggestion = suggester.suggest(history, rng)             # one
    suggestions = suggester.suggest_batch(history, rng, 8)   # eight, apart from each other
    suggester.suggest(history, rng, last=True)               # the best candidate, if untrained
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Exhausted
from ..goal import Goal, GoalKind
from ..space.feasible_set import FeasibleSet
from ..space.local_search import beam_search
from ..space.neighbourhood import Candidates, hash_rows
from ..surrogate.blas_threads import single_blas_thread
from ..surrogate.observations import Floats
from .acquisition import MAX_SCORED, gain_unit, make_acquisition_function, top_by_ei
from .baselines import Baseline
from .best_candidate import MIN_TRAININGS, BestCandidate, best_candidate
from .companions import CompanionParameters
from .history import History
from .joint_search import ScoreFunction, optimise_jointly
from .origin import CONFIRMATION, INITIAL_DESIGN, SAMPLER, Origin
from .posterior import ConstrainedPosterior, encode_candidates, fit_posterior

_SHORTLIST_SIZE = 2048
# Numbers that the polynomial surface may compute for one suggestion: 2^20 candidates of 37 terms.
_MAX_SCREENED_TERMS = 40_000_000
# Candidates that the beam search starts from.
_BEAM_STARTS = 6
# Candidates with the best scores among which the most expected gain is looked for.
_GAIN_CANDIDATES = 64
# Trainings that the surrogate needs at least: for a level, for a slope that all widths share, and
# for the noise. Its priors stand in for the rest, so the initial design need not grow with the
# number of widths (docs/decisions/0004-the-surrogate.md).
_MIN_INITIAL_DESIGN = 3
_NO_FIXED_WIDTHS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A feasible, untried candidate and where it comes from.

    Attributes:
        widths: Its widths by name.
        origin: Who chose it.
        companions: Values of the parameters that are searched along.
        relative_gain: What its training is expected to gain, over the noise of one (see
            `acquisition.gain_unit`); None where the acquisition function did not choose it.
    """

    widths: Mapping[str, int]
    origin: Origin
    companions: Mapping[str, Any] = field(default_factory=dict)
    relative_gain: float | None = None


@dataclass(frozen=True, eq=False)
class _Choice:
    """A candidate to suggest: its widths [d], encoded companions [e] if any, and its origin.

    `log_gain` is the logarithm of what its training is expected to gain, where that is known.
    """

    row: NDArray[np.int64]
    companion_row: Floats | None = None
    origin: Origin = field(kw_only=True)
    log_gain: float | None = None

    @property
    def widths(self) -> Candidates:
        """The widths, [1, d]."""
        return self.row[None, :]

    @property
    def companions(self) -> Floats | None:
        """The encoded companions, [1, e]."""
        return None if self.companion_row is None else self.companion_row[None, :]


@dataclass(frozen=True, kw_only=True)
class Suggester:
    """Suggests candidates of a feasible set for a goal.

    Attributes:
        feasible_set: The candidates.
        goal: What is looked for.
        baselines: What is trained first.
        companion_parameters: What is searched along with the widths; None where nothing is.
    """

    feasible_set: FeasibleSet
    goal: Goal = field(default_factory=Goal)
    baselines: Sequence[Baseline] = ()
    companion_parameters: CompanionParameters | None = None

    @property
    def initial_design_size(self) -> int:
        """Candidates of the initial design: the baselines and at least one at random."""
        return max(len(self.baselines) + 1, _MIN_INITIAL_DESIGN)

    @single_blas_thread()
    def suggest(
        self,
        history: History,
        rng: np.random.Generator,
        *,
        last: bool = False,
        fixed: Mapping[str, Any] = _NO_FIXED_WIDTHS,
    ) -> Suggestion:
        """Return the next candidate to train.

        Args:
            history: All that was tried.
            rng: Source of all randomness; the same history and state give the same suggestion.
            last: Whether the budget ends with it: then the best candidate is trained if it never
                was, so that what is recommended has been confirmed.
            fixed: Widths that somebody else has set, by name: only candidates with these.

        Raises:
            Exhausted: Every feasible candidate was tried.
        """
        if fixed := {name: fixed[name] for name in self.feasible_set.space.names if name in fixed}:
            return self._suggest_with_fixed(history, rng, fixed)
        if last and history.is_full_fidelity.sum() >= MIN_TRAININGS:
            recommended = self.best_candidate(history)
            if (
                recommended is not None
                and not recommended.trained
                and not self._is_tried(recommended.widths, history)
            ):
                return Suggestion(
                    widths=recommended.widths,
                    origin=CONFIRMATION,
                    companions=recommended.companions,
                )
            if recommended is not None and self._is_out_of_reach(recommended):
                nearest = self._nearest_untried(history, rng)
                if nearest is not None:
                    return nearest
        return self.suggest_batch(history, rng, 1)[0]

    @single_blas_thread()
    def suggest_batch(
        self, history: History, rng: np.random.Generator, count: int
    ) -> list[Suggestion]:
        """Return the next candidates, each chosen as if those before it were in training.

        Returns:
            `count` suggestions, or fewer where fewer untried feasible candidates are left.

        Raises:
            Exhausted: Every feasible candidate was tried.
        """
        suggestions: list[Suggestion] = []
        posterior = None
        while len(suggestions) < count:
            choice = self._next_baseline(history) or self._draw_initial_design(history, rng)
            if choice is None and len(history.observed):
                # Hyperparameters are fitted once a batch; each further choice is conditioned on.
                if posterior is None:
                    posterior = fit_posterior(self.feasible_set.space, history).condition_on(
                        self._encoded_pending(history)
                    )
                choice = self._maximise_acquisition(posterior, history, rng)
            if choice is None:
                if suggestions:
                    break
                raise Exhausted(
                    "every feasible candidate was tried: "
                    f"{len(np.unique(hash_rows(history.tried))):,} of "
                    f"{self.feasible_set.space.size:,} candidates keep the limits or were refused"
                )
            suggestions.append(self._suggestion(choice, posterior))
            history = history.with_pending(choice.widths, choice.companions)
            if posterior is not None:
                posterior = posterior.condition_on(
                    encode_candidates(self.feasible_set, choice.widths, choice.companions)
                )
        return suggestions

    def _suggest_with_fixed(
        self, history: History, rng: np.random.Generator, fixed: Mapping[str, Any]
    ) -> Suggestion:
        """Return the best untried candidate with some widths given, of a few thousand at most."""
        space = self.feasible_set.space
        pool = self._candidate_pool(history, rng).copy()
        column_indices = [space.names.index(name) for name in fixed]
        fixed_values = [int(value) for value in fixed.values()]
        if not self.feasible_set.enumerated:
            pool[:, column_indices] = fixed_values
            pool = np.unique(pool[space.contains_rows(pool)], axis=0)
            pool = pool[self.feasible_set.is_feasible(pool)]
        pool = pool[(pool[:, column_indices] == fixed_values).all(axis=1)]
        untried = pool[~np.isin(hash_rows(pool), hash_rows(history.tried))]
        if not len(untried):
            assignments = ", ".join(f"{name}={value}" for name, value in fixed.items())
            raise Exhausted(f"no untried feasible candidate has {assignments}; set other widths")
        if len(untried) > MAX_SCORED:
            untried = untried[rng.choice(len(untried), size=MAX_SCORED, replace=False)]
        best_index = 0
        if self.companion_parameters is None and len(history.observed):
            posterior = fit_posterior(self.feasible_set.space, history).condition_on(
                self._encoded_pending(history)
            )
            best_index = int(np.argmax(self._score_function(posterior, history)(untried)))
        return Suggestion(widths=space.as_mapping(untried[best_index]), origin=SAMPLER)

    @single_blas_thread()
    def best_candidate(self, history: History) -> BestCandidate | None:
        """Return the candidate that is believed to be best now, tried or not.

        None where all known ones failed.

        Args:
            history: It needs at least one metric.
        """
        return best_candidate(
            self.feasible_set,
            self.goal,
            history,
            fit_posterior(self.feasible_set.space, history),
            self.companion_parameters,
        )

    def _suggestion(self, choice: _Choice, posterior: ConstrainedPosterior | None) -> Suggestion:
        decode = None if self.companion_parameters is None else self.companion_parameters.decode
        return Suggestion(
            widths=self.feasible_set.space.as_mapping(choice.row),
            origin=choice.origin,
            relative_gain=None
            if choice.log_gain is None or posterior is None
            else float(np.exp(choice.log_gain)) / gain_unit(posterior, self.goal),
            companions={}
            if decode is None or choice.companion_row is None
            else decode(choice.companion_row),
        )

    def _encoded_pending(self, history: History) -> Floats:
        return encode_candidates(
            self.feasible_set, history.pending, history.pending_encoded_companions
        )

    def _is_out_of_reach(self, best: BestCandidate) -> bool:
        """Return whether a target is set that not even the best candidate is believed to reach."""
        return (
            self.goal.kind is GoalKind.SMALLEST
            and self.goal.target is not None
            and self.goal.sign * best.mean < self.goal.signed_target
        )

    def _nearest_untried(self, history: History, rng: np.random.Generator) -> Suggestion | None:
        """Return the untried candidate that is believed to come nearest to a target out of reach.

        Beyond all means the least known candidate has the most expected gain: a corner of the
        space, such as the smallest network. None where companions are searched along.
        """
        if self.companion_parameters is not None:
            return None
        untried = self._untried(self._candidate_pool(history, rng), history)
        if len(untried) > MAX_SCORED:
            untried = untried[rng.choice(len(untried), size=MAX_SCORED, replace=False)]
        if not len(untried):
            return None
        posterior = fit_posterior(self.feasible_set.space, history)
        encoded = encode_candidates(self.feasible_set, untried, None)
        mean, _ = posterior.metric.predict(encoded)
        usable_mean = np.where(posterior.is_probably_feasible(encoded), mean, -np.inf)
        row = untried[int(np.argmax(usable_mean))]
        return Suggestion(widths=self.feasible_set.space.as_mapping(row), origin=SAMPLER)

    def _is_tried(self, widths: Mapping[str, int], history: History) -> bool:
        row = self.feasible_set.space.as_row(widths)
        return bool(np.isin(hash_rows(row[None, :]), hash_rows(history.tried))[0])

    def _next_baseline(self, history: History) -> _Choice | None:
        for baseline in self.baselines:
            if not self._is_tried(baseline.widths, history):
                return _Choice(
                    row=self.feasible_set.space.as_row(baseline.widths),
                    companion_row=None
                    if self.companion_parameters is None
                    else self.companion_parameters.midpoint(),
                    origin=Origin.baseline(baseline.name),
                )
        return None

    def _draw_initial_design(self, history: History, rng: np.random.Generator) -> _Choice | None:
        """Return a random untried candidate while the initial design lasts, else None.

        Spreading it out, by corners or by medoids, taught no more (docs/decisions/0004).
        """
        if len(history.tried) >= self.initial_design_size and len(history.observed):
            return None
        untried = self._untried(self._candidate_pool(history, rng), history)
        if not len(untried):
            return None
        return _Choice(
            row=untried[rng.integers(len(untried))],
            companion_row=None
            if self.companion_parameters is None
            else self.companion_parameters.sample(1, rng)[0],
            origin=INITIAL_DESIGN,
        )

    def _candidate_pool(self, history: History, rng: np.random.Generator) -> Candidates:
        return self.feasible_set.candidate_pool(rng, history.top_observed)

    def _untried(self, pool: Candidates, history: History) -> Candidates:
        """Return the candidates of a pool that were not tried."""
        if self.companion_parameters is not None:
            return pool
        return pool[~np.isin(self.feasible_set.row_hashes(pool), hash_rows(history.tried))]

    def _maximise_acquisition(
        self, posterior: ConstrainedPosterior, history: History, rng: np.random.Generator
    ) -> _Choice | None:
        """Return the untried candidate with the most expected gain."""
        pool = self._candidate_pool(history, rng)
        score = self._score_function(posterior, history)
        if self.companion_parameters is not None:
            pair = optimise_jointly(pool, self.companion_parameters, score, history, rng)
            return None if pair is None else _Choice(*pair, origin=SAMPLER)
        score_all = self.feasible_set.enumerated and len(pool) <= MAX_SCORED
        untried = self._untried(
            pool if score_all else self._shortlist(posterior, pool, history, rng), history
        )
        if not len(untried) and not score_all:
            untried = self._untried(pool, history)
        if not len(untried):
            return None
        scores = score(untried)
        top = untried[np.argsort(-scores, kind="stable")[:_GAIN_CANDIDATES]]
        log_gain = float(score(top, noise=posterior.metric.noise_deviation).max())
        if score_all:
            row = untried[int(np.argmax(scores))]
            return _Choice(row, origin=SAMPLER, log_gain=log_gain)
        starts = untried[np.argsort(-scores, kind="stable")[:_BEAM_STARTS]]
        row = beam_search(self.feasible_set, score, starts, rng, hash_rows(history.tried))
        return _Choice(row, origin=SAMPLER, log_gain=log_gain)

    def _score_function(self, posterior: ConstrainedPosterior, history: History) -> ScoreFunction:
        """Return the function that scores candidates by their expected gain."""
        acquisition = make_acquisition_function(
            posterior, self.goal, self._goal_cost(np.vstack([history.observed, history.pending]))
        )

        def score(
            candidates: Candidates,
            encoded_companions: Floats | None = None,
            *,
            noise: float = 0.0,
        ) -> Floats:
            return acquisition(
                encode_candidates(self.feasible_set, candidates, encoded_companions),
                self._goal_cost(candidates),
                noise=noise,
            )

        return score

    def _shortlist(
        self,
        posterior: ConstrainedPosterior,
        pool: Candidates,
        history: History,
        rng: np.random.Generator,
    ) -> Candidates:
        """Return the candidates with the best polynomial improvements, and random ones."""
        max_rows = max(_MAX_SCREENED_TERMS // posterior.metric.feature_count, 4 * _SHORTLIST_SIZE)
        if len(pool) > max_rows:
            pool = pool[rng.integers(len(pool), size=max_rows)]
        if len(pool) <= 2 * _SHORTLIST_SIZE:
            return pool
        top_count = min(_SHORTLIST_SIZE + len(history.tried), len(pool))
        top_indices = top_by_ei(posterior, self.feasible_set.encode(pool), top_count)
        random_indices = rng.integers(len(pool), size=_SHORTLIST_SIZE)
        return pool[np.union1d(top_indices, random_indices)]

    def _goal_cost(self, candidates: Candidates) -> Floats:
        if not self.goal.kind.uses_cost:
            return np.zeros(len(candidates))
        return np.asarray(
            self.feasible_set.evaluate_costs(candidates)[self.goal.cost], dtype=np.float64
        )
