"""Which number of a constructor is which width, from shapes alone."""

from collections.abc import Mapping

import pytest
from widthwise.objectives.discovery.groups import (
    DepthGroup,
    Discovery,
    Expression,
    Member,
    Term,
    WidthGroup,
)
from widthwise.objectives.discovery.resizing.construction import Integer
from widthwise.objectives.discovery.resizing.integers import (
    Built,
    Match,
    choose_matches,
    match_integers,
    solve_sizes,
)


def times(factor: int, *groups: str, divisor: int = 1) -> Expression:
    return Expression((Term(factor, groups, divisor),))


THREE = Expression.constant(3)
A, B = times(1, "a"), times(1, "b")
DISCOVERY = Discovery(
    groups=(
        WidthGroup("a", 8, 2, (Member("x", "weight", 0),)),
        WidthGroup("b", 6, 1, (Member("y", "weight", 0),)),
    ),
    fixed=(),
    parameters={
        "both.weight": (THREE, Expression((Term(1, ("a",)), Term(4, ("b",))))),
        "x.weight": (times(3, "a"), THREE),
        "y.weight": (times(1, "b", divisor=2), A),
        "blocks.0.weight": (A,),
        "blocks.1.weight": (A,),
    },
    attributes={("x", "heads"): times(1, "a", divisor=4)},
    depths=(DepthGroup("blocks", 2, ("blocks.0", "blocks.1")),),
)


def test_the_sizes_that_give_a_models_shapes() -> None:
    shapes = DISCOVERY.shapes({"a": 10, "b": 4, "blocks": 3})
    assert shapes["blocks.2.weight"] == (10,)
    assert solve_sizes(DISCOVERY, shapes) == {"a": 10, "b": 4, "blocks": 3}


@pytest.mark.parametrize("wrong", ["both.weight", "x.weight", "blocks.1.weight"])
def test_shapes_that_no_sizes_give(wrong: str) -> None:
    shapes = DISCOVERY.shapes({"a": 10})
    shapes[wrong] = (*shapes[wrong][:-1], shapes[wrong][-1] + 1)
    assert solve_sizes(DISCOVERY, shapes) is None
    assert solve_sizes(DISCOVERY, {**DISCOVERY.shapes({}), "new.weight": (2,)}) is None


WIDTH, HALF, COUNT = (
    Integer("root", (name,), value, in_config=False)
    for name, value in (("width", 8), ("half", 3), ("count", 2))
)
OTHER = Integer("root", ("seed",), 4, in_config=False)


def constructor(values: Mapping[Integer, int]) -> Built | None:
    """Build with `width`, `half` (of b) and `count`; heads are of size 4."""
    width, half, count = (values.get(integer, integer.value) for integer in (WIDTH, HALF, COUNT))
    shapes = DISCOVERY.shapes({"a": width, "b": 2 * half, "blocks": count})
    return Built(shapes, {("x", "heads"): width // 4})


def names(matches: Mapping[str, Match]) -> dict[str, tuple[str, ...]]:
    return {group: tuple(i.name for i in match.integers) for group, match in matches.items()}


def test_a_number_for_each_group_and_depth() -> None:
    found = match_integers([OTHER, COUNT, HALF, WIDTH], DISCOVERY, constructor)
    chosen = choose_matches(found, DISCOVERY, merging=False)
    assert names(chosen) == {"a": ("width",), "b": ("half",), "blocks": ("count",)}
    assert chosen["b"].values(10, today=6) == {HALF: 5}
    assert chosen["b"].step(6) == 2


def test_a_number_that_moves_attributes_otherwise_is_none_of_a_constructor() -> None:
    def larger_heads(values: Mapping[Integer, int]) -> Built | None:
        built = constructor(values)
        return built and Built(built.shapes, {("x", "heads"): 2})

    (match,) = match_integers([WIDTH], DISCOVERY, larger_heads)
    assert not match.agrees
    assert choose_matches([match], DISCOVERY, merging=True) == {}


@pytest.mark.parametrize("is_saved", [False, True], ids=["own", "saved"])
def test_groups_that_move_together_are_one_in_a_configuration_that_is_saved(
    is_saved: bool,
) -> None:
    both = Integer("root", ("config", "size"), 2, in_config=True, is_saved=is_saved)

    def build(values: Mapping[Integer, int]) -> Built | None:
        factor = values.get(both, 2) // 2
        return constructor({WIDTH: 8 * factor, HALF: 3 * factor})

    found = match_integers([both], DISCOVERY, build)
    assert [match.groups for match in found] == [("a", "b")]
    assert names(choose_matches(found, DISCOVERY, merging=True)) == (
        {"a": ("size",)} if is_saved else {}
    )
    assert choose_matches(found, DISCOVERY, merging=False) == {}


def test_two_numbers_that_only_work_together() -> None:
    heads = Integer("root", ("heads",), 2, in_config=False)

    def build(values: Mapping[Integer, int]) -> Built | None:
        width, number = values.get(WIDTH, 8), values.get(heads, 2)
        return constructor({WIDTH: width}) if width == 4 * number else None

    (match,) = match_integers([WIDTH, heads], DISCOVERY, build)
    assert (match.groups, match.integers) == (("a",), (WIDTH, heads))
    assert match.values(12, today=8) == {WIDTH: 12, heads: 3}
    assert match.step(8) == 4


def test_one_call_with_all_numbers_comes_before_another_with_some() -> None:
    own = Integer("function", ("w",), 8, in_config=False)
    found = [
        Match(("a",), (own,)),
        Match(("a",), (WIDTH,)),
        Match(("b",), (HALF,)),
    ]
    chosen = choose_matches(found, DISCOVERY, merging=False)
    assert names(chosen) == {"a": ("width",), "b": ("half",)}
