"""Workers side by side do not choose the same; and nobody trains into a file that is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from . import small
from .command import CommandStudy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.promise("no crowd, no lost file"),
]

TRIALS = 64

RecordCounts = Callable[..., None]


def write_study(folder: Path, *, at_once: int, trials: int, epochs: int) -> CommandStudy:
    study = CommandStudy(folder, "small")
    (folder / "small.py").write_text(small.MODEL)
    (folder / "small_data.py").write_text(small.DATA)
    spec = small.SPEC.format(name="small", trials=trials, epochs=epochs)
    (folder / "small.toml").write_text(spec.replace("at_once = 1", f"at_once = {at_once}"))
    study.submit("small.toml")
    return study


def test_batches_of_two_workers_hardly_meet(record_counts: RecordCounts, tmp_path: Path) -> None:
    study = write_study(tmp_path, at_once=8, trials=TRIALS, epochs=1)
    result = study.run_command("resume", "small", "--workers", "2")
    assert result.code == 0, result.err
    kinds = study.event_kinds()
    refused, bound = kinds.count("refused"), kinds.count("bound")
    assert bound == TRIALS
    assert refused < bound / 10
    record_counts(**study.audit())


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_a_file_that_is_gone_ends_its_workers(
    record_counts: RecordCounts, tmp_path: Path, replaced: bool
) -> None:
    study = write_study(tmp_path, at_once=1, trials=4, epochs=3)
    (tmp_path / "wait").touch()  # no training ends by itself
    worker = study.start("worker", "small", "--lease", "3")
    study.wait_until(worker, lambda: "leased" in study.slot_states())
    trainers = psutil.Process(worker.pid).children()
    path = tmp_path / "study.db"
    copy = path.read_bytes()
    path.unlink()
    if replaced:
        path.write_bytes(copy)
    _, err = worker.communicate(timeout=120)
    assert worker.returncode == 69, err
    assert ("was replaced by another file" if replaced else "was deleted") in err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(trainers, timeout=30)
    assert not alive
    assert path.exists() == replaced, "no empty file was put into its place"
    record_counts(files=1)
