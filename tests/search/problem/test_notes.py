"""What a study says of its data and its trainings before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from widthwise.search.problem.notes import problem_notes
from widthwise.search.problem.problem import Problem
from widthwise.search.spec.spec import parse_spec


@pytest.mark.parametrize(
    ("data", "proxy", "validation", "length"),
    [
        pytest.param(
            "iris",
            {},
            "validated by 3 × 5 folds of 120 rows (few rows): 15 trainings a candidate, each row "
            "validates 3 times",
            "trained for up to 3,000 steps (1,500 epochs), at least 300, until 200 steps bring no "
            "better validation loss",
            id="few rows",
        ),
        pytest.param(
            "digits",
            {"folds": 2},
            "validated by 2 folds of 1,438 rows: 2 trainings a candidate, each row validates once",
            "trained for up to 3,000 steps (250 epochs), at least 300, until 204 steps bring no "
            "better validation loss",
            id="two folds",
        ),
        pytest.param(
            "digits",
            {"folds": 1, "epochs": 4, "patience": 0},
            "validated on 359 rows of their own, trained on 1,079",
            "trained for up to 68 steps (4 epochs), to the end",
            id="one split",
        ),
    ],
)
def test_one_line_says_how_it_validates_and_one_how_long_it_trains(
    data: str, proxy: dict[str, Any], validation: str, length: str
) -> None:
    sections = {
        "study": {"name": "s"},
        "model": {"family": "mlp"},
        "widths": {"a": [4, 8]},
        "proxy": {"data": data, **proxy},
    }
    notes = problem_notes(Problem.load(parse_spec(sections), Path()))
    assert validation in notes
    assert length in notes
