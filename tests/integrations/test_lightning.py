"""Lightning: every validation is a report, a stop ends in good order, and a training goes on."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import nn
from widthwise.objectives.errors import StopTraining
from widthwise.tests.integrations.example import ExampleRun
from widthwise.tests.integrations.trials import RecordedProgress, a_trial

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*is smaller than the logging interval",
    "ignore:Checkpoint directory .* exists and is not empty",
    "ignore:.*LeafSpec",
)


class Line(lightning.LightningModule):
    """Fits a line; keeps the weight that each epoch begins with."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(1, 1)
        self.weights: dict[int, float] = {}

    def on_train_epoch_start(self) -> None:
        self.weights[self.current_epoch] = self.layer.weight.item()

    def training_step(self, batch: Any, _: int) -> Any:
        return ((self.layer(batch[0]) - batch[1]) ** 2).mean()

    def validation_step(self, batch: Any, _: int) -> None:
        self.log("val_loss", ((self.layer(batch[0]) - batch[1]) ** 2).mean())
        self.log("val_weight", self.layer.weight.mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.5)


def _data() -> Any:
    x = torch.linspace(-1, 1, 32)[:, None]
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, 3 * x), batch_size=8)


def _fit(folder: Path, progress: RecordedProgress, **changes: Any) -> Line:
    from widthwise.integrations.lightning import last_checkpoint, trainer_options

    trial, module = a_trial(folder, progress), Line()
    trainer = lightning.Trainer(**trainer_options(trial, monitor="val_loss", **changes))
    trainer.validate(module, _data(), verbose=False)  # nobody's report
    trainer.fit(module, _data(), _data(), ckpt_path=last_checkpoint(trial))
    return module


def test_every_validation_is_a_report_and_the_rest_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    progress = RecordedProgress()
    module = _fit(tmp_path / "kept", progress)
    assert [step for step, _ in progress.reports] == [1, 2, 3, 4]
    values = [value for _, value in progress.reports]
    assert values == sorted(values, reverse=True)
    x = torch.linspace(-1, 1, 32)[:, None]
    with torch.no_grad():
        assert values[-1] == pytest.approx(((module.layer(x) - 3 * x) ** 2).mean().item())
    assert progress.logged == {"val_weight": pytest.approx(module.layer.weight.item())}
    assert list(progress.logged_at["val_weight"]) == [1, 2, 3, 4]
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_validations_within_an_epoch_are_parts_of_it(tmp_path: Path) -> None:
    progress = RecordedProgress()
    _fit(tmp_path / "kept", progress, val_check_interval=0.5, max_epochs=2)
    assert [step for step, _ in progress.reports] == [0.5, 1, 1.5, 2]


def test_a_stop_ends_with_a_checkpoint_from_which_it_ends_as_if_undisturbed(
    tmp_path: Path,
) -> None:
    undisturbed = RecordedProgress()
    whole = _fit(tmp_path / "whole", undisturbed)
    first = RecordedProgress(stop_after=2)
    with pytest.raises(StopTraining):
        _fit(tmp_path / "kept", first)
    assert len(first.reports) == 2
    assert (tmp_path / "kept" / "last.ckpt").is_file()
    second = RecordedProgress()
    resumed = _fit(tmp_path / "kept", second)
    assert first.reports + second.reports == undisturbed.reports
    assert resumed.weights == {epoch: whole.weights[epoch] for epoch in (2, 3)}


def test_a_trainer_that_must_go_on_is_stopped_at_its_next_report(tmp_path: Path) -> None:
    progress = RecordedProgress(stop_after=1)
    with pytest.raises(StopTraining):
        _fit(tmp_path / "kept", progress, min_epochs=4)
    assert [step for step, _ in progress.reports] == [1, 2]


def test_a_metric_that_nobody_logs_is_named(tmp_path: Path) -> None:
    from widthwise.integrations.lightning import trainer_options

    trial = a_trial(tmp_path / "kept", RecordedProgress())
    trainer = lightning.Trainer(**trainer_options(trial, monitor="accuracy"))
    with pytest.raises(ValueError, match='gave no "accuracy": found val_loss, val_weight'):
        trainer.fit(Line(), _data(), _data())


@pytest.mark.slow
def test_the_example_learns_and_goes_on_after_a_drain(example: ExampleRun) -> None:
    process = example.start("lightning_module", "--trials", "2")
    example.wait_for_file("**/last.ckpt", process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 75
    done = example.run("lightning_module", "--trials", "2")
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)["trials"]
    assert (trials["complete"], trials["failed"]) == (2, 0)
    assert all(value > 0.6 for value in example.values("lightning"))
    assert example.foreign_files() == []
