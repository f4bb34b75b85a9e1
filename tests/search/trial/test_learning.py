"""A study that learns nothing stops, and one in which some networks are too small does not."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.search.goal import Goal
from widthwise.search.problem.problem import Problem
from widthwise.search.report.status import load_summary
from widthwise.search.spec.spec import parse_spec
from widthwise.search.trial.bind import BoundSlot
from widthwise.search.trial.learning import LearningWatch, Noise, judge_learning, student_margin
from widthwise.search.trial.record import training_settlement
from widthwise.storage.database.database import Database
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.ledger.slot import Slot, SlotRecord, SlotState, StudyStatus, TrialOutcome
from widthwise.storage.study.control import set_status
from widthwise.tests.search.bench import HarnessFactory, StudyHarness, make_harness

NOISE = Noise(trainings=5, ratio=0.25, validated=400)
GOAL = Goal()
CONSTANT = 0.5


def record_of(
    number: int,
    value: float,
    *,
    spread: float | None = 0.01,
    losses: Sequence[float] = (1.0, 0.5),
) -> SlotRecord:
    result: dict[str, Any] = {
        "constant_score": CONSTANT,
        "losses": list(losses),
        "attributes": {} if spread is None else {"spread": spread},
    }
    if value <= CONSTANT:
        result["no_better_than_constant"] = True
    return SlotRecord(
        number=number,
        state=SlotState.DONE,
        outcome=TrialOutcome.COMPLETE,
        widths={"a": number + 1},
        origin="sampler",
        value=value,
        result=result,
        trial_id=number,
        worker="w",
        attempts=1,
        failures=0,
        started_at=0.0,
        finished_at=float(number),
        lease_until=None,
    )


def records_of(values: Sequence[float], **options: Any) -> list[SlotRecord]:
    return [record_of(number, value, **options) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "stopped"),
    [
        pytest.param([0.5, 0.4], [], id="two tell nothing"),
        pytest.param([0.5, 0.4, 0.5], [0, 1, 2], id="three"),
        pytest.param([0.51, 0.5, 0.5, 0.52, 0.45], [1, 2, 4], id="others by luck"),
        pytest.param([0.9, 0.5, 0.5, 0.5], [], id="the first proves it"),
        pytest.param([0.5, 0.5, 0.8, 0.5], [], id="proof comes before the third"),
        pytest.param([0.8] * 7 + [0.5, 0.5, 0.5], [], id="seven learn, three do not"),
        pytest.param([0.51] * 10 + [0.5, 0.5, 0.5], [], id="after the first ten"),
    ],
)
def test_three_of_the_first_ten_stop_unless_one_proves_that_learning_works(
    values: list[float], stopped: list[int]
) -> None:
    untrained = judge_learning(records_of(values), GOAL, NOISE)
    assert [record.number for record in untrained] == stopped


def test_a_lucky_network_whose_loss_did_not_move_has_not_learned() -> None:
    still = records_of([0.9, 0.8, 0.7], spread=0.001, losses=(1.1, 1.1001, 1.1))
    assert len(judge_learning(still, GOAL, NOISE)) == 3
    assert not judge_learning(records_of([0.9, 0.8, 0.7], spread=0.001), GOAL, NOISE)


def test_without_anything_to_learn_one_of_ten_trials_proves_it_in_a_twentieth_of_studies() -> None:
    """By simulation, folds sharing rows: their figures correlate by the share that validates."""
    folds, rng, proven, studies = 5, np.random.default_rng(0), 0, 4_000
    for _ in range(studies):
        shared = rng.normal(size=(10, 1)) * np.sqrt(1 / folds)
        figures = shared + rng.normal(size=(10, folds)) * np.sqrt(1 - 1 / folds)
        spreads = figures.std(axis=1, ddof=1) / np.sqrt(folds)
        proven += any(
            mean > student_margin(float(spread), folds, 1 / (folds - 1))
            for mean, spread in zip(figures.mean(axis=1), spreads, strict=True)
        )
    assert stats.binomtest(proven, studies, 1 - 0.995**10).pvalue > 0.001


@pytest.mark.parametrize(
    ("spread", "relative", "margin"),
    [(None, False, 0.075), (None, True, 0.9), (0.5, False, 0.075), (1e-3, False, 4.604e-3 * 1.5)],
    ids=["a share", "an error", "folds that differ", "folds that agree"],
)
def test_no_margin_is_wider_than_that_of_a_share(
    spread: float | None, relative: bool, margin: float
) -> None:
    noise = Noise(trainings=5, ratio=0.25, validated=400, relative=relative)
    assert noise.margin(spread, 12.0) == pytest.approx(margin, rel=1e-3)


def trained_records(problem: Problem, widths: Sequence[int], seed: int) -> list[SlotRecord]:
    """Train candidates in this process, and return what the ledger would hold of them."""
    results = train_together(
        problem.objective,
        [Candidate(widths={"a": width}, seed=seed * 100 + i) for i, width in enumerate(widths)],
        problem.settings,
        device=torch.device("cpu"),
        parametrisation=problem.parametrisation,
    )
    records = []
    for number, result in enumerate(results):
        assert isinstance(result, TrainingResult)
        slot = Slot(
            number=number,
            token="t",
            attempt=1,
            widths={"a": widths[number]},
            origin="sampler",
            trial_id=None,
        )
        settlement = training_settlement(
            BoundSlot(slot=slot, seed=number, costs={}, measured_costs={}, constraints={}),
            result,
            "cpu",
            constant_score=problem.constant_score,
            constant_loss=problem.constant_loss,
            goal=problem.goal,
        )
        assert settlement.value is not None
        record = record_of(number, settlement.value)
        records.append(SlotRecord(**{**vars(record), "result": settlement.result}))
    return records


def iris_problem(**proxy: Any) -> Problem:
    sections = {
        "study": {"name": "s"},
        "model": {"family": "mlp"},
        "widths": {"a": {"low": 1, "high": 32}},
        "proxy": {"data": "iris", "folds": 3, "device": "cpu", **proxy},
    }
    return Problem.load(parse_spec(sections), Path())


def judged(problem: Problem, records: Sequence[SlotRecord]) -> list[SlotRecord]:
    noise = Noise(trainings=3, ratio=0.5, validated=120)
    return judge_learning(records, problem.goal, noise)


def test_twenty_untrained_studies_are_all_stopped() -> None:
    """A learning rate at which nothing moves; what chance drew may be better than a constant."""
    stopped = 0
    problem = iris_problem(learning_rate=1e-9, epochs=3)
    for seed in range(20):
        records = trained_records(problem, [32, 16, 8], seed)
        stopped += len(judged(problem, records)) >= 3
    assert stopped == 20


def test_twenty_studies_that_learn_are_not_stopped() -> None:
    stopped = 0
    problem = iris_problem(learning_rate=1e-2, epochs=20)
    for seed in range(20):
        records = trained_records(problem, [32, 16], seed)
        # Three that are too small to learn anything, at the end of the ten.
        records += [record_of(number, 0.3) for number in range(2, 5)]
        stopped += bool(judged(problem, records))
    assert stopped == 0


ALWAYS_ONE_CLASS = """
import torch

