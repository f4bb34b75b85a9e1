"""Roles: what a parameter is to the widths, told by comparing its fans between builds.

constant   no fan follows the widths          the bias of the last layer
vector     only the fan-out follows           input weights, biases, gains, embeddings
output     only the fan-in follows            the weight of the last layer
hidden     both follow                        a weight between two searched layers

A depthwise convolution sums a fixed kernel whatever the widths: it is a vector. So is the raw
parameter of a user's own module whose last axis alone follows, as an embedding of positions does.

Entry points: `Role`, `roles`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from .errors import Inapplicable
from .parameters import Place

Role = Literal["constant", "vector", "output", "hidden"]
Layout = Mapping[str, tuple[Place, ...]]


def roles(builds: Sequence[Layout]) -> dict[str, Role]:
    """Return the role of each parameter.

    Args:
        builds: Layouts at several widths, which between them move every width.

    Raises:
        Inapplicable: The builds differ in more than sizes, a parameter's axes cannot be told
            apart, or layers share one in different roles.
    """
    first = _holders(builds[0])
    for build in builds[1:]:
        if odd := sorted(_holders(build) ^ first):
            raise Inapplicable(f"the widths decide which layers hold the parameter '{odd[0][0]}'")
    return {name: _shared(name, [build[name] for build in builds]) for name in builds[0]}


def _holders(build: Layout) -> set[tuple[str, int]]:
    """Return each parameter's name and in how many layers it stands."""
    return {(name, len(places)) for name, places in build.items()}


def _shared(name: str, builds: Sequence[tuple[Place, ...]]) -> Role:
    """Return the role of a parameter in all layers that hold it."""
    found = {_role(name, places) for places in zip(*builds, strict=True)}
    fans = {tuple(place.fans for place in places) for places in zip(*builds, strict=True)}
    if len(found) > 1 or (len(fans) > 1 and found != {"constant"}):
        raise Inapplicable(
            f"'{name}' is shared by layers that use it differently ({', '.join(sorted(found))})"
        )
    return found.pop()


def _role(name: str, places: Sequence[Place]) -> Role:
    if len({place.shape for place in places}) == 1:
        return "constant"
    known = [place.fans for place in places if place.fans is not None]
    if len(known) == len(places):
        follows_in = len({fans.fan_in for fans in known}) > 1
        follows_out = len({fans.fan_out for fans in known}) > 1
        if follows_in:
            return "hidden" if follows_out else "output"
        return "vector"
    if all(place.raw for place in places) and _last_axis_alone(places):
        return "vector"
    shapes = " and ".join(str(tuple(place.shape)) for place in places[:2])
    raise Inapplicable(
        f"which axes of '{name}' are inputs and which outputs is not known (shapes {shapes})"
    )


def _last_axis_alone(places: Sequence[Place]) -> bool:
    """Return whether the last axis longer than one follows the widths, and no other does."""
    if len({len(place.shape) for place in places}) > 1:
        return False
    moving = [axis for axis, sizes in _axes(places) if len(set(sizes)) > 1]
    longer = [axis for axis, sizes in _axes(places) if max(sizes) > 1]
    return moving == longer[-1:]


def _axes(places: Sequence[Place]) -> list[tuple[int, tuple[int, ...]]]:
    return list(enumerate(zip(*(place.shape for place in places), strict=True)))
