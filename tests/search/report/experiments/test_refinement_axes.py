"""What refining tries, for what a study has."""

from __future__ import annotations

from typing import Any

from widthwise.search.report.experiments.refinement_axes import (
    Axis,
    Setting,
    refinement_axes,
    wider_axis,
)
from widthwise.search.spec.overrides import with_overrides
from widthwise.search.spec.spec import Spec, parse_spec


def spec_of(model: dict[str, Any] | None = None, **proxy: Any) -> Spec:
    return parse_spec(
        {
            "study": {"name": "s"},
            "model": model or {"family": "mlp"},
            "widths": {"a": [4, 8]},
            "proxy": {"data": "iris", **proxy},
        }
    )


def axes_of(spec: Spec, *, noise_possible: bool = True) -> dict[str, Axis]:
    return {axis.name: axis for axis in refinement_axes(spec, noise_possible=noise_possible)}


def texts(axis: Axis) -> list[str]:
    return [option.text for option in axis.options]


def test_a_family_gets_all_axes_the_learning_rate_first() -> None:
    axes = axes_of(spec_of())
    assert list(axes) == [
        "learning rate",
        "normalisation",
        "schedule",
        "weight decay",
        "dropout",
        "input noise",
    ]
    assert [axis.group for axis in axes.values()] == [0, 1, 1, 2, 2, 2]
    assert texts(axes["learning rate"]) == ["learning rate 0.000333", "learning rate 0.003"]
    assert texts(axes["normalisation"]) == ["norm batch", "norm layer"]
    assert texts(axes["schedule"]) == ["schedule cosine", "schedule one-cycle"]
    assert texts(axes["dropout"]) == ["dropout 0.1", "dropout 0.3"]


def test_what_is_set_is_varied_around() -> None:
    axes = axes_of(
        spec_of(
            {"family": "mlp", "dropout": 0.2, "norm": "layer"},
            weight_decay=0.05,
            schedule="cosine",
            input_noise=0.1,
            learning_rate=0.01,
        )
    )
    assert texts(axes["normalisation"]) == ["norm none", "norm batch"]
    assert texts(axes["schedule"]) == ["schedule constant", "schedule one-cycle"]
    assert texts(axes["weight decay"]) == [
        "weight decay 0",
        "weight decay 0.005",
        "weight decay 0.5",
    ]
    assert texts(axes["dropout"]) == ["dropout 0", "dropout 0.1", "dropout 0.4"]
    assert texts(axes["input noise"]) == ["input noise 0", "input noise 0.05", "input noise 0.2"]
    assert texts(axes["learning rate"]) == ["learning rate 0.00333", "learning rate 0.03"]


def test_a_rate_that_wins_goes_on_in_its_direction_and_not_for_ever() -> None:
    axis = axes_of(spec_of())["learning rate"]
    text, rates = axis.options[1].text, [axis.options[1].text]
    while text in axis.next_options:
        text = axis.next_options[text].text
        rates.append(text)
    assert rates == ["learning rate 0.003", "learning rate 0.009", "learning rate 0.027"]


def test_a_model_of_the_users_own_says_what_cannot_be_tried() -> None:
    axes = axes_of(spec_of({"build": "model.py:build"}), noise_possible=False)
    for name in ("normalisation", "dropout"):
        assert not axes[name].options
        assert axes[name].note == "a model of yours: only its build function can change it"
    assert (texts(axes["input noise"]), axes["input noise"].note) == (
        [],
        "the inputs are no fractions",
    )
    assert texts(axes["weight decay"]) == ["weight decay 0.01", "weight decay 0.1"]
    assert axes_of(spec_of({"family": "cnn"}))["normalisation"].note == "the family cnn has none"


def test_every_option_makes_a_valid_spec() -> None:
    spec = spec_of({"family": "mlp", "dropout": 0.5, "norm": "batch"}, input_noise=0.9)
    for axis in refinement_axes(spec, noise_possible=True):
        for option in (*axis.options, *axis.next_options.values()):
            assert with_overrides(spec, option.overrides) != spec, option.text


def test_an_option_changes_its_own_keys_alone() -> None:
    setting = Setting(widths={"a": 4}, overrides={"proxy.weight_decay": 0.1})
    (wider,) = wider_axis([{"a": 8}]).options
    assert wider.apply(setting) == Setting(widths={"a": 8}, overrides=setting.overrides)
    rate = axes_of(spec_of())["learning rate"].options[1]
    assert rate.apply(setting).overrides == {
        "proxy.weight_decay": 0.1,
        "proxy.learning_rate": 0.003,
    }
    assert wider_axis([], "it breaks the limit flops").note == "it breaks the limit flops"
