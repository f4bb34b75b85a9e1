"""Recording: what is kept of a trial that has learnt nothing, and of metrics beside the one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from widthwise.objectives.loop.result import TrainingOutcome, TrainingResult
from widthwise.search.report.answer_lines import constant_line, reported_line
from widthwise.search.report.evidence import StudyEvidence, load_evidence
from widthwise.search.report.page.write import write_report
from widthwise.search.report.status import study_status
from widthwise.search.report.summary import build_summary
from widthwise.search.trial.bind import BoundSlot
from widthwise.search.trial.record import training_settlement
from widthwise.storage.ledger.slot import Slot
from widthwise.tests.command_line import run_in_process
from widthwise.tests.search.bench import HarnessFactory, StudyHarness

QUANTITIES = """
import torch

def load():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    return x, {targets}
"""


COMMONEST_CLASS = "(x[:, 0] > 0.4).long() + (x[:, 0] > 1).long()"
"""Three classes, the first of them the commonest, and the one that the model always answers."""


def make_study(
    folder: Path, new_harness: HarnessFactory, targets: str, metric: str, **proxy: Any
) -> StudyHarness:
    (folder / "quantities.py").write_text(QUANTITIES.format(targets=targets))
    study = new_harness(trials=3, data="quantities.py:load", metric=metric, **{"folds": 1, **proxy})
    study.run_worker()
    return study


@pytest.mark.parametrize(
    ("targets", "metric"),
    [
        pytest.param("1000 + 10 * x[:, :3]", "r2", id="around 1000"),
        pytest.param("1e-6 * x[:, :3]", "mae", id="small"),
        pytest.param("x[:, :3] * torch.tensor([1.0, 1e3, 1e6])", "rmse", id="three scales"),
        pytest.param(COMMONEST_CLASS, "accuracy", id="exactly the commonest class"),
        pytest.param(COMMONEST_CLASS, "balanced_accuracy", id="exactly 1 of 3 classes"),
    ],
)
def test_a_trial_no_better_than_a_constant_says_so_and_is_counted(
    tmp_path: Path, new_harness: HarnessFactory, targets: str, metric: str
) -> None:
    """The model of these studies answers with its width for all: class 0, or deviations."""
    study = make_study(tmp_path, new_harness, targets, metric)
    sign = study.problem.goal.sign
    for record in study.records():
        assert record.result is not None
        assert record.value is not None
        assert record.result["no_better_than_constant"] is True
        assert sign * record.value <= sign * record.result["constant_score"]
    assert [trial.user_attrs["no_better_than_constant"] for trial in study.trials()] == [True] * 3
    assert all(math.isfinite(trial.user_attrs["constant"]) for trial in study.trials())
    assert study_status(study.database, study.row)["no_better_than_constant"] == 3
    reader = study.ledger().reader
    summary = build_summary(
        StudyEvidence(
            row=study.row,
            spec=study.problem.spec,
            records=study.records(),
            counts=reader.counts(),
            tried=reader.tried(),
        )
    )
    assert summary.to_json()["no_better_than_constant"] == 3
    assert all(trial["no_better_than_constant"] for trial in summary.to_json()["history"])
    line = constant_line(summary)
    assert line is not None
    assert line.startswith("3 of 3 trials are no better than a constant prediction")
    assert "the recommended one too: nothing was learnt" in line


def test_a_trial_that_learnt_something_is_not_marked(
    tmp_path: Path, new_harness: HarnessFactory
) -> None:
    """Here the targets are all that the model ever answers, but for some noise around it."""
    study = make_study(tmp_path, new_harness, "x[:, :3]", "known.py:width")
    for record in study.records():
        assert record.result is not None
        assert "no_better_than_constant" not in record.result
    assert study_status(study.database, study.row)["no_better_than_constant"] == 0


def test_exactly_as_good_is_told_from_better_where_means_are_rounded(
    tmp_path: Path, new_harness: HarnessFactory
) -> None:
    """Three seeds on seven folds: means of the same accuracies, summed in another order."""
    study = make_study(tmp_path, new_harness, COMMONEST_CLASS, "accuracy", folds=7, replicas=3)
    for record in study.records():
        assert record.result is not None
        assert record.value == pytest.approx(record.result["constant_score"], rel=1e-12)
        assert record.result["no_better_than_constant"] is True


OWN_METRICS = """
def shift(outputs, targets):
    return float((outputs - targets).mean())

