"""Trials of an ordinary Optuna study, read as the proposer's history.

Entry points: `read`, and `riders_of` for the parameters that ride along with the widths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..space.feasible_set import rows
from ..space.space import Space
from .companions import Riders
from .history import History

PROPOSED = "widthwise:proposed"
"""System attribute of a trial: what was proposed to it, by name."""


def riders_of(trials: Sequence[FrozenTrial], space: Space) -> Riders | None:
    """The parameters besides the widths that every complete trial has, as last distributed.

    None where there are none, or where no complete trial has all widths.
    """
    complete = [one for one in trials if one.state == TrialState.COMPLETE and _row(one, space)]
    if not complete:
        return None
    shared = set.intersection(*[set(one.params) for one in complete]) - set(space.names)
    names = [name for name in complete[-1].params if name in shared]
    latest: dict[str, BaseDistribution] = {
        name: complete[-1].distributions[name]
        for name in names
        if not complete[-1].distributions[name].single()
    }
    return Riders(distributions=latest) if latest else None


def read(
    trials: Sequence[FrozenTrial],
    space: Space,
    direction: StudyDirection,
    riders: Riders | None = None,
    *,
    measured: Sequence[str] = (),
    fidelity: str | None = None,
) -> History:
    """The history that some trials tell.

    Args:
        trials: Of one study with one objective.
        space: The lattice; trials off it are left out, as are interrupted ones without widths.
        direction: Says which metric is better.
        riders: Companions to read; a complete trial without them is left out.
        measured: Names of constraints known only after the training.
        fidelity: User attribute that says how long a trial trained.
    """
    sign = -1.0 if direction == StudyDirection.MINIMIZE else 1.0
    observed: list[FrozenTrial] = []
    groups: dict[str, list[FrozenTrial]] = {"pending": [], "failed": [], "skipped": []}
    for trial in trials:
        if not _row(trial, space):
            continue
        if trial.state == TrialState.COMPLETE:
            if trial.value is not None and np.isfinite(trial.value):
                observed.append(trial)
            else:
                groups["failed"].append(trial)
        elif not trial.state.is_finished():
            groups["pending"].append(trial)
        else:
            groups["failed" if trial.state == TrialState.FAIL else "skipped"].append(trial)
    if riders is not None:
        observed = [one for one in observed if _has(one, riders)]

    def stack(some: Sequence[FrozenTrial]) -> NDArray[np.int64]:
        return rows([np.array(_row(one, space), dtype=np.int64) for one in some], space)

    return History(
        observed=stack(observed),
        values=np.array([sign * float(one.value or 0.0) for one in observed], dtype=np.float64),
        pending=stack(groups["pending"]),
        failed=stack(groups["failed"]),
        skipped=stack(groups["skipped"]),
        fidelity=None if fidelity is None else _fidelities(observed, fidelity),
        measured=_measured(observed, measured) if measured else None,
        riders=None if riders is None else riders.encode([one.params for one in observed]),
        pending_riders=None
        if riders is None
        else np.vstack(
            [np.empty((0, riders.columns))] + [_encoded(one, riders) for one in groups["pending"]]
        ),
    )


def _values(trial: FrozenTrial) -> Mapping[str, Any]:
    """What a trial uses: its parameters, and of one under way what it is going to use."""
    attributes = trial.system_attrs
    return {
        **attributes.get(PROPOSED, {}),
        **attributes.get("fixed_params", {}),
        **trial.params,
    }


def _row(trial: FrozenTrial, space: Space) -> list[int] | None:
    """The trial's widths in the space's order; None where it has none on the lattice."""
    values = _values(trial)
    try:
        found = [values[name] for name in space.names]
    except KeyError:
        return None
    return found if space.contains(dict(zip(space.names, found, strict=True))) else None


def _has(trial: FrozenTrial, riders: Riders) -> bool:
    return all(name in trial.params for name in riders.distributions)


def _encoded(trial: FrozenTrial, riders: Riders) -> NDArray[np.float64]:
    """A running trial's companions, [1, columns]: the middle where they are not known yet."""
    values = _values(trial)
    if all(name in values for name in riders.distributions):
        return riders.encode([values])
    return riders.middle()[None, :]


def _fidelities(trials: Sequence[FrozenTrial], name: str) -> NDArray[np.float64]:
    """How long each trial trained; those that do not say are taken to have trained in full."""
    said = [one.user_attrs.get(name) for one in trials]
    full = max((float(one) for one in said if one is not None), default=1.0)
    return np.array([full if one is None else float(one) for one in said])


def _measured(trials: Sequence[FrozenTrial], names: Sequence[str]) -> NDArray[np.float64]:
    """Each trial's measured constraints, NaN where it has none; [n, c]."""
    return np.array(
        [[float(one.constraints.get(name, np.nan)) for name in names] for one in trials]
    ).reshape(len(trials), len(names))
