"""Init scaling is found by measuring, whatever rule a builder draws its weights by."""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt

import pytest
from torch import Tensor, nn
from widthwise.objectives.parametrisation.errors import MupInapplicable
from widthwise.objectives.parametrisation.fans import Fans
from widthwise.objectives.parametrisation.init_scaling import (
    INIT_LAWS,
    MAX_SEEDS,
    InitLaw,
    MeasuredSize,
    fit_init_law,
    seeds_needed,
)
from widthwise.objectives.parametrisation.mup import derive_mup

from .models import BASE, WIDENED, Widths

Init = Callable[[Tensor], object]


def fan_out_normal(weight: Tensor) -> Tensor:
    return nn.init.kaiming_normal_(weight, mode="fan_out")


def inverse(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, std=1 / weight.shape[1])


def fourth_root(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, std=weight.shape[1] ** -0.25)


INITS: dict[str, tuple[Init, InitLaw]] = {
    "torch's default": (lambda weight: weight, InitLaw(1, 0, -0.5)),
    "He, fan-in": (nn.init.kaiming_normal_, InitLaw(1, 0, -0.5)),
    "He, fan-out": (fan_out_normal, InitLaw(0, 1, -0.5)),
    "Glorot": (nn.init.xavier_uniform_, InitLaw(1, 1, -0.5)),
    "orthogonal": (nn.init.orthogonal_, InitLaw(1, 1, -0.5, uses_larger=True)),
    "fixed size": (lambda weight: nn.init.trunc_normal_(weight, std=0.02), INIT_LAWS[0]),
    "zeros": (nn.init.zeros_, INIT_LAWS[0]),
    "ones": (nn.init.ones_, INIT_LAWS[0]),
    "1 / fan-in": (inverse, InitLaw(1, 0, -1.0)),
}


def initialised(init: Init) -> Callable[[Widths], nn.Module]:
    def build(widths: Widths) -> nn.Module:
        layer = nn.Linear(widths["a"], widths["b"])
        init(layer.weight.data)
        return layer

    return build


@pytest.mark.parametrize("name", INITS)
def test_the_law_of_a_rule_is_found(name: str) -> None:
    init, law = INITS[name]
    assert derive_mup(initialised(init), BASE, WIDENED).rules["weight"].init_law == law


def test_a_rule_that_is_none_of_them_is_refused_with_both_sizes() -> None:
    with pytest.raises(
        MupInapplicable, match=r"'weight' follows no known law .* at fan-in 8.* and "
    ):
        derive_mup(initialised(fourth_root), BASE, WIDENED)


@pytest.mark.parametrize("size", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_weights_that_are_no_numbers_follow_no_law(size: float, place: int) -> None:
    fans = [Fans(fan_in=8, fan_out=4), Fans(fan_in=16, fan_out=4)]
    measured = [MeasuredSize(fans=fan, size=0.1, elements=64) for fan in fans]
    measured[place] = replace(measured[place], size=size)
    with pytest.raises(MupInapplicable, match=r"the initial values of '0\.weight' are not finite"):
        fit_init_law("0.weight", measured)


def test_a_bias_follows_the_fans_of_its_weight() -> None:
    rules = derive_mup(initialised(INITS["torch's default"][0]), BASE, WIDENED).rules
    assert rules["bias"].init_law == InitLaw(1, 0, -0.5)
    assert rules["bias"].base_init_fans == Fans(8, 12)


def test_noise_of_few_elements_is_no_reason_for_a_rarer_law() -> None:
    base, other = Fans(16, 16), Fans(64, 64)
    sizes = [MeasuredSize(base, 1.0, 400), MeasuredSize(other, 0.5 * (1 + 1 / sqrt(400)), 400)]
    assert fit_init_law("one", sizes) == InitLaw(1, 0, -0.5)


def test_ratios_by_hand() -> None:
    base, other = Fans(20, 80), Fans(80, 320)
    ratios = [law.ratio(other, base) for law in INIT_LAWS]
    assert ratios == pytest.approx([1, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 4, 1 / 4])
    assert [law.ratio(Fans(80, 80), base) for law in INIT_LAWS] == pytest.approx(
        [1, 1 / 2, 1, sqrt(100 / 160), 1, 1 / 4, 1]
    )


@pytest.mark.parametrize(
    ("smallest", "parameters", "seeds"),
    [(1, 1_000, MAX_SEEDS), (10, 1_000, 13), (1_000, 10**6, 2), (10, 10**9, 2), (1, 2**22, 8)],
)
def test_small_parameters_take_more_builds_unless_the_model_is_large(
    smallest: int, parameters: int, seeds: int
) -> None:
    assert seeds_needed(smallest, parameters) == seeds
