"""What is said of when a search ended, or could have."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from widthwise.search.goal import Goal
from widthwise.search.report.stopping import review_stopping
from widthwise.search.sampler.history import History
from widthwise.search.sampler.suggest import Suggester
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Space, Width
from widthwise.storage.ledger.slot import SlotCounts

SPACE = Space((Width.range("a", 8, 256, step=8), Width.range("b", 8, 256, step=8)))


def counts(complete: int, waiting: int = 0) -> SlotCounts:
    return SlotCounts(complete=complete, running=0, failed=0, pruned=0, waiting=waiting)


def evidence(values: np.ndarray, **others: Any) -> Any:
    rng = np.random.default_rng(1)
    rows = np.array([[a, b] for a in range(8, 257, 8) for b in range(8, 257, 8)])
    feasible = FeasibleSet(SPACE, Limits(), lambda rows: {"flops": rows.prod(axis=1)})
    history = History(
        observed=rng.permutation(rows)[: len(values)],
        values=values,
        pending=rows[:0],
        failed=rows[:0],
    )
    fields = {
        "closing": None,
        "problem": SimpleNamespace(suggester=Suggester(feasible_set=feasible, goal=Goal())),
        "counts": counts(len(values)),
        "history": history,
    }
    return SimpleNamespace(**{**fields, **others})


def test_a_search_that_ended_itself_tells_what_that_saved():
    note = review_stopping(evidence(np.zeros(0), closing={"before": 100, "saved": 77}))
    assert note is not None
    assert note.to_json() == {
        "ended_itself": True,
        "trainings": 23,
        "saved": 77,
        "most": 100,
        "exhausted": False,
    }
    [sentence] = note.sentences()
    assert "after 23 trainings" in sentence
    assert "saved 77 of 100" in sentence


def test_a_fixed_budget_on_a_flat_surface_could_have_ended():
    searched = evidence(np.zeros(0))
    rng, suggester = np.random.default_rng(0), searched.problem.suggester
    while (past := searched.history) and len(past.values) < 40:
        [chosen] = suggester.suggest_batch(past, np.random.default_rng(len(past.values)), 1)
        searched.history = replace(
            past,
            observed=np.vstack([past.observed, SPACE.as_row(chosen.widths)]),
            values=np.append(past.values, rng.normal(0.9, 0.01)),
        )
    note = review_stopping(searched)
    assert note is not None
    assert note.trainings is not None
    assert 10 <= note.trainings < 35
    assert note.saved == 40 - note.trainings
    [sentence] = note.sentences()
    assert f"The last {note.saved} trainings could have been saved" in sentence


def test_a_search_that_still_finds_better_ones_is_left_alone():
    rows = evidence(np.zeros(14)).history.observed
    note = review_stopping(evidence(rows.prod(axis=1) / 65536.0))
    assert note is not None
    assert note.trainings is None
    assert note.sentences() == []


@pytest.mark.parametrize(
    "unknown", [{"problem": None}, {"counts": counts(10, waiting=2)}], ids=["no model", "not done"]
)
def test_nothing_is_said_where_it_cannot_be_told(unknown: dict[str, Any]):
    assert review_stopping(evidence(np.zeros(12), **unknown)) is None
