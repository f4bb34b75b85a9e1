"""Polynomials against tracing: random candidates of four spaces, every cost to the last unit."""

import pytest
from widthwise.objectives.cost.model import CostModel
from widthwise.tests.objectives.zoo.spaces import SPACES, count_mismatches


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("name", "candidates"),
    # A trace of ResNet-50 takes most of a second; `benchmarks.cost` compares 200 of it too.
    [("MLP", 200), ("residual CNN", 200), ("Transformer", 200), ("ResNet-50", 20)],
    ids=list(SPACES),
)
def test_every_random_candidate_is_exact(name: str, candidates: int) -> None:
    searched = SPACES[name]
    model = CostModel(searched.build, searched.step, searched.space.names)
    model.fit(searched.space)
    assert model.exact_by == "polynomial"
    traces = model.trace_count
    assert count_mismatches(searched, model, candidates) == 0
    assert model.trace_count == traces < 100
