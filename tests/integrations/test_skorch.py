"""skorch: every epoch is a report, a stop leaves a checkpoint, and a training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from widthwise.objectives.errors import StopTraining
from widthwise.tests.integrations.trials import RecordedProgress, a_trial

X = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]


def _fit(
    folder: Path,
    progress: RecordedProgress,
    monitor: str = "valid_loss",
    others: Any = (),
    **changes: Any,
) -> list[float]:
    from skorch import NeuralNetRegressor
    from widthwise.integrations.skorch import trial_callbacks

    torch.manual_seed(0)
    net = NeuralNetRegressor(
        torch.nn.Linear(1, 1),
        lr=0.1,
        batch_size=8,
        device="cpu",
        callbacks=[*others, *trial_callbacks(a_trial(folder, progress), monitor)],
        callbacks__print_log=None,
        **changes,
    )
    net.fit(X, 3 * X)
    return [float(loss) for loss in net.history[:, "valid_loss"]]


def test_every_epoch_is_a_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    progress = RecordedProgress()
    losses = _fit(tmp_path / "kept", progress)
    assert progress.reports == [(epoch, loss) for epoch, loss in enumerate(losses, start=1)]
    assert len(losses) == 4
    assert losses == sorted(losses, reverse=True)
    assert {name: list(at) for name, at in progress.logged_at.items()} == {
        "train_loss": [1, 2, 3, 4]
    }
    assert capfd.readouterr() == ("", "")


def test_a_stop_leaves_a_checkpoint_and_the_epochs_before_it_count(tmp_path: Path) -> None:
    undisturbed = RecordedProgress()
    _fit(tmp_path / "whole", undisturbed)
    first = RecordedProgress(stop_after=2)
    with pytest.raises(StopTraining):
        _fit(tmp_path / "kept", first)
    second = RecordedProgress()
    _fit(tmp_path / "kept", second)
    assert [step for step, _ in second.reports] == [3, 4]
    assert first.reports + second.reports == [
        (step, pytest.approx(value)) for step, value in undisturbed.reports
    ]


def _stopped(folder: Path) -> None:
    with pytest.raises(StopTraining):
        _fit(folder, RecordedProgress(stop_after=2))


@pytest.mark.parametrize("name", ["params.pt", "optimizer.pt", "history.json"])
def test_a_checkpoint_that_was_cut_off_is_begun_anew(tmp_path: Path, name: str) -> None:
    _stopped(tmp_path / "kept")
    [file] = (tmp_path / "kept").rglob(name)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    progress = RecordedProgress()
    _fit(tmp_path / "kept", progress)
    assert [step for step, _ in progress.reports] == [1, 2, 3, 4]


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    save = torch.save

    def killed_in_the_third_epoch(state: Any, file: Any) -> None:
        if len(progress.reports) == 2 and "optimizer" in str(file):
            Path(file).write_bytes(b"PK")
            raise Killed
        save(state, file)

    progress = RecordedProgress()
    monkeypatch.setattr(torch, "save", killed_in_the_third_epoch)
    with pytest.raises(Killed):
        _fit(tmp_path / "kept", progress)
    monkeypatch.undo()
    second, undisturbed = RecordedProgress(), RecordedProgress()
    _fit(tmp_path / "kept", second)
    _fit(tmp_path / "whole", undisturbed)
    assert progress.reports + second.reports == [
        (step, pytest.approx(value)) for step, value in undisturbed.reports
    ]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["epoch-4"]


def test_a_criterion_without_a_state_is_none_to_keep(tmp_path: Path) -> None:
    criterion = {"criterion": lambda: torch.nn.functional.mse_loss}
    with pytest.raises(StopTraining):
        _fit(tmp_path / "kept", RecordedProgress(stop_after=2), **criterion)
    progress = RecordedProgress()
    _fit(tmp_path / "kept", progress, **criterion)
    assert [step for step, _ in progress.reports] == [3, 4]


def test_numbers_of_other_libraries_are_kept_in_the_history(tmp_path: Path) -> None:
    from skorch.callbacks import EpochScoring

    def score(_net: Any, _x: Any, _y: Any) -> np.float32:
        return np.float32(0.5)

    others = [("half", EpochScoring(score, name="half"))]
    with pytest.raises(StopTraining):
        _fit(tmp_path / "kept", RecordedProgress(stop_after=2), others=others)
    progress = RecordedProgress()
    _fit(tmp_path / "kept", progress, others=others)
    assert [step for step, _ in progress.reports] == [3, 4]
    assert progress.logged["half"] == 0.5


def test_a_metric_that_is_not_in_the_history_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'gave no "valid_acc": found train_loss, valid_loss'):
        _fit(tmp_path / "kept", RecordedProgress(), monitor="valid_acc")
