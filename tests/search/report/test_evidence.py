"""What is read of a study."""

from __future__ import annotations

import numpy as np
import pytest
from widthwise.search.report.evidence import StudyEvidence
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.tests.search.report.diagnosis.planted import Planted, make_evidence, make_record


def study_of(tried: list[tuple[int, int]]) -> StudyEvidence:
    """Of four candidates the largest ran out of memory."""
    planted = Planted(
        widths={name: {"low": 8, "high": 16, "step": 8} for name in ("a", "b")},
        truth=lambda _widths: 0.5,
    )
    space = planted.spec.widths.to_space()
    feasible = FeasibleSet(space, Limits(), lambda rows: {"flops": rows.prod(axis=1)}).excluding(
        lambda rows: np.asarray(rows.prod(axis=1) >= 256), "none is left"
    )
    assert feasible.known_count == 3
    records = [make_record(i, {"a": a, "b": b}, 0.5, {}) for i, (a, b) in enumerate(tried)]
    return make_evidence(planted.spec, records, feasible)


@pytest.mark.parametrize(
    ("tried", "exhausted"),
    [
        ([(16, 16), (8, 8), (8, 16)], False),
        ([(8, 8), (8, 16), (16, 8)], True),
        ([(16, 16), (8, 8), (8, 16), (16, 8)], True),
        ([], False),
    ],
)
def test_what_ran_out_of_memory_is_none_of_the_candidates_that_are_left(
    tried: list[tuple[int, int]], exhausted: bool
) -> None:
    assert study_of(tried).exhausted is exhausted
