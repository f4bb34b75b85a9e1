"""The parametrisation of a study: muP where it can be applied, several rates where not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from widthwise.objectives.data.load import load_data
from widthwise.objectives.errors import ModelError
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.settings import ProxySettings
from widthwise.search.problem.build import proxy_settings
from widthwise.search.problem.parametrise import (
    FALLBACK_RATE_FACTORS,
    base_widths,
    parametrise,
    structural_widths,
    width_sweep,
)
from widthwise.search.space.space import Space, Width
from widthwise.search.spec.spec import Spec, parse_spec

IRIS = load_data("iris", base=Path(), seed=0)
MLP = make_objective(family="mlp", data=IRIS, base=Path())


def spec_of(proxy: Mapping[str, Any] | None = None, **sections: Any) -> Spec:
    return parse_spec(
        {
            "study": {"name": "s"},
            "model": {"family": "mlp"},
            "widths": {"a": {"low": 4, "high": 64, "step": 4}, "b": {"low": 4, "high": 64}},
            "proxy": {"data": "iris", **(proxy or {})},
            **sections,
        }
    )


def choose_parametrisation(
    spec: Spec, objective: ModuleObjective = MLP
) -> tuple[str, str, ProxySettings]:
    settings = proxy_settings(spec, objective.data)
    parametrisation, new_settings = parametrise(spec, objective, settings, spec.widths.to_space())
    assert replace(new_settings, rate_factors=settings.rate_factors) == settings
    return parametrisation.name, parametrisation.describe(), new_settings


class FixedShapeModule(nn.Module):
    """A width that moves no parameter's shape: heads of attention, say."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.layer = width, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) / self.width  # type: ignore[no-any-return]


RIGID = make_objective(
    build=lambda widths: FixedShapeModule(widths["a"] + widths["b"]), data=IRIS, base=Path()
)


def test_mup_is_what_an_mlp_gets() -> None:
    kind, _, settings = choose_parametrisation(spec_of())
    assert (kind, settings.rate_factors) == ("mup", (1.0,))


def test_the_standard_parametrisation_is_one_learning_rate() -> None:
    kind, explanation, settings = choose_parametrisation(
        spec_of({"parametrisation": "standard"}), RIGID
    )
    assert (kind, settings.rate_factors) == ("standard", (1.0,))
    assert explanation


def test_where_mup_cannot_be_applied_each_candidate_is_tried_with_a_few_rates() -> None:
    kind, explanation, settings = choose_parametrisation(spec_of(), RIGID)
    assert (kind, settings.rate_factors) == ("standard", FALLBACK_RATE_FACTORS)
    assert 1.0 in FALLBACK_RATE_FACTORS
    assert "muP" in explanation


@pytest.mark.parametrize("objective", [MLP, RIGID], ids=["mup", "fallback"])
def test_rates_that_the_spec_names_are_kept(objective: ModuleObjective) -> None:
    _, _, settings = choose_parametrisation(spec_of({"rate_factors": [0.5, 2.0]}), objective)
    assert settings.rate_factors == (0.5, 2.0)


def test_the_rate_is_meant_for_what_the_spec_calls_today() -> None:
    spec = spec_of(references={"today": {"a": 12, "b": 5}})
    assert base_widths(spec, spec.widths.to_space()) == {"a": 12, "b": 5}


@pytest.mark.parametrize(
    "references",
    [{}, {"today": "models.py:today"}, {"today": {"a": 13, "b": 5}}, {"rival": {"a": 12, "b": 5}}],
    ids=["none", "a builder", "off the lattice", "another name"],
)
def test_otherwise_for_widths_of_64(references: Any) -> None:
    spec = spec_of(references=references)
    assert base_widths(spec, spec.widths.to_space()) == {"a": 64, "b": 64}


@given(
    lows=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    factor=st.integers(1, 200),
    data=st.data(),
)
def test_a_width_sweep_contains_its_base(lows: list[int], factor: int, data: Any) -> None:
    space = Space(tuple(Width.range(f"w{n}", low, low * factor, 1) for n, low in enumerate(lows)))
    base = {width.name: data.draw(st.integers(width.low, width.high)) for width in space.widths}
    rungs = width_sweep(space, base)
    sizes = [sum(candidate.values()) for candidate in rungs]
    assert base in rungs
    assert sizes == sorted(set(sizes))
    assert all(space.contains(candidate) for candidate in rungs)


