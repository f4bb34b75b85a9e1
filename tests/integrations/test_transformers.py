"""Hugging Face: evaluations are reports, a stop leaves a checkpoint, and a training goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from widthwise.objectives.errors import StopTraining
from widthwise.tests.integrations.example import ExampleRun
from widthwise.tests.integrations.trials import RecordedProgress, a_trial


class Line(torch.nn.Module):
    """Fits a line, as a Trainer wants it: the loss is its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x: Any, labels: Any = None) -> Any:
        output = self.layer(x)
        return {"loss": ((output - labels) ** 2).mean(), "logits": output}


ROWS = [{"x": torch.tensor([i / 16 - 1]), "labels": torch.tensor([i / 8])} for i in range(32)]


def _fit(
    folder: Path, progress: RecordedProgress, monitor: str = "eval_loss", rows: Any = ROWS
) -> Line:
    from transformers import PrinterCallback, Trainer
    from widthwise.integrations.transformers import (
        TrialCallback,
        last_checkpoint,
        training_arguments,
    )

    trial, model = a_trial(folder, progress), Line()
    trainer = Trainer(
        model=model,
        args=training_arguments(trial, learning_rate=0.05),
        train_dataset=ROWS,
        eval_dataset=rows,
        callbacks=[TrialCallback(trial, monitor)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.evaluate()  # nobody's report
    trainer.train(resume_from_checkpoint=last_checkpoint(trial))
    trainer.evaluate()
    return model


def test_every_evaluation_is_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    progress = RecordedProgress()
    model = _fit(tmp_path / "kept", progress)
    assert [step for step, _ in progress.reports] == [1, 2, 3, 4]
    values = [value for _, value in progress.reports]
    assert values == sorted(values, reverse=True)
    with torch.no_grad():
        x = torch.stack([row["x"] for row in ROWS])
        y = torch.stack([row["labels"] for row in ROWS])
        assert values[-1] == pytest.approx(((model.layer(x) - y) ** 2).mean().item(), rel=1e-4)
    assert progress.logged == {}
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert len([*(tmp_path / "kept").glob("checkpoint-*")]) == 1


def test_a_stop_leaves_a_checkpoint_from_which_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    undisturbed = RecordedProgress()
    _fit(tmp_path / "whole", undisturbed)
    first = RecordedProgress(stop_after=2)
    with pytest.raises(StopTraining):
        _fit(tmp_path / "kept", first)
    # One that a kill cut off is not gone on from.
    broken = tmp_path / "kept" / "checkpoint-999"
    broken.mkdir()
    (broken / "trainer_state.json").write_text('{"epoch": ')
    second = RecordedProgress()
    _fit(tmp_path / "kept", second)
    steps = [step for step, _ in first.reports + second.reports]
    assert steps == [1, 2, 3, 4]
    for (_, resumed), (_, expected) in zip(
        first.reports + second.reports, undisturbed.reports, strict=True
    ):
        assert resumed == pytest.approx(expected, rel=1e-5)


def test_a_metric_that_is_not_evaluated_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'gave no "eval_f1": found eval_loss'):
        _fit(tmp_path / "kept", RecordedProgress(), monitor="eval_f1")


@pytest.mark.parametrize("monitor", ["eval_near_loss", "eval_far_loss"])
def test_of_several_sets_one_is_reported_and_the_others_are_logged(
    tmp_path: Path, monitor: str
) -> None:
    progress = RecordedProgress()
    sets = {"near": ROWS[12:20], "far": ROWS[:4]}
    _fit(tmp_path / "kept", progress, monitor, rows=sets)
    assert [step for step, _ in progress.reports] == [1, 2, 3, 4]
    [other] = {"eval_near_loss", "eval_far_loss"} - {monitor}
    assert {name: list(at) for name, at in progress.logged_at.items()} == {other: [1, 2, 3, 4]}


def test_a_metric_that_none_of_several_sets_has_is_named(tmp_path: Path) -> None:
    progress = RecordedProgress()
    with pytest.raises(ValueError, match=r'no "eval_loss": found eval_near_loss.*eval_far_loss'):
        _fit(tmp_path / "kept", progress, rows={"near": ROWS[12:20], "far": ROWS[:4]})
    # After the first epoch already.
    assert not [*(tmp_path / "kept").glob("checkpoint-16")]


def test_arguments_are_of_the_trial(tmp_path: Path) -> None:
    from widthwise.integrations.transformers import training_arguments

    trial = a_trial(tmp_path / "kept", RecordedProgress(), epochs=7)
    arguments = training_arguments(trial, learning_rate=0.5)
    assert (arguments.num_train_epochs, arguments.learning_rate) == (7, 0.5)
    assert arguments.seed == 3
    assert (arguments.device, arguments.n_gpu) == (torch.device("cpu"), 0)
    assert arguments.report_to == []


@pytest.mark.slow
def test_the_example_learns(example: ExampleRun) -> None:
    done = example.run("hf_trainer", "--trials", "2")
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)["trials"]
    assert (trials["complete"], trials["failed"]) == (2, 0)
    assert all(value > 0.3 for value in example.values("hf-trainer"))
    assert example.foreign_files() == []
