"""The figures of a report: what is there is drawn, what is not is left out."""

from __future__ import annotations

import re

import pytest
from widthwise.search.report.figures.figures import FigureGroup, draw_figures
from widthwise.tests.search.report.made_study import make_study

HOSTILE = ("[/h]|<b>$x$&\"'", "`_w_`</svg><script>")


def names(groups: list[FigureGroup]) -> list[str]:
    return [figure.drawing.name for group in groups for figure in group.figures]


def test_a_study_has_every_figure() -> None:
    assert names(draw_figures(make_study())) == [
        "front-parameters",
        "costs",
        "history",
        "parallel",
        "response-1",
        "response-2",
        "learning-curves",
        "losses",
    ]


@pytest.mark.parametrize(
    ("trials", "missing"),
    [(0, {"front-parameters", "costs", "history", "parallel"}), (2, {"response-1"})],
)
def test_what_is_not_known_is_left_out(trials: int, missing: set[str]) -> None:
    assert missing & {*names(draw_figures(make_study(trials)))} == set()


def test_one_width_needs_no_parallel_coordinates() -> None:
    assert "parallel" not in names(draw_figures(make_study(8, names=("hidden",))))


def test_the_same_study_gives_the_same_figures() -> None:
    first, second = (
        [figure for group in draw_figures(make_study(6)) for figure in group.figures]
        for _ in range(2)
    )
    assert first == second


def test_hostile_names_are_text() -> None:
    for group in draw_figures(make_study(6, names=HOSTILE)):
        for figure in group.figures:
            assert re.fullmatch("[a-z0-9-]+", figure.drawing.name)
            assert "<script" not in figure.drawing.svg
            assert figure.drawing.svg.count("</svg>") == 1


def test_many_widths_are_as_many_figures_as_are_readable() -> None:
    many = tuple(f"w{index}" for index in range(16))
    drawn = draw_figures(make_study(8, names=many))
    assert len([name for name in names(drawn) if name.startswith("response")]) == 12
    (parallel,) = [
        figure.drawing
        for group in drawn
        for figure in group.figures
        if figure.drawing.name == "parallel"
    ]
    assert parallel.least_width > 1000, "it scrolls, and is not made too small to read"


def test_layers_that_may_be_absent_are_drawn_beside_the_widths() -> None:
    study = make_study(20, optional=True)
    drawn = {
        figure.drawing.name: figure.drawing
        for group in draw_figures(study)
        for figure in group.figures
    }
    assert study.recommended is not None
    assert "absent" in drawn["response-2"].svg
    assert "absent" not in drawn["response-1"].svg
    assert " at 0 to " in drawn["response-2"].alt
    assert "parallel" in drawn
