"""The history: dots, the best so far, and what the surrogate holds best."""

from __future__ import annotations

import numpy as np
from widthwise.search.report.figures.history import _leaders, draw_history
from widthwise.tests.search.report.made_study import make_study


def test_leaders_are_the_best_so_far() -> None:
    means = np.asarray([0.5, 0.4, 0.7, 0.6, 0.9, 0.1])
    assert _leaders(means).tolist() == [0, 0, 2, 2, 4, 4]


def test_it_says_what_its_lines_are() -> None:
    drawing = draw_history(make_study())
    assert drawing is not None
    for words in ("best observed so far", "best by the surrogate", "linear model", "rule of thumb"):
        assert words in drawing.svg
    assert "constant prediction 0.1, below" in drawing.svg


def test_without_a_surrogate_it_has_no_posterior() -> None:
    drawing = draw_history(make_study(3))
    assert drawing is not None
    assert "surrogate" not in drawing.svg


def test_no_trial_no_history() -> None:
    assert draw_history(make_study(0)) is None
