"""The gate before a training: a forecast of costs that is too low spends none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState
from widthwise.objectives.cost.costs import count_costs
from widthwise.search.errors import Exhausted
from widthwise.search.problem.build import step_spec
from widthwise.search.problem.problem import Problem
from widthwise.search.spec.spec import parse_spec
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.study.study import create_study, load_study
from widthwise.tests.search.bench import HarnessFactory, StudyHarness
from widthwise.tests.search.conftest import SPEC, CommandLine

HIDDEN = (16, 19)
LIMITS = {"train_memory": 16_384, "flops": 3_000}

MODEL = '''
import torch
from torch import nn

class Thin(nn.Module):
    """Copies its features where its width is hidden, which its layers do not show."""

    def __init__(self, width):
        super().__init__()
        self.copies = 40 if int(str(width)) in {hidden} else 1
        self.width = int(str(width))
        self.first, self.last = nn.Linear(4, width), nn.Linear(width, 3)

    def forward(self, x):
        h = self.first(x)
        if self.copies > 1:
            h = h.repeat(self.copies, 1).exp().reshape(self.copies, *h.shape).mean(0)
        out = self.last(h)
        return out if self.training else 0 * out + self.width

def build(widths):
    return Thin(widths["a"])

def width(output, target):
    return float(output.mean())

width.direction = "maximize"

def load():
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, :3].argmax(1)
    return x[:24], y[:24], x[24:32], y[24:32], x[32:], y[32:]
'''


def load_problem(folder: Path, *, trials: int, at_once: int) -> Problem:
    (folder / "thin.py").write_text(MODEL.format(hidden=HIDDEN))
    values = {
        "study": {"name": "thin", "trials": trials},
        "model": {"build": "thin.py:build"},
        "widths": {"a": {"low": 5, "high": 28}},
        "limits": LIMITS,
        "proxy": {
            "data": "thin.py:load",
            "metric": "thin.py:width",
            "parametrisation": "standard",
            "epochs": 1,
            "batch_size": 8,
            "device": "cpu",
            "at_once": at_once,
        },
    }
    return Problem.load(parse_spec(values), folder)


def test_no_training_is_spent_where_the_forecast_is_too_low(tmp_path: Path) -> None:
    """Every candidate is proposed in the end; those that break a limit get no slot."""
    problem = load_problem(tmp_path, trials=30, at_once=6)
    assert problem.cost_model.counted_by == "polynomial"
    forecast = problem.cost_model.evaluate(np.array([[width] for width in HIDDEN]))
    assert all(forecast["train_memory"] <= LIMITS["train_memory"]), "or nothing is hidden"
    true = {
        width: count_costs(
            lambda width=width: problem.objective.build({"a": width}),
            step_spec(problem.objective, problem.settings),
        )
        for width in range(5, 29)
    }
    allowed = {
        width
        for width, costs in true.items()
        if all(costs.as_dict()[name] <= bound for name, bound in LIMITS.items())
    }
    assert not allowed.intersection(HIDDEN)
    assert len(allowed) > 15
    with Database.open(resolve_url(f"sqlite:///{tmp_path / 'study.db'}"), create=True) as database:
        row, _ = create_study(
            database,
            name="thin",
            spec=problem.spec.to_json(),
            fingerprint=problem.fingerprint,
            direction="maximize",
            metric="width",
            base=str(tmp_path),
            budget=30,
        )
        study = StudyHarness(problem=problem, database=database, row=row)
        with pytest.raises(Exhausted):
            study.run_worker()
        records = [record for record in study.records() if record.widths is not None]
        trials = study.trials()
    # Each of the others was trained, in a slot of its own, and nothing else was opened.
    assert sorted(record.widths["a"] for record in records if record.widths) == sorted(allowed)
    assert {record.outcome for record in records} == {"complete"}
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * len(allowed)
    for trial in trials:
        costs = true[trial.params["a"]].as_dict()
        assert {name: trial.user_attrs[name] for name in costs} == costs
    assert any(f"a={HIDDEN[0]}" in note for note in problem.cost_model.notes)


# --- a search that ends itself --------------------------------------------------------------------


def test_a_search_that_ends_itself_trains_exactly_what_is_left_of_its_budget(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials="auto", widths=400, at_once=1)
    study.run_worker()
    reader = study.ledger().reader
    counts, closing = reader.counts(), reader.closing()
    assert closing is not None
    assert counts.complete == counts.budget < 100
    assert closing["before"] == 100
    assert closing["saved"] == 100 - counts.budget
    # The last training is of the candidate that is believed to be best, if it had none.
    assert max(record.value or 0.0 for record in study.records()) == 400


def test_what_is_added_to_a_search_that_ended_itself_is_trained(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials="auto", widths=400, at_once=1)
    study.run_worker()
    before = study.ledger().reader.counts().budget
    study.ledger().extend(5)
    study.run_worker()
    counts = study.ledger().reader.counts()
    assert counts.complete == counts.budget == before + 5


def test_a_fixed_budget_is_never_cut(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=30, widths=400, at_once=1)
    study.run_worker()
    reader = study.ledger().reader
    assert reader.closing() is None
    assert reader.counts().complete == 30


@pytest.mark.slow
def test_two_workers_end_a_search_once_and_leave_nothing_behind(
    tmp_path: Path, database_url: str
) -> None:
    cli = CommandLine(tmp_path, database_url)
    cli.write("iris.toml", SPEC.replace("trials = 8", 'trials = "auto"'))
    result = cli("run", "iris.toml", "--workers", "2", "--json", WIDTHWISE_CONFIRM="0")
    assert result.code == 0, result.err
    with Database.open(resolve_url(database_url), create=False) as database:
        reader = LedgerReader(database, load_study(database, "iris"))
        counts, closing, records = reader.counts(), reader.closing(), reader.records()
    finished = counts.complete + counts.failed + counts.pruned
    assert finished == counts.budget == len(records)
    assert counts.budget < 100
    assert closing is not None
    assert closing["saved"] == 100 - counts.budget
