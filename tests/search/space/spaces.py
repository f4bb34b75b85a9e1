"""Spaces that hypothesis draws, and their candidates by brute force."""

from itertools import product

from hypothesis import strategies as st
from widthwise.search.space.space import AbsentLast, Divisible, Order, Space, Tie, Width


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
                good = values[1] == 0 or values[0] % values[1] == 0
            elif isinstance(constraint, AbsentLast):
                present = [value > 0 for value in values]
                good = present == sorted(present, reverse=True)
            else:
                falls = constraint.direction == "non-increasing"
                good = values == sorted(values, reverse=falls)
            if not good:
                return False
        return True

    return [row for row in product(*(width.values for width in widths)) if kept(row)]


@st.composite
def declarations(draw, most_widths=4):
    """Some widths, all but the first perhaps optional, and constraints that may contradict."""
    names = "abcd"[: draw(st.integers(1, most_widths))]
    values = st.lists(st.integers(1, 12), min_size=1, max_size=5)
    scales = st.sampled_from(["log", "linear"])
    widths = [
        Width.of(name, draw(values), draw(scales), optional=name != "a" and draw(st.booleans()))
        for name in names
    ]
    if len(names) == 1:
        return widths, []
    several = st.permutations(names).flatmap(
        lambda order: st.integers(2, len(order)).map(lambda n: tuple(order[:n]))
    )
    constraint = st.one_of(
        st.builds(Order, several, st.sampled_from(["non-increasing", "non-decreasing"])),
        st.builds(Tie, several),
        several.map(lambda some: Divisible(some[0], some[1])),
        st.builds(AbsentLast, several),
    )
    return widths, draw(st.lists(constraint, max_size=3))


def never_absent(widths, constraints):
    """The optional widths that no candidate is without."""
    rows = brute_force(widths, constraints)
    return [
        width.name
        for column, width in enumerate(widths)
        if width.optional and all(row[column] for row in rows)
    ]


def is_valid(declared):
    return bool(brute_force(*declared)) and not never_absent(*declared)


@st.composite
def spaces(draw):
    widths, constraints = draw(declarations().filter(is_valid))
    return Space(widths, constraints)


def all_rows(space):
    return brute_force(space.widths, space.constraints)