def load():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0.4).long() + (x[:, 0] > 1).long()
"""


def watched(study: StudyHarness, worker: str) -> LearningWatch:
    return LearningWatch(
        problem=study.problem, database=study.database, study=study.row, worker=worker
    )


def run_two_workers(study: StudyHarness) -> None:
    threads = [
        threading.Thread(target=study.run_worker, kwargs={"learning": watched(study, worker)})
        for worker in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_workers_stop_a_study_once_and_a_person_may_insist(
    tmp_path: Path, database: Database
) -> None:
    """The model answers class 0 whatever comes in."""
    (tmp_path / "constant.py").write_text(ALWAYS_ONE_CLASS)
    study = make_harness(
        tmp_path,
        database,
        trials=12,
        data="constant.py:load",
        metric="accuracy",
        folds=1,
        at_once=1,
    )
    run_two_workers(study)
    reader = LedgerReader(database, study.row)
    complete = reader.counts().complete
    # The other worker may have had one more in training.
    assert 3 <= complete <= 4
    reason = reader.untrained_reason()
    assert reason is not None
    assert re.match(r"Nothing is learned: ([34]) of the first \1 complete trials \(0, 1, 2", reason)
    assert reader.counts().running == 0

    set_status(database, study.row, StudyStatus.OPEN, worker="eve")
    run_two_workers(study)
    assert reader.counts().complete == 12
    assert reader.untrained_reason() is None


def test_the_report_of_a_study_that_learned_nothing_says_so(
    tmp_path: Path, new_harness: HarnessFactory
) -> None:
    (tmp_path / "constant.py").write_text(ALWAYS_ONE_CLASS)
    study = new_harness(trials=8, data="constant.py:load", metric="accuracy", folds=1, at_once=1)
    study.run_worker(learning=watched(study, "a"))
    report = load_summary(study.database, study.row.name).to_json()
    assert report["trials"]["complete"] == 3
    assert report["verdict"] == "not trained"
    assert report["verdict_text"].startswith("Not trained. Nothing is learned: 3 of the first 3")
