"""Why nothing is learned: what was measured says where to look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from widthwise.search.problem.problem import Problem
from widthwise.search.spec.spec import parse_spec
from widthwise.search.trial.cause import likely_cause
from widthwise.storage.ledger.slot import SlotRecord, SlotState, TrialOutcome

DATA = """
import numpy as np

g = np.random.default_rng(0)
x = g.normal(size=(200, 3))

def plain():
    return x, x[:, 0] > 0

def rare():
    return x, np.arange(200) % 25 == 0

def large_inputs():
    return x * [1.0, 1e4, 1.0], x[:, 0] > 0

def small_inputs():
    return x * [1e-3, 1e-4, 1e-5], x[:, 0] > 0

def quantity():
    return x, 1e5 * x[:, 0]

def loss(outputs, targets):
    return (outputs.reshape(targets.shape) - targets).square().mean()
"""

REFERENCES = {"constant": {"value": 0.5}, "linear": {"value": 0.95}, "trees": {"value": 0.9}}


def problem_of(folder: Path, data: str, **proxy: Any) -> Problem:
    (folder / "d.py").write_text(DATA)
    sections = {
        "study": {"name": "s"},
        "model": {"family": "mlp"},
        "widths": {"a": [4, 8]},
        "proxy": {"data": f"d.py:{data}", "device": "cpu", "learning_rate": 0.01, **proxy},
    }
    return Problem.load(parse_spec(sections), folder)


def record_of(losses: Sequence[float]) -> SlotRecord:
    return SlotRecord(
        number=0,
        state=SlotState.DONE,
        outcome=TrialOutcome.COMPLETE,
        widths={"a": 4},
        origin="sampler",
        value=0.5,
        result={"losses": list(losses), "constant_loss": 0.7, "constant_score": 0.5},
        trial_id=0,
        worker="w",
        attempts=1,
        failures=0,
        started_at=0.0,
        finished_at=1.0,
        lease_until=None,
    )


@pytest.mark.parametrize(
    ("data", "losses", "nan_count", "expected"),
    [
        pytest.param(
            "plain",
            [0.7, 0.6999],
            0,
            "learning rate: at 0.01 the training loss hardly moved (0.7 → 0.6999); try ten times",
            id="still",
        ),
        pytest.param(
            "plain",
            [9.0, 5.0],
            0,
            "learning rate: at 0.01 the training loss stayed at 7.14 times that of a constant",
            id="exploded",
        ),
        pytest.param(
            "plain",
            [0.8, 0.7],
            2,
            "learning rate: the loss of 2 other trials became no number at 0.01; try a tenth",
            id="no number",
        ),
        pytest.param("plain", [0.7, 0.1], 0, "target: the training rows were learnt", id="overfit"),
        pytest.param("plain", [0.75, 0.68], 0, "learning rate (0.01) or the length", id="unclear"),
        pytest.param(
            "rare", [0.3, 0.2], 0, "target: 96.7% of the rows are of class 'False'", id="one class"
        ),
        pytest.param(
            "large_inputs",
            [0.7, 0.6],
            0,
            "scaling: a column of the inputs has a standard deviation of ",
            id="inputs",
        ),
        pytest.param(
            "small_inputs",
            [0.7, 0.6],
            0,
            "scaling: all columns of the inputs have a standard deviation of ",
            id="small inputs",
        ),
    ],
)
def test_the_likely_cause_follows_from_the_figures(
    tmp_path: Path, data: str, losses: list[float], nan_count: int, expected: str
) -> None:
    sentence = likely_cause(
        [record_of(losses)] * 3, problem_of(tmp_path, data), REFERENCES, nan_count=nan_count
    )
    assert f"Likely the {expected}" in sentence
    assert sentence.endswith(" On the same rows: a linear model 0.95, boosted trees 0.9.")


def test_a_pixel_that_hardly_varies_is_no_matter_of_scaling() -> None:
    sections = {
        "study": {"name": "s"},
        "model": {"family": "cnn"},
        "widths": {"a": [4, 8]},
        "proxy": {"data": "digits", "device": "cpu", "learning_rate": 0.01},
    }
    problem = Problem.load(parse_spec(sections), Path())
    pixels = problem.objective.data.train.inputs.flatten(1).std(dim=0)
    assert 0 < pixels[pixels > 0].min() < 0.01
    sentence = likely_cause([record_of([0.7, 0.6999])] * 3, problem, {})
    assert sentence.startswith("Likely the learning rate: at 0.01 the training loss hardly moved")


def test_targets_that_a_loss_of_ones_own_gets_as_they_are_may_be_too_large(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "quantity", loss="d.py:loss")
    sentence = likely_cause([record_of([1e9, 1e9])], problem, {})
    assert sentence.startswith("Likely the scaling: the targets, as the loss gets them, have a ")


def test_where_no_other_model_learns_either_the_target_is_named_first(tmp_path: Path) -> None:
    references = {name: {"value": 0.5} for name in ("constant", "linear", "trees")}
    sentence = likely_cause([record_of([0.75, 0.68])], problem_of(tmp_path, "plain"), references)
    assert sentence.startswith("Likely the target: see whether it follows from the inputs")
    assert sentence.endswith("boosted trees 0.5, no better than the constant either.")
