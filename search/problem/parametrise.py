"""The parametrisation of a study: muP from widths of 64 on, where it can be applied.

Entry points: `parametrised`, `base_widths`, `ladder` (candidates for the coordinate check).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...objectives.model.objective import ModuleObjective
from ...objectives.parametrisation.errors import Inapplicable
from ...objectives.parametrisation.mup import derive
from ...objectives.parametrisation.standard import Parametrisation, Standard
from ...objectives.training.settings import ProxySettings
from ..space.space import Space
from ..spec.spec import Spec

FALLBACK_FACTORS = (0.25, 1.0, 4.0)
"""Learning rates that a candidate is tried with where muP cannot be applied, as factors. Under the
standard parametrisation the best rate moved by a factor of 8 over widths from 16 to 1024."""

BASE_WIDTH = 64
"""Below it the best rate hardly depends on the width, above it does under the standard
parametrisation (docs/decisions/0005)."""

# A width has to move by this factor for its parameters to be told from the others.
_MOVED = 2


def parametrised(
    spec: Spec, objective: ModuleObjective, settings: ProxySettings, space: Space
) -> tuple[Parametrisation, ProxySettings]:
    """How initial weights and rates follow the widths, and the settings that go with it.

    Where muP was asked for and cannot be applied, every candidate is tried with a few learning
    rates instead.
    """
    if spec.proxy.parametrisation == "standard":
        return Standard(), settings
    base = base_widths(spec, space)
    try:
        found = derive(
            objective.build, base, _others(space, base), inputs=objective.data.train.inputs[:2]
        )
    except Inapplicable as reason:
        if spec.proxy.rate_factors is None:
            settings = replace(settings, rate_factors=FALLBACK_FACTORS)
        return Standard(reason=str(reason)), settings
    return found, settings


def base_widths(spec: Spec, space: Space) -> dict[str, int]:
    """The candidate that the learning rate is meant for.

    What the spec calls "today", where it has it: its rate is known to be good. Otherwise widths of
    64, as near as the lattice allows: the same rate then means the same in every study.
    """
    today = spec.references.get("today")
    if isinstance(today, Mapping) and set(today) == set(space.names) and space.contains(today):
        return dict(today)
    return space.as_mapping(space.snap(dict.fromkeys(space.names, BASE_WIDTH)))


def ladder(space: Space, base: Mapping[str, int]) -> list[dict[str, int]]:
    """Candidates of growing width around the base, each twice as wide, as far as the space goes."""
    found: list[dict[str, int]] = []
    for factor in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16):
        row = space.snap({name: width * factor for name, width in base.items()})
        candidate = space.as_mapping(row)
        if not found or sum(candidate.values()) > sum(found[-1].values()):
            found.append(candidate)
    return found


def _others(space: Space, base: Mapping[str, int]) -> list[dict[str, int]]:
    """Small candidates that move each width by itself, as far as the constraints let it."""
    found = [space.as_mapping(space.smallest())]
    for width in space.widths:
        at = base[width.name]
        # Small ones where there are some: they are built for real.
        target = width.low if at >= _MOVED * width.low else min(width.high, _MOVED**2 * at)
        found.append(space.as_mapping(space.snap({**base, width.name: target})))
    return [one for n, one in enumerate(found) if one != base and one not in found[:n]]
