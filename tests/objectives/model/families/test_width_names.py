"""Which widths a family takes, and what it says of others."""

import pytest
from widthwise.objectives.errors import ModelError
from widthwise.objectives.model.families.width_names import WidthNames, layer_widths

NAMES = WidthNames(required=("d_model",), optional=("heads", "depth"), layer="d_ff")
STAGES = WidthNames(
    required=("channels",), optional=("depth",), layer="channels", layers_alike=False
)


@pytest.mark.parametrize(
    ("names", "widths", "absent"),
    [
        (NAMES, ["d_model"], []),
        (NAMES, ["heads", "d_model", "d_ff", "depth"], []),
        (NAMES, ["d_model", "d_ff1", "d_ff2", "d_ff3"], ["d_ff2", "d_ff3"]),
        (STAGES, ["channels1", "channels2", "depth"], []),
        (STAGES, ["channels"], []),
    ],
)
def test_widths_that_fit_are_accepted(
    names: WidthNames, widths: list[str], absent: list[str]
) -> None:
    names.check("f", widths, absent)


@pytest.mark.parametrize(
    ("names", "widths", "absent", "sentence"),
    [
        (NAMES, ["d_modl"], [], "has no width 'd_modl': it takes d_model, d_ff, heads, depth, or "),
        (NAMES, ["d_modl"], [], "did you mean 'd_model'?"),
        (NAMES, ["d_ff1"], [], "family 'f' needs the width 'd_model': add it to [widths]."),
        (STAGES, ["depth"], [], "needs the width 'channels'"),
        (NAMES, ["d_model", "d_ff1", "depth"], [], "has d_ff1 and depth, found both: give d_ff"),
        (NAMES, ["d_model", "d_ff1", "d_ff"], [], "has d_ff1 and d_ff, found both"),
        (NAMES, ["d_model", "d_ff2", "d_ff1"], [], "from 1 in their order, found d_ff2, d_ff1:"),
        (NAMES, ["d_model", "d_ff"], ["d_ff"], "without 'd_ff': take optional = true from it, and"),
        (STAGES, ["channels1"], ["channels1"], "cannot be without 'channels1': take optional"),
    ],
)
def test_others_are_refused_with_a_sentence(
    names: WidthNames, widths: list[str], absent: list[str], sentence: str
) -> None:
    with pytest.raises(ModelError) as refused:
        names.check("f", widths, absent)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_layers_that_are_there() -> None:
    assert layer_widths({"d_model": 4, "d_ff1": 8, "d_ff2": 0, "d_ff10": 2}, "d_ff") == [8, 2]
    assert layer_widths({"d_model": 4, "d_ff": 8}, "d_ff") is None
