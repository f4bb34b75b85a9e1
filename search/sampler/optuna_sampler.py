"""The sampler: Widthwise's suggestions in any Optuna study with plain `suggest_int` calls.

`WidthSampler` suggests widths that keep every limit and that nobody has tried; other parameters of
a trial are companions, searched together with them. It is stateless: all it knows it reads from
the study, so a study goes on wherever its storage is opened. `WidthSampler.recommend` returns the
candidate that is best now, tried or not.

A trial's suggestion is written into the trial (`SUGGESTION_KEY`) before it is used, and made again
where another worker's trial holds the same: no two workers ever train the same widths.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import TrialPruned
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from ..errors import Exhausted
from ..goal import Goal, MetricDirection
from ..space.feasible_set import COST_BATCH_SIZE, BatchCostFunction, FeasibleSet, no_costs
from ..space.limits import Limits
from ..space.space import Space
from .baselines import Baseline
from .best_candidate import BestCandidate
from .history import History
from .optuna_history import (
    SUGGESTION_KEY,
    StoredTrial,
    end_exhausted_study,
    holds_value,
    infer_companion_parameters,
    read_history,
)
from .suggest import Suggester, Suggestion

_log = logging.getLogger(__name__)

# Suggestions for one trial: each further one means that another worker holds the same widths.
_MAX_SUGGESTIONS = 20


class StudyExhausted(Exhausted, TrialPruned):
    """Every feasible candidate was tried.

    Inside `study.optimize` it prunes the trial that found nothing left, and the study ends there;
    a caller of `study.ask` sees it as `Exhausted`.
    """


@final
class WidthSampler(BaseSampler):
    """An Optuna sampler that suggests feasible, untried widths only.

    Example:
        ```python
        sampler = WidthSampler(space, Limits(parameters=20_000), cost=model.evaluate)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(lambda trial: train(trial.suggest_int("hidden", 8, 512, step=8)), 40)
        best = sampler.recommend(study)
        ```

    Args:
        space: The lattice; each width is asked for by its name, by `suggest_int` or
            `suggest_categorical` with a range that holds all its values. Other parameters are
            searched along with the widths from their second trial on.
        limits: Upper bounds of the costs; none by default.
        cost: Costs by name of candidates [n, d]; needed where there are limits.
        seed: Makes suggestions repeatable: they depend on it, the trial's number and the study.
        baselines: Candidates to suggest first.
        goal: What to look for. Its kind, target and cost count; the study says the direction.
        measured: Names of constraints that `trial.set_constraint` gives after the training, such
            as latency: at most 0 is feasible. The probability to keep them is learned.
        fidelity: Name of a user attribute of trials that says how long they trained, such as
            "epochs": shorter trainings inform, only the longest count.
        cost_batch_size: How many candidates `cost` may be asked for in one go.

    Raises:
        NothingFeasible: No candidate keeps the limits.
    """

    def __init__(
        self,
        space: Space,
        limits: Limits | None = None,
        cost: BatchCostFunction = no_costs,
        *,
        seed: int | None = None,
        baselines: Sequence[Baseline] = (),
        goal: Goal | None = None,
        measured: Sequence[str] = (),
        fidelity: str | None = None,
        cost_batch_size: int = COST_BATCH_SIZE,
    ) -> None:
        self._feasible_set = FeasibleSet(
            space, limits or Limits(), cost, cost_batch_size=cost_batch_size
        )
        self._baselines = tuple(baselines)
        self._goal = goal or Goal()
        self._measured = tuple(measured)
        self._fidelity = fidelity
        # Without a seed each sampler draws its own, so that workers do not repeat each other.
        self._entropy = np.random.SeedSequence().entropy if seed is None else seed

    @property
    def space(self) -> Space:
        """The lattice."""
        return self._feasible_set.space

    def reseed_rng(self) -> None:
        """Do nothing: every trial's number gives it random numbers of its own."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: each parameter of a suggestion is handed out as it is asked for.

        So a width may be asked for as a range, a log range or a choice, whatever suits the user.
        """
        del study, trial
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a value for each parameter of a search space."""
        self._raise_error_if_multi_objective(study)
        return {
            name: self.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the trial's suggestion for one parameter.

        Raises:
            StudyExhausted: Every feasible candidate was tried; the study stops.
            ValueError: The study has several objectives, or asks for a range that does not hold
                the values of the width.
        """
        self._raise_error_if_multi_objective(study)
        suggested_params = self._suggested_params(study, trial, param_name)
        if param_name not in suggested_params:
            seed = self._derive_seed(trial, zlib.crc32(param_name.encode()))
            return RandomSampler(seed=seed).sample_independent(
                study, trial, param_name, param_distribution
            )
        value = suggested_params[param_name]
        _check_contains(param_name, value, param_distribution, self.space)
        return value

    def recommend(self, study: Study) -> BestCandidate | None:
        """Return the candidate that is believed to be best now, of all feasible ones.

        It may be untried; what failed or broke a measured limit it never is.

        Returns:
            The candidate with mean and interval, and whether it was trained; None while no trial
            is complete, or where every known candidate failed.
        """
        self._raise_error_if_multi_objective(study)
        trials = study.get_trials(deepcopy=False)
        suggester = self._make_suggester(study, trials)
        history = self._read_history(study, trials, suggester)
        return suggester.best_candidate(history) if len(history.observed) else None

    def _suggested_params(
        self, study: Study, trial: FrozenTrial, param_name: str
    ) -> Mapping[str, Any]:
        """Return what the trial shall use by name; made when the first parameter is asked for."""
        own = StoredTrial(study, trial)
        if (stored_params := own.suggestion()) is not None:
            return stored_params
        other_trials = own.other_trials()
        suggester = self._make_suggester(study, other_trials)
        if param_name not in self.space.names and not (
            suggester.companion_parameters
            and param_name in suggester.companion_parameters.distributions
        ):
            return {}
        for attempt in range(_MAX_SUGGESTIONS):
            history = self._read_history(study, other_trials, suggester)
            try:
                suggestion = self._suggest(suggester, history, trial, attempt)
            except Exhausted as error:
                _log.warning("%s; the study ends here", error, extra={"event": "exhausted"})
                end_exhausted_study(study, str(error))
                raise StudyExhausted(str(error)) from None
            suggested_params = {**suggestion.widths, **suggestion.companions}
            own.store_suggestion(suggested_params)
            # Whoever writes second sees the first one's suggestion here, and makes another.
            other_trials = own.other_trials()
            if not any(
                other.system_attrs.get(SUGGESTION_KEY) == suggested_params for other in other_trials
            ):
                return suggested_params
        raise RuntimeError(
            f"trial {trial.number}: other workers made the same proposal {_MAX_SUGGESTIONS} times; "
            "start fewer workers on a space this small"
        )

    def _suggest(
        self, suggester: Suggester, history: History, trial: FrozenTrial, attempt: int
    ) -> Suggestion:
        """Return a suggestion for a trial, after so many that other workers made as well."""
        rng = np.random.default_rng(self._derive_seed(trial, attempt))
        fixed = trial.system_attrs.get("fixed_params", {})
        if attempt and not fixed:
            # Workers that suggested the same would do so again: each takes another rank.
            rank = 1 + int(rng.integers(2 ** min(attempt, 4)))
            return suggester.suggest_batch(history, rng, rank)[-1]
        return suggester.suggest(history, rng, fixed=fixed)

    def _make_suggester(self, study: Study, trials: Sequence[FrozenTrial]) -> Suggester:
        minimize = study.direction == StudyDirection.MINIMIZE
        direction = MetricDirection.MINIMIZE if minimize else MetricDirection.MAXIMIZE
        return Suggester(
            feasible_set=self._feasible_set,
            goal=replace(self._goal, direction=direction),
            baselines=self._baselines,
            companion_parameters=infer_companion_parameters(trials, self.space),
        )

    def _read_history(
        self, study: Study, trials: Sequence[FrozenTrial], suggester: Suggester
    ) -> History:
        return read_history(
            trials,
            self.space,
            study.direction,
            suggester.companion_parameters,
            measured=self._measured,
            fidelity=self._fidelity,
        )

    def _derive_seed(self, trial: FrozenTrial, salt: int) -> int:
        seed_sequence = np.random.SeedSequence((self._entropy, trial.number, salt))  # type: ignore[arg-type]
        return int(seed_sequence.generate_state(1)[0])


def _check_contains(name: str, value: Any, distribution: BaseDistribution, space: Space) -> None:
    """Raise ValueError unless a range holds the suggested value of a width."""
    if not holds_value(distribution, value):
        declared_values = {width.name: width.format_values() for width in space.widths}.get(
            name, "other values"
        )
        raise ValueError(
            f"the trial asks for {name!r} by {distribution}, which does not hold the proposed "
            f"{value}; the space has {declared_values}: ask for all of it"
        )
