"""A discovery with some of its groups fixed, merged or renamed.

Entry points: `fix_groups`, `merge_groups`, `rename`, `with_divisor`,
`without_attributes`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from ..groups import Discovery, Expression, FixedLayer, Term, WidthGroup

Substitution = Mapping[str, tuple[Fraction, tuple[str, ...]]]
"""By the name of a group: what stands in its place, a factor and the groups it is multiplied by."""


def fix_groups(discovery: Discovery, reasons: Mapping[str, str]) -> Discovery:
    """Return a discovery in which groups keep today's size, their layers listed with the reason.

    Args:
        discovery: With these groups or depths.
        reasons: By the name of the group or depth.
    """
    layers: dict[str, list[str]] = {}
    for layer in discovery.fixed:
        layers.setdefault(layer.module, []).append(layer.reason)
    for group in discovery.groups:
        if group.name in reasons:
            for module in dict.fromkeys(member.module for member in group.members):
                if reasons[group.name] not in layers.setdefault(module, []):
                    layers[module].append(reasons[group.name])
    for depth in discovery.depths:
        if depth.name in reasons:
            reason = f"number of blocks ({depth.size}): {reasons[depth.name]}"
            layers.setdefault(depth.path, []).append(reason)
    sizes = {g.name: (Fraction(g.size), ()) for g in discovery.groups if g.name in reasons}
    return dataclasses.replace(
        _substitute(discovery, sizes),
        groups=tuple(group for group in discovery.groups if group.name not in reasons),
        depths=tuple(depth for depth in discovery.depths if depth.name not in reasons),
        fixed=tuple(FixedLayer(module, "; ".join(texts)) for module, texts in layers.items()),
    )


def merge_groups(discovery: Discovery, names: Sequence[str], name: str) -> Discovery:
    """Return a discovery in which several groups are one, whose size moves them in proportion.

    Args:
        discovery: With these groups.
        names: Of the groups; the size is that of the first.
        name: What the one group is called.
    """
    merged = [group for wanted in names for group in discovery.groups if group.name == wanted]
    first = merged[0]
    ratios = {group.name: Fraction(group.size, first.size) for group in merged}
    divisor = math.lcm(
        *(
            ratio.denominator
            * group.multiple_of
            // math.gcd(ratio.numerator, ratio.denominator * group.multiple_of)
            for group, ratio in zip(merged, ratios.values(), strict=True)
        )
    )
    place = min(position for position, g in enumerate(discovery.groups) if g.name in ratios)
    members = tuple(
        member for group in discovery.groups if group.name in ratios for member in group.members
    )
    groups = [group for group in discovery.groups if group.name not in ratios]
    before = sum(group.name not in ratios for group in discovery.groups[:place])
    groups.insert(before, WidthGroup(name, first.size, divisor, tuple(dict.fromkeys(members))))
    return dataclasses.replace(
        _substitute(discovery, {old: (ratio, (name,)) for old, ratio in ratios.items()}),
        groups=tuple(groups),
    )


def rename(discovery: Discovery, old: str, new: str) -> Discovery:
    """Return a discovery in which a depth has another name; the old one where it is taken."""
    if new in discovery.sizes or not new.isidentifier():
        return discovery
    depths = tuple(
        dataclasses.replace(depth, name=new) if depth.name == old else depth
        for depth in discovery.depths
    )
    return dataclasses.replace(discovery, depths=depths)


def with_divisor(discovery: Discovery, name: str, divisor: int) -> Discovery:
    """Return a discovery in which a group's sizes are multiples of another number."""
    return dataclasses.replace(
        discovery,
        groups=tuple(
            dataclasses.replace(group, multiple_of=divisor) if group.name == name else group
            for group in discovery.groups
        ),
    )


def without_attributes(discovery: Discovery, name: str) -> Discovery:
    """Return a discovery that says nothing of the attributes that a group moves.

    Its number of the constructor moves others.
    """
    kept = {
        key: value
        for key, value in discovery.attributes.items()
        if not any(
            name in item.groups for item in (value if isinstance(value, tuple) else (value,))
        )
    }
    return dataclasses.replace(discovery, attributes=kept)


def _substitute(discovery: Discovery, substitution: Substitution) -> Discovery:
    def of(expression: Expression) -> Expression:
        return _expression(expression, substitution)

    return dataclasses.replace(
        discovery,
        parameters={name: tuple(map(of, dims)) for name, dims in discovery.parameters.items()},
        buffers={name: tuple(map(of, dims)) for name, dims in discovery.buffers.items()},
        attributes={
            key: tuple(map(of, value)) if isinstance(value, tuple) else of(value)
            for key, value in discovery.attributes.items()
        },
    )


def _expression(expression: Expression, substitution: Substitution) -> Expression:
    terms: dict[tuple[str, ...], Fraction] = {}
    for term in expression.terms:
        factor, groups = Fraction(term.coefficient, term.divisor), list[str]()
        for name in term.groups:
            ratio, others = substitution.get(name, (Fraction(1), (name,)))
            factor *= ratio
            groups += others
        key = tuple(sorted(groups))
        terms[key] = terms.get(key, Fraction(0)) + factor
    return Expression(
        tuple(
            Term(factor.numerator, groups, factor.denominator)
            for groups, factor in terms.items()
            if factor
        )
    )
