"""The canvas: what a figure becomes."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from widthwise.search.report.figures.style.canvas import (
    Drawing,
    dots,
    new_axes,
    render,
    set_span,
    show_costs,
    style_context,
    title_height,
)
from widthwise.search.report.figures.style.palette import COLOURS, TRIAL

HOSTILE = "$x$ <script>alert('&')</script> \x1b[31m\u202e_y"


def draw(name: str = "test", *, points: int = 5, title: str = "accuracy") -> Drawing:
    with style_context():
        figure, axes = new_axes()
        set_span(axes, "x", [1.0, 1000.0], log=True)
        set_span(axes, "y", [0.0, 1.0])
        show_costs(axes, "x", "flops")
        title_height(axes, title)
        dots(axes, np.geomspace(1, 1000, points), np.linspace(0, 1, points), TRIAL)
        return render(figure, name=name, alt=title)


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert draw() == draw()


def test_two_figures_share_no_id() -> None:
    first, second = (set(re.findall(r' id="([^"]*)"', draw(name).svg)) for name in ("a", "b"))
    assert first
    assert first & second == set()


def test_colours_are_variables_and_none_is_left() -> None:
    svg = draw().svg
    assert "var(--trial)" in svg
    assert "var(--surface)" in svg
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert "<style" not in svg
    assert all(colour.light not in svg for colour in COLOURS)


def test_letters_stay_letters_and_markup_is_read_by_nobody() -> None:
    drawing = draw(title=HOSTILE)
    root = ElementTree.fromstring(drawing.svg)  # well-formed, whatever the name
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    shown = "$x$ <script>alert('&')</script> \\x1b[31m\\u202e_y"
    assert shown in texts
    assert root.get("aria-label") == shown
    assert not [element for element in root.iter() if element.tag.endswith("script")]


def test_a_png_is_a_picture_without_a_date() -> None:
    png = draw().png
    picture = Image.open(io.BytesIO(png))
    assert picture.size == (1040, 650)
    assert not picture.info.keys() & {"Software", "Creation Time", "date"}


def test_many_dots_are_one_element_and_all_are_seen() -> None:
    few, many = draw(points=5).svg, draw(points=10_000).svg
    assert few.count("<path") == many.count("<path")
    assert len(many) < 120_000, "dots in one place are drawn once"
    grey = np.asarray(Image.open(io.BytesIO(draw(points=2).png)).convert("L"))
    more = np.asarray(Image.open(io.BytesIO(draw(points=40).png)).convert("L"))
    assert (more < 200).sum() > (grey < 200).sum() + 38 * 20


@pytest.mark.parametrize(
    ("cost", "high", "labels"),
    [
        ("train_memory", 2**20, ["256 KiB", "512 KiB", "768 KiB", "1 MiB"]),
        ("flops", 100_000, ["25k", "50k", "75k", "100k"]),
        ("parameters", 50_000, ["15,000", "45,000"]),
    ],
)
def test_ticks_are_amounts_that_people_say(cost: str, high: int, labels: list[str]) -> None:
    figure, axes = new_axes()
    set_span(axes, "x", [0.0, float(high)])
    show_costs(axes, "x", cost)
    figure.canvas.draw()
    shown = [tick.get_text() for tick in axes.get_xticklabels()]
    assert {*labels} <= {*shown}


def test_a_span_of_one_value_is_still_a_span() -> None:
    _, axes = new_axes()
    set_span(axes, "y", [0.5, float("nan")])
    low, high = axes.get_ylim()
    assert low < 0.5 < high
