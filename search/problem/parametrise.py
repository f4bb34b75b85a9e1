"""The parametrisation of a study: muP from widths of 64 on, where it can be applied.

Entry points: `parametrise`, `base_widths`, `width_sweep` (candidates for the coordinate check).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from ...objectives.data.streams.samples import first_rows
from ...objectives.errors import ModelError, describe_error
from ...objectives.model.family_registry import FAMILIES
from ...objectives.model.objective import ModuleObjective
from ...objectives.parametrisation.errors import MupInapplicable
from ...objectives.parametrisation.layout_mup import Layout, LayoutMup, layout_of
from ...objectives.parametrisation.mup import NO_PARAMETER_FOLLOWS, Mup, derive_mup
from ...objectives.parametrisation.standard import Parametrisation, StandardParametrisation
from ...objectives.training.settings import ProxySettings
from ...objectives.user_code import user_code_location, user_errors
from ..space.space import Space
from ..spec.spec import Spec

FALLBACK_RATE_FACTORS = (0.25, 1.0, 4.0)
"""Learning rates that a candidate is tried with where muP cannot be applied, as factors. Under the
standard parametrisation the best rate moved by a factor of 8 over widths from 16 to 1024."""

BASE_WIDTH = 64
"""Below it the best rate hardly depends on the width, above it does under the standard
parametrisation (docs/decisions/0005)."""

MAX_LAYOUTS = 16
"""Most choices of absent layers for which muP is derived: each is built some dozens of times."""

# A width has to move by this factor for its parameters to be distinguished from the others.
_PROBE_FACTOR = 2


def parametrise(
    spec: Spec, objective: ModuleObjective, settings: ProxySettings, space: Space
) -> tuple[Parametrisation, ProxySettings]:
    """Return how initial weights and rates follow the widths, and the settings for it.

    Where muP was asked for and cannot be applied, every candidate is tried with a few learning
    rates instead.
    """
    if spec.proxy.parametrisation == "standard":
        return StandardParametrisation(), settings
    try:
        with user_errors(lambda error: _derivation_error(objective, error)):
            mup = _derive(spec, objective, space, base_widths(spec, space))
    except MupInapplicable as error:
        if spec.proxy.rate_factors is None:
            settings = replace(settings, rate_factors=FALLBACK_RATE_FACTORS)
        return StandardParametrisation(reason=str(error)), settings
    return mup, settings


def _derive(
    spec: Spec, objective: ModuleObjective, space: Space, base: Mapping[str, int]
) -> Parametrisation:
    """Return muP from a base; of its own for each choice of layers that candidates may have.

    Raises:
        MupInapplicable: muP cannot be applied, or there are too many such choices.
    """
    inputs = first_rows(objective.data, 2)
    structural = structural_widths(spec)

    bases = _layout_bases(space, base, structural)

    def derive(layout: Layout, layout_base: Mapping[str, int]) -> Mup:
        probes = _probe_candidates(space, layout_base, structural)
        # Without its only searched layer a network has one size: that ends muP for no other layout.
        may_be_constant = len(bases) > 1 and (bool(probes) or not _varies(space, layout))
        return derive_mup(
            objective.build, layout_base, probes, inputs=inputs, may_be_constant=may_be_constant
        )

    by_layout = {layout: derive(layout, row) for layout, row in bases.items()}
    if all(mup.is_constant for mup in by_layout.values()):
        raise MupInapplicable(NO_PARAMETER_FOLLOWS)
    if len(by_layout) == 1:
        return next(iter(by_layout.values()))
    return LayoutMup(by_layout=by_layout, structural=structural)


def _varies(space: Space, layout: Layout) -> bool:
    """Return whether a width other than those of the layout has more than one value."""
    chosen = dict(layout)
    return any(width.low < width.high for width in space.widths if width.name not in chosen)


def structural_widths(spec: Spec) -> tuple[str, ...]:
    """Return the widths of a study that say how many layers there are."""
    known = () if spec.model.family is None else FAMILIES[spec.model.family].structural
    return tuple(name for name in known if name in spec.widths.entries)


def _layout_bases(
    space: Space, base: Mapping[str, int], structural: Sequence[str]
) -> dict[Layout, dict[str, int]]:
    """Return the base with each choice of layers that the space allows.

    Layers that the base itself lacks stand there at the widths nearest to `BASE_WIDTH`.

    Raises:
        MupInapplicable: There are more than `MAX_LAYOUTS`.
    """
    full = {name: width or BASE_WIDTH for name, width in base.items()}
    choices = [
        [(width.name, value) for value in (width.values if width.name in structural else (0, None))]
        for width in space.widths
        if width.optional or width.name in structural
    ]
    bases: dict[Layout, dict[str, int]] = {}
    for choice in product(*choices):
        chosen = {name: value for name, value in choice if value is not None}
        widths = space.as_mapping(space.snap({**full, **chosen}))
        if layout_of(widths, structural) == frozenset(chosen.items()):
            bases[layout_of(widths, structural)] = widths
        if len(bases) > MAX_LAYOUTS:
            raise MupInapplicable(
                f"the layers of the space can be chosen in more than {MAX_LAYOUTS} ways, and muP "
                "is derived for each"
            )
    return bases | {layout_of(base, structural): dict(base)}


def _derivation_error(objective: ModuleObjective, error: BaseException) -> ModelError:
    return ModelError(
        f"{objective.name}: building and running small candidates raised {describe_error(error)}"
        f"{user_code_location(error)}: mend it; where candidates are too large for this machine, "
        "lower the upper ends of the widths."
    )


def base_widths(spec: Spec, space: Space) -> dict[str, int]:
    """Return the candidate that the learning rate is meant for.

    What the spec calls "today", where it has it: its rate is known to be good. Otherwise widths of
    64, as near as the lattice allows: the same rate then means the same in every study.
    """
    today = spec.references.get("today")
    if isinstance(today, Mapping) and set(today) == set(space.names) and space.contains(today):
        return dict(today)
    return space.as_mapping(space.snap(dict.fromkeys(space.names, BASE_WIDTH)))


def width_sweep(
    space: Space, base: Mapping[str, int], structural: Sequence[str] = ()
) -> list[dict[str, int]]:
    """Return candidates of growing width around the base, each twice as wide, within the space.

    Args:
        space: The lattice.
        base: Where to start.
        structural: Widths that say how many layers there are, and stay.
    """
    candidates: list[dict[str, int]] = []
    for factor in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16):
        row = space.snap(
            {name: width if name in structural else width * factor for name, width in base.items()}
        )
        candidate = space.as_mapping(row)
        if not candidates or sum(candidate.values()) > sum(candidates[-1].values()):
            candidates.append(candidate)
    return candidates


def _probe_candidates(
    space: Space, base: Mapping[str, int], structural: Sequence[str]
) -> list[dict[str, int]]:
    """Return small candidates that move each width by itself, as far as constraints allow."""
    layout = layout_of(base, structural)
    lows = {width.name: width.low for width in space.widths} | dict(layout)
    candidates = [space.as_mapping(space.snap(lows))]
    for width in space.widths:
        base_width = base[width.name]
        if width.name in dict(layout):
            continue
        # Small ones where there are some: they are built for real.
        target = (
            width.low
            if base_width >= _PROBE_FACTOR * width.low
            else min(width.high, _PROBE_FACTOR**2 * base_width)
        )
        candidates.append(space.as_mapping(space.snap({**base, width.name: target})))
    return [
        candidate
        for index, candidate in enumerate(candidates)
        if candidate != base
        and candidate not in candidates[:index]
        and layout_of(candidate, structural) == layout
    ]
