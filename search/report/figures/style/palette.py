"""The palette: every colour of a report by what it means, in a light and a dark theme.

The categorical hues are those of Okabe and Ito (Color Universal Design, 2008), which people with
any colour vision tell apart; lightness is moved until each has a contrast of at least 3 : 1 to its
background (WCAG 2.2, 1.4.11). Nothing is told by colour alone: markers and labels differ as well.

A figure is drawn in the light colours. In an SVG each of them becomes a CSS variable, so that one
drawing serves both themes; so no two roles may have the same light colour.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Colour:
    """One colour in both themes.

    Attributes:
        role: What it stands for; the name of its CSS variable.
        light: On a light background, as `#rrggbb`.
        dark: On a dark one.
    """

    role: str
    light: str
    dark: str

    @property
    def css(self) -> str:
        """The colour as a style sheet refers to it."""
        return f"var(--{self.role})"


SURFACE = Colour(role="surface", light="#ffffff", dark="#191c21")
INK = Colour(role="ink", light="#1b1f24", dark="#e7eaee")
MUTED = Colour(role="muted", light="#5b6570", dark="#a3adb8")
GRID = Colour(role="grid", light="#e4e7eb", dark="#30353c")
TRIAL = Colour(role="trial", light="#8a96a3", dark="#75808c")
RECOMMENDED = Colour(role="recommended", light="#0072b2", dark="#5cb8f0")
OBSERVED = Colour(role="observed", light="#d55e00", dark="#ff9a52")
BASELINE = Colour(role="baseline", light="#9c4f86", dark="#de9bc8")
CONSTANT = Colour(role="constant", light="#6c7681", dark="#98a3ae")
LINEAR = Colour(role="linear", light="#00795c", dark="#35c79c")
TREES = Colour(role="trees", light="#946c00", dark="#e5b83b")
LIMIT = Colour(role="limit", light="#b3261e", dark="#ff8a80")

# Better is further from the background, in either theme.
SCALE = tuple(
    Colour(role=f"scale{index}", light=light, dark=dark)
    for index, (light, dark) in enumerate(
        [
            ("#d9d5e3", "#3b3845"),
            ("#c3b9dc", "#4d4663"),
            ("#a998d1", "#635684"),
            ("#8e77c2", "#7c68a8"),
            ("#7355b0", "#987fcc"),
            ("#573795", "#b79cec"),
            ("#3a1d70", "#dccaff"),
        ]
    )
)
"""A quantity from bad to good."""

COLOURS = (
    SURFACE, INK, MUTED, GRID, TRIAL, RECOMMENDED, OBSERVED, BASELINE, CONSTANT, LINEAR, TREES,
    LIMIT, *SCALE,
)  # fmt: skip

REFERENCE_COLOURS = {"constant": CONSTANT, "linear": LINEAR, "trees": TREES}
"""Colours of the reference models, by their stored names."""


def css_variables(*, dark: bool) -> str:
    """Return the declarations of all colours in one theme."""
    return "".join(f"--{entry.role}:{entry.dark if dark else entry.light};" for entry in COLOURS)