def seldom(outputs, targets):
    seldom.calls = getattr(seldom, "calls", 0) + 1
    if seldom.calls > 1:
        raise ValueError("only before the study")
    return 1.0
"""


def test_metrics_beside_the_one_that_is_searched_are_shown_everywhere(
    tmp_path: Path, new_harness: HarnessFactory
) -> None:
    (tmp_path / "own.py").write_text(OWN_METRICS)
    study = make_study(
        tmp_path,
        new_harness,
        "x[:, :3]",
        "r2",
        folds=4,
        replicas=2,
        report=["r2", "rmse", "own.py:shift", "own.py:seldom"],
    )
    records = study.records()
    for record, trial in zip(records, study.trials(), strict=True):
        assert record.result is not None
        assert record.value is not None
        figures = record.result["reported"]
        assert list(figures) == ["r2", "rmse", "shift"], "what raised is left out"
        # The mean over folds and seeds, of the same weights on the same rows.
        assert figures["r2"] == pytest.approx(record.value, rel=1e-12)
        assert {name: trial.user_attrs[name] for name in figures} == figures
    best = max(records, key=lambda record: record.value or -math.inf)
    assert best.result is not None
    state = study_status(study.database, study.row)
    assert state["best"] == {
        "trial": best.number,
        "metric": {"name": "r2", "value": best.value},
        "reported": best.result["reported"],
    }
    url = study.database.url.render_as_string(hide_password=False)
    printed = run_in_process(tmp_path, {}, "status", study.row.name, "--storage", url)
    assert f"best so far trial {best.number}, r2 " in " ".join(printed.out.split())
    evidence = load_evidence(study.database, study.row.name)
    summary = build_summary(evidence)
    taken = summary.recommended
    assert taken is not None
    assert taken.trial is not None
    history = {trial["trial"]: trial["reported"] for trial in summary.to_json()["history"]}
    assert history == {record.number: (record.result or {})["reported"] for record in records}
    line = reported_line(summary)
    assert line is not None
    assert line.startswith(f"Recorded beside r2 in trial {taken.trial.number}: r2 ")
    write_report(evidence, tmp_path / "report")
    page = (tmp_path / "report" / "report.md").read_text()
    assert "| rmse | shift |" in page


def test_a_name_of_ours_stays_ours() -> None:
    slot = Slot(
        number=0,
        token="t",
        attempt=1,
        widths={"a": 8},
        origin="plan",
        trial_id=1,
        overrides={"proxy.learning_rate": 0.1},
    )
    bound_slot = BoundSlot(
        slot=slot,
        seed=7,
        costs={"parameters": 80},
        measured_costs={"latency": 0.001},
        constraints={},
    )
    ours = [
        *("test", "origin", "seed", "slot", "parameters", "latency_seconds"),
        "proxy.learning_rate",
    ]
    result = TrainingResult(
        outcome=TrainingOutcome.COMPLETE,
        value=0.5,
        score=0.5,
        fidelity=3.0,
        test_value=0.25,
        best_epoch=0,
        epochs=3,
        curve=(0.5,),
        losses=(1.0,),
        validation_losses=(1.0,),
        spread=None,
        learning_rate=1e-3,
        engine="plain",
        seconds=1.0,
        device="cpu",
        parameters=10,
        peak_memory=None,
        detail=None,
        reported={**dict.fromkeys(ours, 7.5), "f1": 0.75, "macs": 2.5},
    )
    attributes = training_settlement(bound_slot, result, "cpu").result["attributes"]
    assert attributes["test"] == 0.25
    assert {name: attributes[f"reported_{name}"] for name in ours} == dict.fromkeys(ours, 7.5)
    assert 7.5 not in [attributes.get(name) for name in ours], "what Optuna's trial has is kept"
    assert (attributes["f1"], attributes["macs"]) == (0.75, 2.5)
