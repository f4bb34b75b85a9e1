"""The legend: each entry once, as users wrote it, at bearable length."""

from __future__ import annotations

from widthwise.search.report.figures.style.canvas import new_axes, style_context
from widthwise.search.report.figures.style.legend import Legend
from widthwise.search.report.figures.style.palette import BASELINE, TRIAL


def texts(legend: Legend) -> list[str]:
    with style_context():
        figure, _ = new_axes()
        legend.draw(figure)
        return [text.get_text() for drawn in figure.legends for text in drawn.get_texts()]


def test_entries_are_written_once_in_their_order() -> None:
    legend = Legend()
    legend.dot("trial", TRIAL)
    legend.line("front", TRIAL)
    legend.dot("trial", TRIAL)
    legend.mark("rule of thumb", BASELINE, "D")
    assert texts(legend) == ["trial", "front", "rule of thumb"]


def test_long_names_are_cut_and_controls_escaped() -> None:
    legend = Legend()
    legend.dot("x" * 200, TRIAL)
    legend.dot("\x1b[31m", TRIAL)
    long, control = texts(legend)
    assert len(long) == 34
    assert long.endswith("…")
    assert control == "\\x1b[31m"


def test_an_empty_legend_is_none() -> None:
    assert texts(Legend()) == []
