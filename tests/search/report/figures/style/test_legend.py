"""The legend: each entry once, as users wrote it, at bearable length."""

from __future__ import annotations

from matplotlib.backends.backend_agg import FigureCanvasAgg
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


def columns_of(label: str) -> int:
    """How many columns a legend of eight such labels has; none of them is cut off."""
    legend = Legend()
    for number in range(8):
        legend.line(f"{label} {number}", TRIAL)
    with style_context():
        figure, _ = new_axes()
        legend.draw(figure)
        FigureCanvasAgg(figure).draw()
        boxes = [text.get_window_extent() for drawn in figure.legends for text in drawn.get_texts()]
        assert max(box.x1 for box in boxes) <= figure.bbox.x1
    return len({round(box.x0) for box in boxes})


def test_long_labels_stand_in_fewer_columns() -> None:
    assert columns_of("a model with quite a name, number") == 1
    assert columns_of("a model with half a name") == 2
    assert columns_of("a model of a name") == 3
    assert columns_of("trial") == 3
