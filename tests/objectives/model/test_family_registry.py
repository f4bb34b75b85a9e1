"""The families by name: their options, rules of thumb, and what a new entry reaches."""

import subprocess
import sys
from typing import Any

import pytest
from widthwise.objectives.errors import ModelError
from widthwise.objectives.model.family_registry import FAMILIES, check_family, doubling, pyramid
from widthwise.search.spec.from_data import sections_from_data
from widthwise.search.spec.spec import parse_spec


@pytest.mark.parametrize(
    ("family", "options", "shape", "says"),
    [
        ("mpl", {}, None, "did you mean 'mlp'?"),
        ("perceiver", {}, None, "Choose mlp or cnn or resnet or transformer or lstm, or name a"),
        ("lstm", {}, (3, 8, 8), "takes sequences (steps, or steps and features), the data has"),
        ("transformer", {"attention": "local"}, None, "is 'local': choose one of causal, full"),
        ("mlp", {"activtion": "relu"}, None, "did you mean 'activation'?"),
        ("cnn", {"norm": "layer"}, None, "no option 'norm' of family 'cnn'"),
        ("mlp", {"activation": "swoosh"}, None, "is 'swoosh': choose one of relu, gelu"),
        ("mlp", {"norm": "group"}, None, "choose one of none, batch, layer"),
        ("mlp", {"dropout": 1.0}, None, "is 1.0: give a number from 0"),
        ("mlp", {"dropout": -0.1}, None, "is -0.1"),
        ("mlp", {"dropout": "half"}, None, "is 'half'"),
        ("mlp", {"dropout": True}, None, "is True"),
        ("cnn", {}, (64,), "takes images (channels, height, width), the data has samples of"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(
    family: str, options: dict[str, Any], shape: tuple[int, ...] | None, says: str
) -> None:
    with pytest.raises(ModelError) as caught:
        check_family(family, options, shape)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_options_that_fit_are_accepted(family: str) -> None:
    options = {"activation": "gelu", "dropout": 0}
    if family == "lstm":
        del options["activation"]
    shape = (8, 3) if FAMILIES[family].reads_sequences else (3, 8, 8)
    assert check_family(family, options, shape) is FAMILIES[family]


def test_rules_of_thumb_by_hand() -> None:
    assert pyramid(64, 10, 1) == [pytest.approx(25.298, abs=1e-3)]
    assert doubling(16.0, 3) == [16.0, 32.0, 64.0]
    assert FAMILIES["mlp"].rule_of_thumb([8, 8], 64, 1) == [pytest.approx(16.0), pytest.approx(4.0)]
    assert FAMILIES["cnn"].rule_of_thumb([4, 4], 64, 10) == [8.0, 16.0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_data_file_alone_makes_a_spec_of_each_family(family: str) -> None:
    spec = parse_spec(sections_from_data("digits", family=family))
    assert spec.model.family == family
    assert set(spec.widths.entries) == {
        name for name in FAMILIES[family].default_widths if name != "order"
    }


def test_the_registry_loads_no_torch() -> None:
    code = "import sys, widthwise.objectives.model.family_registry; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