def test_each_candidate_of_a_width_sweep_is_twice_as_wide() -> None:
    space = Space((Width.range("a", 1, 4096, 1),))
    widths = [candidate["a"] for candidate in width_sweep(space, {"a": 64})]
    assert widths == [4, 8, 16, 32, 64, 128, 256, 512, 1024]


def test_the_callers_random_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    choose_parametrisation(spec_of())
    assert torch.equal(torch.get_rng_state(), before)


OPTIONAL = {
    "a": {"low": 4, "high": 64, "step": 4},
    "b": {"low": 4, "high": 64, "step": 4, "optional": True},
    "c": {"low": 4, "high": 64, "step": 4, "optional": True},
}


def test_mup_is_derived_for_each_choice_of_layers() -> None:
    spec = spec_of(widths=OPTIONAL)
    space = spec.to_space()
    mup, _ = parametrise(spec, MLP, proxy_settings(spec, IRIS), space)
    assert mup.name == "mup"
    assert "for each of the 3 choices of layers" in mup.describe()
    for widths in ({"a": 32, "b": 0, "c": 0}, {"a": 32, "b": 16, "c": 0}, dict.fromkeys("abc", 8)):
        present = {name: width for name, width in widths.items() if width}
        alone = spec_of(widths=dict.fromkeys(present, OPTIONAL["a"]))
        expected, _ = parametrise(alone, MLP, proxy_settings(alone, IRIS), alone.to_space())
        assert mup.learning_rate_factors(widths) == expected.learning_rate_factors(present)
    with pytest.raises(ModelError, match="no candidate of the space has the layers of"):
        mup.learning_rate_factors({"a": 0, "b": 8, "c": 8})


def test_layers_of_one_size_end_mup_for_no_others() -> None:
    """Where b is absent, the fixed a is all that is left."""
    widths = {"a": 64, "b": {"low": 16, "high": 128, "step": 16, "optional": True}}
    spec = spec_of(widths=widths)
    mup, _ = parametrise(spec, MLP, proxy_settings(spec, IRIS), spec.to_space())
    assert mup.name == "mup"
    assert set(mup.learning_rate_factors({"a": 64, "b": 0}).values()) == {1.0}
    alone = spec_of(widths=widths | {"b": {"low": 16, "high": 128, "step": 16}})
    expected, _ = parametrise(alone, MLP, proxy_settings(alone, IRIS), alone.to_space())
    wide = {"a": 64, "b": 128}
    assert mup.learning_rate_factors(wide) == expected.learning_rate_factors(wide)
    assert min(mup.learning_rate_factors(wide).values()) == 0.5


def test_where_no_layers_have_more_than_one_size_mup_is_not_applied() -> None:
    spec = spec_of(widths={"a": 64, "b": {"choices": [64], "optional": True}})
    name, text, _ = choose_parametrisation(spec)
    assert name == "standard"
    assert "no parameter follows the widths" in text


def test_too_many_choices_of_layers_are_tried_with_a_few_rates() -> None:
    widths = {
        name: {"low": 4, "high": 8 + index, "optional": True} for index, name in enumerate("bcdef")
    }
    spec = spec_of(widths={"a": OPTIONAL["a"], **widths})
    name, text, settings = choose_parametrisation(spec)
    assert (name, settings.rate_factors) == ("standard", FALLBACK_RATE_FACTORS)
    assert "the layers of the space can be chosen in more than 16 ways" in text


def test_mup_is_derived_for_each_depth() -> None:
    spec = spec_of(
        model={"family": "lstm"},
        widths={"hidden": {"low": 4, "high": 64, "step": 4}, "depth": {"low": 1, "high": 3}},
    )
    space = spec.to_space()
    sequences = replace(IRIS, has_columns=False)
    lstm = make_objective(family="lstm", data=sequences, base=Path())
    mup, _ = parametrise(spec, lstm, proxy_settings(spec, sequences), space)
    assert "for each of the 3 choices of layers" in mup.describe()
    for depth in (1, 2, 3):
        factors = mup.learning_rate_factors({"hidden": 32, "depth": depth})
        assert sum(name.endswith("weight_hh_l0") for name in factors) == depth
    base = base_widths(spec, space)
    sweep = width_sweep(space, base, structural_widths(spec))
    assert {widths["depth"] for widths in sweep} == {base["depth"]}
    assert len({widths["hidden"] for widths in sweep}) > 3
