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
from widthwise.objectives.data.load import load_builtin
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.training.settings import ProxySettings
from widthwise.search.problem.build import proxy_settings
from widthwise.search.problem.parametrise import FALLBACK_FACTORS, base_widths, ladder, parametrised
from widthwise.search.space.space import Space, Width
from widthwise.search.spec.spec import Spec, parse_spec

IRIS = load_builtin("iris", seed=0)
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


def chosen(spec: Spec, objective: ModuleObjective = MLP) -> tuple[str, str, ProxySettings]:
    settings = proxy_settings(spec)
    found, then = parametrised(spec, objective, settings, spec.widths.space())
    assert replace(then, rate_factors=settings.rate_factors) == settings
    return found.kind, found.describe(), then


class Rigid(nn.Module):
    """A width that moves no parameter's shape: heads of attention, say."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.layer = width, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) / self.width  # type: ignore[no-any-return]


RIGID = make_objective(
    build=lambda widths: Rigid(widths["a"] + widths["b"]), data=IRIS, base=Path()
)


def test_mup_is_what_an_mlp_gets() -> None:
    kind, _, settings = chosen(spec_of())
    assert (kind, settings.rate_factors) == ("mup", (1.0,))


def test_the_standard_parametrisation_is_one_learning_rate() -> None:
    kind, said, settings = chosen(spec_of({"parametrisation": "standard"}), RIGID)
    assert (kind, settings.rate_factors) == ("standard", (1.0,))
    assert said


def test_where_mup_cannot_be_applied_each_candidate_is_tried_with_a_few_rates() -> None:
    kind, said, settings = chosen(spec_of(), RIGID)
    assert (kind, settings.rate_factors) == ("standard", FALLBACK_FACTORS)
    assert 1.0 in FALLBACK_FACTORS
    assert "muP" in said


@pytest.mark.parametrize("objective", [MLP, RIGID], ids=["mup", "fallback"])
def test_rates_that_the_spec_names_are_kept(objective: ModuleObjective) -> None:
    _, _, settings = chosen(spec_of({"rate_factors": [0.5, 2.0]}), objective)
    assert settings.rate_factors == (0.5, 2.0)


def test_the_rate_is_meant_for_what_the_spec_calls_today() -> None:
    spec = spec_of(references={"today": {"a": 12, "b": 5}})
    assert base_widths(spec, spec.widths.space()) == {"a": 12, "b": 5}


@pytest.mark.parametrize(
    "references",
    [{}, {"today": "models.py:today"}, {"today": {"a": 13, "b": 5}}, {"rival": {"a": 12, "b": 5}}],
    ids=["none", "a builder", "off the lattice", "another name"],
)
def test_otherwise_for_widths_of_64(references: Any) -> None:
    spec = spec_of(references=references)
    assert base_widths(spec, spec.widths.space()) == {"a": 64, "b": 64}


@given(
    lows=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    factor=st.integers(1, 200),
    data=st.data(),
)
def test_a_ladder_climbs_through_its_base(lows: list[int], factor: int, data: Any) -> None:
    space = Space(tuple(Width.range(f"w{n}", low, low * factor, 1) for n, low in enumerate(lows)))
    base = {width.name: data.draw(st.integers(width.low, width.high)) for width in space.widths}
    found = ladder(space, base)
    sizes = [sum(candidate.values()) for candidate in found]
    assert base in found
    assert sizes == sorted(set(sizes))
    assert all(space.contains(candidate) for candidate in found)


def test_each_rung_of_a_ladder_is_twice_as_wide() -> None:
    space = Space((Width.range("a", 1, 4096, 1),))
    widths = [candidate["a"] for candidate in ladder(space, {"a": 64})]
    assert widths == [4, 8, 16, 32, 64, 128, 256, 512, 1024]


def test_the_callers_random_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    chosen(spec_of())
    assert torch.equal(torch.get_rng_state(), before)
