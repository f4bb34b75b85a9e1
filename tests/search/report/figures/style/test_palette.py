"""The palette: told apart by everybody, on either background."""

from __future__ import annotations

import itertools

import pytest
from widthwise.search.report.figures.style import palette
from widthwise.search.report.figures.style.palette import Colour, css_variables

LINES = [
    palette.RECOMMENDED,
    palette.OBSERVED,
    palette.BASELINE,
    palette.CONSTANT,
    palette.LINEAR,
    palette.TREES,
    palette.LIMIT,
]


def luminance(colour: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted([luminance(first), luminance(second)], reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_the_standards() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colour", LINES, ids=lambda colour: colour.role)
def test_marks_stand_out_from_the_background(colour: Colour, theme: str) -> None:
    assert contrast(getattr(colour, theme), getattr(palette.SURFACE, theme)) >= 3.0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colour", [palette.INK, palette.MUTED], ids=lambda colour: colour.role)
def test_letters_are_read(colour: Colour, theme: str) -> None:
    assert contrast(getattr(colour, theme), getattr(palette.SURFACE, theme)) >= 4.5


def test_each_role_has_a_light_colour_of_its_own() -> None:
    lights = [colour.light for colour in palette.COLOURS]
    assert len({*lights}) == len(lights)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_scale_goes_away_from_the_background(theme: str) -> None:
    contrasts = [
        contrast(getattr(colour, theme), getattr(palette.SURFACE, theme))
        for colour in palette.SCALE
    ]
    assert all(first < second for first, second in itertools.pairwise(contrasts))


def test_a_theme_declares_every_colour() -> None:
    declared = css_variables(dark=True)
    assert all(f"--{colour.role}:{colour.dark};" in declared for colour in palette.COLOURS)
