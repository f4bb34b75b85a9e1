"""Roles: what a parameter is to the widths, by comparing its fans between builds.

constant   no fan follows the widths          the bias of the last layer
vector     only the fan-out follows           input weights, biases, gains, embeddings
output     only the fan-in follows            the weight of the last layer
hidden     both follow                        a weight between two searched layers

A depthwise convolution sums a fixed kernel whatever the widths: it is a vector. So is the raw
parameter of a user's own module whose last axis alone follows, as an embedding of positions does.

Entry points: `Role`, `infer_roles`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from .errors import MupInapplicable
from .parameters import ParameterInfo


class Role(StrEnum):
    """What a parameter is to the widths; muP's exponents of fan-in go with it (see `mup`)."""

    CONSTANT = "constant"
    VECTOR = "vector"
    OUTPUT = "output"
    HIDDEN = "hidden"

    @property
    def follows_fan_in(self) -> bool:
        """Whether its fan-in follows the widths."""
        return self in (Role.OUTPUT, Role.HIDDEN)

    @property
    def follows_fan_out(self) -> bool:
        """Whether its fan-out follows the widths."""
        return self in (Role.VECTOR, Role.HIDDEN)

    def init_exponent(self, ratio: float) -> float:
        """Return the power of the fan-in's ratio to the base that its initial size goes as."""
        if self is Role.OUTPUT and ratio > 1:
            return -1.0
        return -0.5 if self.follows_fan_in else 0.0


ParameterTable = Mapping[str, tuple[ParameterInfo, ...]]


def infer_roles(tables: Sequence[ParameterTable]) -> dict[str, Role]:
    """Return the role of each parameter.

    Args:
        tables: Parameters of builds at several widths, which between them move every width.

    Raises:
        MupInapplicable: The builds differ in more than sizes, a parameter's axes cannot be
            distinguished, or layers share one in different roles.
    """
    base_occurrences = _occurrences(tables[0])
    for table in tables[1:]:
        if unmatched := sorted(_occurrences(table) ^ base_occurrences):
            raise MupInapplicable(
                f"the widths decide which layers hold the parameter '{unmatched[0][0]}'"
            )
    return {name: _common_role(name, [table[name] for table in tables]) for name in tables[0]}


def _occurrences(table: ParameterTable) -> set[tuple[str, int]]:
    """Return each parameter's name and in how many layers it stands."""
    return {(name, len(infos)) for name, infos in table.items()}


def _common_role(name: str, infos_per_build: Sequence[tuple[ParameterInfo, ...]]) -> Role:
    """Return the role of a parameter in all layers that hold it."""
    roles = {_infer_role(name, infos) for infos in zip(*infos_per_build, strict=True)}
    fans = {tuple(info.fans for info in infos) for infos in zip(*infos_per_build, strict=True)}
    if len(roles) > 1 or (len(fans) > 1 and roles != {Role.CONSTANT}):
        raise MupInapplicable(
            f"'{name}' is shared by layers that use it differently ({', '.join(sorted(roles))})"
        )
    return roles.pop()


def _infer_role(name: str, infos: Sequence[ParameterInfo]) -> Role:
    if len({info.shape for info in infos}) == 1:
        return Role.CONSTANT
    known_fans = [info.fans for info in infos if info.fans is not None]
    if len(known_fans) == len(infos):
        follows_in = len({fans.fan_in for fans in known_fans}) > 1
        follows_out = len({fans.fan_out for fans in known_fans}) > 1
        if follows_in:
            return Role.HIDDEN if follows_out else Role.OUTPUT
        return Role.VECTOR
    if all(info.is_user_defined for info in infos) and _last_axis_alone(infos):
        return Role.VECTOR
    shapes = " and ".join(str(tuple(info.shape)) for info in infos[:2])
    raise MupInapplicable(
        f"which axes of '{name}' are inputs and which outputs is not known (shapes {shapes})"
    )


def _last_axis_alone(infos: Sequence[ParameterInfo]) -> bool:
    """Return whether the last axis longer than one follows the widths, and no other does."""
    if len({len(info.shape) for info in infos}) > 1:
        return False
    moving = [axis for axis, sizes in _axes(infos) if len(set(sizes)) > 1]
    longer = [axis for axis, sizes in _axes(infos) if max(sizes) > 1]
    return moving == longer[-1:]


def _axes(infos: Sequence[ParameterInfo]) -> list[tuple[int, tuple[int, ...]]]:
    return list(enumerate(zip(*(info.shape for info in infos), strict=True)))
