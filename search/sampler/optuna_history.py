"""Trials of an ordinary Optuna study, read as the proposer's history.

Entry points: `read_history`, and `infer_companion_parameters` for the parameters that ride along with the widths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..space.feasible_set import stack_rows
from ..space.space import Space
from .companions import CompanionParameters
from .history import History

SUGGESTION_KEY = "widthwise:proposed"
"""System attribute of a trial: what was proposed to it, by name."""


def infer_companion_parameters(
    trials: Sequence[FrozenTrial], space: Space
) -> CompanionParameters | None:
    """The parameters besides the widths that every complete trial has, as last distributed.

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
    """The history that some trials tell.

    Args:
        trials: Of one study with one objective.
        space: The lattice; trials off it are left out, as are interrupted ones without widths.
        direction: Says which metric is better.
        companion_parameters: Companions to read; a complete trial without them is left out.
        measured: Names of constraints known only after the training.
        fidelity: User attribute that says how long a trial trained.
    """
    sign = -1.0 if direction == StudyDirection.MINIMIZE else 1.0
    observed: list[FrozenTrial] = []
    trials_by_outcome: dict[str, list[FrozenTrial]] = {"pending": [], "failed": [], "skipped": []}
    for trial in trials:
        if not _width_row(trial, space):
            continue
        if trial.state == TrialState.COMPLETE:
            if trial.value is not None and np.isfinite(trial.value):
                observed.append(trial)
            else:
                trials_by_outcome["failed"].append(trial)
        elif not trial.state.is_finished():
            trials_by_outcome["pending"].append(trial)
        else:
            trials_by_outcome["failed" if trial.state == TrialState.FAIL else "skipped"].append(
                trial
            )
    if companion_parameters is not None:
        observed = [
            frozen_trial
            for frozen_trial in observed
            if _has_companions(frozen_trial, companion_parameters)
        ]

    def stack_widths(group: Sequence[FrozenTrial]) -> NDArray[np.int64]:
        return stack_rows(
            [np.array(_width_row(frozen_trial, space), dtype=np.int64) for frozen_trial in group],
            space,
        )

    return History(
        observed=stack_widths(observed),
        values=np.array(
            [sign * float(frozen_trial.value or 0.0) for frozen_trial in observed], dtype=np.float64
        ),
        pending=stack_widths(trials_by_outcome["pending"]),
        failed=stack_widths(trials_by_outcome["failed"]),
        skipped=stack_widths(trials_by_outcome["skipped"]),
        fidelity=None if fidelity is None else _trial_fidelities(observed, fidelity),
        constraint_values=_constraint_values(observed, measured) if measured else None,
        encoded_companions=None
        if companion_parameters is None
        else companion_parameters.encode([frozen_trial.params for frozen_trial in observed]),
        pending_encoded_companions=None
        if companion_parameters is None
        else np.vstack(
            [np.empty((0, companion_parameters.column_count))]
            + [
                _encode_running(frozen_trial, companion_parameters)
                for frozen_trial in trials_by_outcome["pending"]
            ]
        ),
    )


def _trial_params(trial: FrozenTrial) -> Mapping[str, Any]:
    """What a trial uses: its parameters, and of one under way what it is going to use."""
    attributes = trial.system_attrs
    return {
        **attributes.get(SUGGESTION_KEY, {}),
        **attributes.get("fixed_params", {}),
        **trial.params,
    }


def _width_row(trial: FrozenTrial, space: Space) -> list[int] | None:
    """The trial's widths in the space's order; None where it has none on the lattice."""
    values = _trial_params(trial)
    try:
        widths = [values[name] for name in space.names]
    except KeyError:
        return None
    return widths if space.contains(dict(zip(space.names, widths, strict=True))) else None


def _has_companions(trial: FrozenTrial, companion_parameters: CompanionParameters) -> bool:
    return all(name in trial.params for name in companion_parameters.distributions)


def _encode_running(
    trial: FrozenTrial, companion_parameters: CompanionParameters
) -> NDArray[np.float64]:
    """A running trial's companions, [1, columns]: the middle where they are not known yet."""
    values = _trial_params(trial)
    if all(name in values for name in companion_parameters.distributions):
        return companion_parameters.encode([values])
    return companion_parameters.midpoint()[None, :]


def _trial_fidelities(trials: Sequence[FrozenTrial], name: str) -> NDArray[np.float64]:
    """How long each trial trained; those that do not say are taken to have trained in full."""
    reported = [entry.user_attrs.get(name) for entry in trials]
    full_fidelity = max((float(entry) for entry in reported if entry is not None), default=1.0)
    return np.array([full_fidelity if entry is None else float(entry) for entry in reported])


def _constraint_values(trials: Sequence[FrozenTrial], names: Sequence[str]) -> NDArray[np.float64]:
    """Each trial's measured constraints, NaN where it has none; [n, c]."""
    return np.array(
        [[float(trial.constraints.get(name, np.nan)) for name in names] for trial in trials]
    ).reshape(len(trials), len(names))
