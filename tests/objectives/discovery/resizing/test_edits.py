"""A discovery with groups fixed, merged and renamed: the same shapes today, other ones beside."""

from widthwise.objectives.discovery.groups import (
    DepthGroup,
    Discovery,
    Expression,
    FixedLayer,
    Member,
    Term,
    WidthGroup,
)
from widthwise.objectives.discovery.resizing.edits import (
    fix_groups,
    merge_groups,
    rename,
    with_divisor,
    without_attributes,
)

A, B = Expression((Term(1, ("a",)),)), Expression((Term(1, ("b",)),))
PRODUCT = Expression((Term(1, ("a", "b"), 2), Term(5)))
DISCOVERY = Discovery(
    groups=(
        WidthGroup("a", 8, 4, (Member("x", "weight", 0), Member("y", "weight", 1))),
        WidthGroup("b", 6, 3, (Member("y", "weight", 0),)),
    ),
    fixed=(FixedLayer("x", "input size (3)"),),
    parameters={"x.weight": (A, PRODUCT), "y.weight": (B, A)},
    attributes={("y", "size"): B, ("x", "shape"): (A, Expression.constant(2))},
    depths=(DepthGroup("layers", 2, ("layers.0", "layers.1")),),
)


def test_a_fixed_group_keeps_its_size_and_its_layers_say_why() -> None:
    fixed = fix_groups(DISCOVERY, {"a": "it fails", "layers": "it fails, too"})
    assert [group.name for group in fixed.groups] == ["b"]
    assert fixed.depths == ()
    assert {layer.module: layer.reason for layer in fixed.fixed} == {
        "x": "input size (3); it fails",
        "y": "it fails",
        "layers": "number of blocks (2): it fails, too",
    }
    assert fixed.shapes({"b": 12}) == {"x.weight": (8, 53), "y.weight": (12, 8)}
    assert str(fixed.parameters["x.weight"][1]) == "4*b + 5"
    assert fixed.shapes({}) == DISCOVERY.shapes({})


def test_merged_groups_move_in_proportion() -> None:
    merged = merge_groups(DISCOVERY, ["b", "a"], "both")
    (group,) = merged.groups
    assert (group.name, group.size) == ("both", 6)
    # 4 / 3 of it is a multiple of 4, and it one of 3.
    assert group.multiple_of == 3
    assert group.members == tuple(m for g in DISCOVERY.groups for m in g.members)
    assert merged.shapes({}) == DISCOVERY.shapes({})
    assert merged.shapes({"both": 12}) == DISCOVERY.shapes({"a": 16, "b": 12})


def test_a_depth_is_renamed_unless_the_name_is_taken() -> None:
    assert rename(DISCOVERY, "layers", "n_layer").depths[0].name == "n_layer"
    assert rename(DISCOVERY, "layers", "a") is DISCOVERY
    assert rename(DISCOVERY, "layers", "not a name") is DISCOVERY


def test_divisor_and_attributes() -> None:
    assert [g.multiple_of for g in with_divisor(DISCOVERY, "b", 2).groups] == [4, 2]
    assert without_attributes(DISCOVERY, "a").attributes == {("y", "size"): B}
