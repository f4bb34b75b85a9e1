"""The sampler: Widthwise's proposals in any Optuna study with plain `suggest_int` calls.

`WidthSampler` proposes widths that keep every limit and that nobody has tried. It keeps nothing
but its random state: what it knows it reads from the study.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from .baselines import Baseline
from .candidates import EVALUATED_AT_ONCE, CostFunction, FeasibleSet, no_costs, rows
from .history import History
from .limits import Limits
from .proposer import Proposer
from .space import Space


@final
class WidthSampler(BaseSampler):
    """An Optuna sampler that proposes feasible, untried widths only.

    Example:
        ```python
        sampler = WidthSampler(space, Limits(parameters=20_000), cost=model.evaluate)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(lambda trial: train(trial.suggest_int("hidden", 8, 512, step=8)), 40)
        ```

    Args:
        space: The lattice; each width is asked for by name, with the distribution that
            `space.distributions()` gives it. Other parameters are drawn at random.
        limits: Upper bounds of the costs; none by default.
        cost: Costs by name of candidates [n, d]; needed where there are limits.
        seed: Makes proposals repeatable.
        baselines: Candidates to propose first.

    Raises:
        NothingFeasible: No candidate keeps the limits.
    """

    def __init__(
        self,
        space: Space,
        limits: Limits | None = None,
        cost: CostFunction = no_costs,
        *,
        seed: int | None = None,
        baselines: Sequence[Baseline] = (),
        at_once: int = EVALUATED_AT_ONCE,
    ) -> None:
        feasible = FeasibleSet(space, limits or Limits(), cost, at_once=at_once)
        self._proposer = Proposer(feasible=feasible, baselines=tuple(baselines))
        self._space = space
        self._seed = seed
        self._random = RandomSampler(seed=seed)
        self._rng = np.random.default_rng(seed)

    def reseed_rng(self) -> None:
        """Take a fresh seed, as Optuna asks of each worker."""
        self._random.reseed_rng()
        self._rng = np.random.default_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The widths: they are chosen together."""
        del study, trial
        return dict(self._space.distributions())

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A feasible, untried candidate.

        Raises:
            Exhausted: Every feasible candidate was tried.
        """
        del search_space
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        others = [one for one in trials if one.number != trial.number]
        history = _history(self._space, others, study.direction)
        return dict(self._proposer.propose(history, self._rng).widths)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value for a parameter that is no width of the space."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def _history(space: Space, trials: Sequence[FrozenTrial], direction: StudyDirection) -> History:
    """The trials of an ordinary Optuna study as the proposer needs them."""
    sign = -1.0 if direction == StudyDirection.MINIMIZE else 1.0
    observed: list[NDArray[np.int64]] = []
    values: list[float] = []
    pending: list[NDArray[np.int64]] = []
    failed: list[NDArray[np.int64]] = []
    for trial in trials:
        if not all(name in trial.params for name in space.names):
            # Only an interrupted or foreign trial lacks a width: it tried no candidate.
            continue
        row = space.as_row({name: trial.params[name] for name in space.names})
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            observed.append(row)
            values.append(sign * trial.value)
        else:
            (failed if trial.state.is_finished() else pending).append(row)
    return History(
        observed=rows(observed, space),
        values=np.asarray(values, dtype=np.float64),
        pending=rows(pending, space),
        failed=rows(failed, space),
    )
