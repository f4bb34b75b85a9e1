"""How long a confirmation trains: a factor on the epochs and the patience of the search.

Entry points: `confirmed_factor`, `LENGTH_FACTOR`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...storage.ledger.slot import StudyRow
from ..errors import FingerprintMismatch, SpecError
from ..problem.stored import stored_spec
from ..spec.overrides import with_overrides
from ..spec.proxy_section import MAX_LENGTH_FACTOR
from ..spec.spec import Spec

# Who starts a run is spared loading torch.
if TYPE_CHECKING:
    from ..problem.problem import Problem

LENGTH_FACTOR = 3.0
"""Times the search's epochs and patience that a confirmation trains, unless it is told otherwise:
so long that early stopping, and not the limit, ends nearly all of them."""


def confirmed_factor(problem: Problem, existing: StudyRow | None, epochs: int | None) -> float:
    """Return `proxy.length_factor` of a confirmation: as it was begun, or as is asked for.

    Args:
        problem: What was searched.
        existing: The confirmation that was begun; None if none was.
        epochs: Of a training at most, as a person asks for it.

    Raises:
        FingerprintMismatch: It was begun with other epochs.
        SpecError: These are too many.
    """
    own_factor = problem.spec.proxy.length_factor or 1.0
    begun = None if existing is None else stored_spec(existing)
    begun_factor = None if begun is None else begun.proxy.length_factor or 1.0
    if problem.loop_objective is None and problem.spec.proxy.epochs is None:
        if epochs is not None:
            raise SpecError(
                f"--epochs: found {epochs:,}, but the spec of {problem.spec.study.name} says none: "
                "how long your function trains is up to it; leave --epochs out"
            )
        return own_factor
    if epochs is None:
        return begun_factor or min(LENGTH_FACTOR * own_factor, MAX_LENGTH_FACTOR)
    if existing is not None and begun is not None and begun_factor is not None:
        begun_epochs = _epochs(problem, begun)
        if epochs != begun_epochs:
            raise FingerprintMismatch(
                f"--epochs: found {epochs:,}, but {existing.name} was begun with at most "
                f"{begun_epochs:,} epochs a training; leave --epochs out, or give {begun_epochs}, "
                "to go on with it"
            )
        return begun_factor
    # The factor is on the epochs before any factor, so that a training has exactly these.
    unfactored = _epochs(problem, with_overrides(problem.spec, {"proxy.length_factor": None}))
    most = int(MAX_LENGTH_FACTOR * unfactored)
    if epochs > most:
        before = "" if own_factor == 1 else " before proxy.length_factor"
        raise SpecError(
            f"--epochs: found {epochs:,}, but a training of {problem.spec.study.name} has "
            f"{unfactored:,} epochs{before}, and a confirmation at most {MAX_LENGTH_FACTOR:,g} "
            f"times as many; give {most} or fewer"
        )
    return epochs / unfactored


def _epochs(problem: Problem, spec: Spec) -> int:
    from ..problem.build import proxy_settings
    from ..problem.own_training import own_settings

    objective = problem.loop_objective
    settings = own_settings(spec) if objective is None else proxy_settings(spec, objective.data)
    return settings.epochs
