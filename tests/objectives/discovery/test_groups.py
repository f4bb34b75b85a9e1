"""Groups: expressions give sizes, a discovery gives shapes, and JSON has the fixed form."""

import pytest
from widthwise.objectives.discovery.groups import (
    Discovery,
    Expression,
    FixedLayer,
    Member,
    Term,
    WidthGroup,
)

WIDE = WidthGroup("d_model", 8, 4, (Member("qkv", "weight", 0), Member("", "token", 1)))
FUSED = Expression((Term(3, ("d_model",)),))


@pytest.mark.parametrize(
    ("terms", "text", "value"),
    [
        pytest.param((Term(7),), "7", 7, id="constant"),
        pytest.param((), "0", 0, id="zero"),
        pytest.param((Term(3, ("a",)),), "3*a", 30, id="multiple"),
        pytest.param((Term(1, ("a",), 4),), "a//4", 2, id="whole-number-division"),
        pytest.param((Term(1, ("a", "b")), Term(2)), "a*b + 2", 62, id="product-and-constant"),
        pytest.param((Term(1, ("a",)), Term(1, ("b",))), "a + b", 16, id="sum"),
    ],
)
def test_expression(terms: tuple[Term, ...], text: str, value: int) -> None:
    expression = Expression(terms)
    assert str(expression) == text
    assert expression.value({"a": 10, "b": 6}) == value


def test_an_expression_names_its_groups() -> None:
    assert Expression((Term(1, ("a", "b")), Term(4))).groups == {"a", "b"}
    assert Expression.constant(3).is_constant
    assert Expression.constant(0).value({}) == 0


def test_shapes_follow_the_sizes_and_keep_todays_for_the_rest() -> None:
    discovery = Discovery(
        (WIDE,),
        (),
        parameters={"qkv.weight": (FUSED, Expression.constant(5))},
        buffers={"mask": (Expression.constant(2),)},
    )
    assert discovery.shapes({}) == {"qkv.weight": (24, 5), "mask": (2,)}
    assert discovery.shapes({"d_model": 12})["qkv.weight"] == (36, 5)


def test_json_has_the_fixed_form() -> None:
    discovery = Discovery((WIDE,), (FixedLayer("head", "output size (10)"),), "constructor")
    assert discovery.to_json() == {
        "groups": [
            {
                "name": "d_model",
                "size": 8,
                "multiple_of": 4,
                "members": [
                    {"module": "qkv", "parameter": "weight", "dim": 0},
                    {"module": "", "parameter": "token", "dim": 1},
                ],
            }
        ],
        "fixed": [{"module": "head", "reason": "output size (10)"}],
        "how": "constructor",
    }


def test_a_member_knows_its_parameter_in_the_whole_model() -> None:
    assert [member.qualified_parameter for member in WIDE.members] == ["qkv.weight", "token"]
