"""Quality against cost."""

from __future__ import annotations

from widthwise.search.report.figures.front import draw_front
from widthwise.tests.search.report.made_study import make_study


def test_the_limit_is_drawn_in() -> None:
    drawing = draw_front(make_study(), "parameters", name="front")
    assert drawing is not None
    assert "limit 30,000" in drawing.svg
    assert "var(--limit)" in drawing.svg
    assert "recommended" in drawing.svg
    assert "with the limit of 30,000" in drawing.alt


def test_without_a_limit_none_is_drawn() -> None:
    drawing = draw_front(make_study(limits={}), "parameters", name="front")
    assert drawing is not None
    assert "var(--limit)" not in drawing.svg


def test_a_cost_that_no_trial_has() -> None:
    assert draw_front(make_study(), "latency", name="front") is None
