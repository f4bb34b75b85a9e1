"""Spaces that hypothesis draws, and their candidates by brute force."""

from itertools import product

from hypothesis import strategies as st
from widthwise.search.space.space import Divisible, Order, Space, Tie, Width


def brute_force(widths, constraints):
    """Every candidate as a tuple, by filtering the full product with rules spelled out again."""
    names = [width.name for width in widths]

    def kept(candidate):
        of = dict(zip(names, candidate, strict=True))
        for constraint in constraints:
            values = [of[name] for name in constraint.names]
            if isinstance(constraint, Tie):
                good = len(set(values)) == 1
            elif isinstance(constraint, Divisible):
                good = values[0] % values[1] == 0
            else:
                falls = constraint.direction == "non-increasing"
                good = values == sorted(values, reverse=falls)
            if not good:
                return False
        return True

    return [row for row in product(*(width.values for width in widths)) if kept(row)]


@st.composite
def declarations(draw, most_widths=4):
    """Some widths and constraints; they may contradict each other."""
    names = "abcd"[: draw(st.integers(1, most_widths))]
    values = st.lists(st.integers(1, 12), min_size=1, max_size=5)
    scales = st.sampled_from(["log", "linear"])
    widths = [Width.of(name, draw(values), draw(scales)) for name in names]
    if len(names) == 1:
        return widths, []
    several = st.permutations(names).flatmap(
        lambda order: st.integers(2, len(order)).map(lambda n: tuple(order[:n]))
    )
    constraint = st.one_of(
        st.builds(Order, several, st.sampled_from(["non-increasing", "non-decreasing"])),
        st.builds(Tie, several),
        several.map(lambda some: Divisible(some[0], some[1])),
    )
    return widths, draw(st.lists(constraint, max_size=3))


@st.composite
def spaces(draw):
    widths, constraints = draw(declarations().filter(lambda declared: brute_force(*declared)))
    return Space(widths, constraints)


def all_rows(space):
    return brute_force(space.widths, space.constraints)
