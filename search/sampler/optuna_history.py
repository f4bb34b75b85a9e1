"""Trials of an ordinary Optuna study: read as a history, and written as a sampler may.

Entry points: `read_history`, `infer_companion_parameters` for the parameters that are searched
along with the widths, and `StoredTrial` for what a trial was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..space.space import Space
from .companions import CompanionParameters
from .history import History, TriedCandidate, TriedState, make_history

SUGGESTION_KEY = "widthwise:proposed"
"""System attribute of a trial: what was suggested to it, by name."""

EXHAUSTED_KEY = "widthwise:exhausted"
"""User attribute of a study whose feasible candidates have all been tried; its value says so."""

_WITH_COMPANIONS = (TriedState.COMPLETE, TriedState.PENDING)


def infer_companion_parameters(
    trials: Sequence[FrozenTrial], space: Space
) -> CompanionParameters | None:
    """Return the parameters besides the widths that every complete trial has.

    None where there are none, or where no complete trial has all widths.
    """
    complete_trials = [
        trial for trial in trials if trial.state == TrialState.COMPLETE and _width_row(trial, space)
    ]
    if not complete_trials:
        return None
    shared_names = set.intersection(*[set(trial.params) for trial in complete_trials]) - set(
        space.names
    )
    names = [name for name in complete_trials[-1].params if name in shared_names]
    distributions: dict[str, BaseDistribution] = {
        name: complete_trials[-1].distributions[name]
        for name in names
        if not complete_trials[-1].distributions[name].single()
    }
    return CompanionParameters(distributions=distributions) if distributions else None


def read_history(
    trials: Sequence[FrozenTrial],
    space: Space,
    direction: StudyDirection,
    companion_parameters: CompanionParameters | None = None,
    *,
    measured: Sequence[str] = (),
    fidelity: str | None = None,
) -> History:
    """Read an Optuna study's trials as a history.

    Args:
        trials: Of one study with one objective.
        space: The lattice; trials off it are left out, as are interrupted ones without widths.
        direction: Says which metric is better.
        companion_parameters: Companions to read; a complete trial without them is left out.
        measured: Names of constraints known only after the training.
        fidelity: User attribute that says how long a trial trained.
    """
    sign = -1.0 if direction == StudyDirection.MINIMIZE else 1.0
    on_lattice = [trial for trial in trials if _width_row(trial, space)]
    states = {trial.number: _candidate_state(trial, measured) for trial in on_lattice}
    if companion_parameters is not None:
        on_lattice = [
            trial
            for trial in on_lattice
            if states[trial.number] is not TriedState.COMPLETE
            or _has_companions(trial, companion_parameters)
        ]
    full_fidelity = _full_fidelity(
        [trial for trial in on_lattice if states[trial.number] is TriedState.COMPLETE], fidelity
    )
    return make_history(
        [
            TriedCandidate(
                row=np.array(_width_row(trial, space), dtype=np.int64),
                state=states[trial.number],
                scores=[
                    (_fidelity(trial, fidelity, full_fidelity), sign * float(trial.value or 0.0))
                ]
                if states[trial.number] is TriedState.COMPLETE
                else (),
                violations=[float(trial.constraints.get(name, np.nan)) for name in measured],
                encoded_companions=_encode_companions(trial, companion_parameters)
                if companion_parameters is not None and states[trial.number] in _WITH_COMPANIONS
                else None,
            )
            for trial in on_lattice
        ],
        space,
        constraint_count=len(measured),
        companion_count=None if companion_parameters is None else companion_parameters.column_count,
        has_fidelities=fidelity is not None,
    )


def _candidate_state(trial: FrozenTrial, measured: Sequence[str]) -> TriedState:
    """Return what a trial's state means to the search."""
    if not trial.state.is_finished():
        return TriedState.PENDING
    if trial.state == TrialState.COMPLETE and np.isfinite(trial.value or 0.0):
        return TriedState.COMPLETE
    if trial.state == TrialState.PRUNED and not any(
        trial.constraints.get(name, 0.0) > 0 for name in measured
    ):
        return TriedState.SKIPPED
    return TriedState.FAILED


def _trial_params(trial: FrozenTrial) -> Mapping[str, Any]:
    """Return a trial's parameters; of one under way, those it is going to use."""
    attributes = trial.system_attrs
    return {
        **attributes.get(SUGGESTION_KEY, {}),
        **attributes.get("fixed_params", {}),
        **trial.params,
    }


def _width_row(trial: FrozenTrial, space: Space) -> list[int] | None:
    """Return the trial's widths in the space's order; None where it has none on the lattice."""
    values = _trial_params(trial)
    try:
        widths = [values[name] for name in space.names]
    except KeyError:
        return None
    return widths if space.contains(dict(zip(space.names, widths, strict=True))) else None


def _has_companions(trial: FrozenTrial, companion_parameters: CompanionParameters) -> bool:
    return all(name in trial.params for name in companion_parameters.distributions)


def _encode_companions(
    trial: FrozenTrial, companion_parameters: CompanionParameters
) -> NDArray[np.float64]:
    """Return a trial's companions, [columns]: the middle where they are not known yet."""
    values = _trial_params(trial)
    if all(name in values for name in companion_parameters.distributions):
        return np.asarray(companion_parameters.encode([values])[0])
    return companion_parameters.midpoint()


def _full_fidelity(trials: Sequence[FrozenTrial], name: str | None) -> float:
    """Return the longest training that the trials report under a name, 1 where none does."""
    reported = [trial.user_attrs.get(name) for trial in trials if name is not None]
    return max((float(length) for length in reported if length is not None), default=1.0)


def _fidelity(trial: FrozenTrial, name: str | None, full_fidelity: float) -> float:
    """Return how long a trial trained; one that does not report it trained in full."""
    length = None if name is None else trial.user_attrs.get(name)
    return full_fidelity if length is None else float(length)


@final
class StoredTrial:
    """A trial with its study as the storage has them now.

    Optuna gives samplers no public way to read past its cache or to write a system attribute: what
    is needed of its private side is here and in the two functions below.
    """

    def __init__(self, study: Study, trial: FrozenTrial) -> None:
        self._storage, self._study_id = study._storage, study._study_id
        self._trial_id, self._number = trial._trial_id, trial.number

    def suggestion(self) -> dict[str, Any] | None:
        """Return what was suggested to the trial, by name; None while nothing was."""
        params = self._storage.get_trial(self._trial_id).system_attrs.get(SUGGESTION_KEY)
        return None if params is None else dict(params)

    def store_suggestion(self, params: Mapping[str, Any]) -> None:
        """Write what the trial is going to use, by name."""
        self._storage.set_trial_system_attr(self._trial_id, SUGGESTION_KEY, dict(params))

    def other_trials(self) -> list[FrozenTrial]:
        """Return the study's other trials."""
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return [trial for trial in trials if trial.number != self._number]


def end_exhausted_study(study: Study, reason: str) -> None:
    """Mark a study as exhausted, and stop it where it is being optimised."""
    study._storage.set_study_user_attr(study._study_id, EXHAUSTED_KEY, reason)
    if study._thread_local.in_optimize_loop:
        study.stop()


def holds_value(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a parameter's distribution can give a value."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:
        return False
