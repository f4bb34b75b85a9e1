"""Shapes have names, and whether they matter is told from the surface."""

from __future__ import annotations

import numpy as np
import pytest
from widthwise.search.report.diagnosis.shape import Shape, diagnose_shape, shapes_of
from widthwise.search.report.diagnosis.surface import make_surface
from widthwise.tests.search.report.diagnosis.planted import Planted, best_widths

RANGE = {"low": 32, "high": 512, "step": 32}


@pytest.mark.parametrize(
    ("widths", "shape"),
    [
        ([64, 64, 64], "even"),
        ([64, 72, 60], "even"),
        ([512, 128, 32], "falling"),
        ([512, 512, 32], "falling"),
        ([100, 90, 81, 73], "falling"),
        ([16, 64, 64], "rising"),
        ([64, 16, 64], "hourglass"),
        ([256, 64, 16, 128], "hourglass"),
        ([16, 64, 16], "spindle"),
        ([16, 64, 80, 64, 16], "spindle"),
        ([64, 16, 64, 16], "uneven"),
        ([16, 64, 16, 64], "uneven"),
        ([64, 16], "falling"),
        ([64, 16, 0], "falling"),
        ([64, 0, 64], "even"),
        ([0, 16, 64, 0, 16], "spindle"),
        ([0, 0], "even"),
    ],
)
def test_widths_have_a_shape(widths: list[int], shape: str) -> None:
    columns = np.arange(len(widths))
    assert shapes_of(np.array([widths]), columns).tolist() == [shape]
    mirrored = {"falling": "rising", "rising": "falling"}.get(shape, shape)
    assert shapes_of(np.array([widths[::-1]]), columns).tolist() == [mirrored]


def test_a_shape_that_matters_is_told() -> None:
    falling = Planted(
        widths={"h1": RANGE, "h2": RANGE},
        truth=lambda w: 0.9 - 0.02 * (np.log2(w["h1"]) - np.log2(w["h2"]) - 2) ** 2,
    )
    told = 0
    for seed in range(20):
        evidence = falling.evidence(seed)
        surface = make_surface(evidence, best_widths(evidence))
        assert surface is not None
        found = diagnose_shape(evidence, surface)
        assert found is not None
        told += found.shape == Shape.FALLING and found.matters is True
        assert set(found.others) == {Shape.EVEN, Shape.RISING}
    assert told >= 19
    assert found.sentence().startswith("Shape: falling, and it matters: over the best even network")
    assert found.to_json()["shape"] == "falling"


def test_a_shape_that_does_not_matter_is_told() -> None:
    flat = Planted(widths={"h1": RANGE, "h2": RANGE}, truth=lambda _: 0.9)
    matters = []
    for seed in range(20):
        evidence = flat.evidence(seed)
        surface = make_surface(evidence, best_widths(evidence))
        assert surface is not None
        found = diagnose_shape(evidence, surface)
        assert found is not None
        matters.append(found.matters)
    assert matters.count(True) <= 1
    assert matters.count(False) >= 18


def test_what_is_no_layer_has_no_part() -> None:
    model = Planted(
        widths={
            "d_model": RANGE,
            "heads": [2, 4, 8],
            "divisible": {"d_model": "heads"},
        },
        truth=lambda _: 0.9,
    )
    evidence = model.evidence(0)
    surface = make_surface(evidence, evidence.trials[0].widths)
    assert surface is not None
    assert diagnose_shape(evidence, surface) is None
