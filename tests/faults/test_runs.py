"""A run that is interrupted or killed loses nothing: `resume` ends at exactly the asked total."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from . import small
from .command import CommandStudy


class RunStudy(CommandStudy):
    """A study of eight trials, in the database and not begun; a trial takes more than a second."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "small")
        self.submit(small.write_small_study(folder, trials=8, epochs=4))
        (folder / "slow").touch()

    def trials(self) -> list[dict[str, Any]]:
        return list(self.report()["history"])

    def wait_for(self, done: int, running: subprocess.Popen[str]) -> None:
        """Wait until so many trials are done and more are running."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert running.poll() is None, running.communicate()
            states = self.slot_states()
            if states.count("done") >= done and "leased" in states:
                return
            time.sleep(0.05)
        raise AssertionError(f"never came so far: {self.slot_states()}")

    def finish(self, budget: str) -> None:
        """Resume it with another budget, and let it end soon."""
        (self.folder / "slow").unlink()
        arguments = ("--trials", budget, "--workers", "2", "--lease", "3")
        resumed = self.run_in_process("resume", "small", *arguments)
        assert resumed.code == 0, resumed.err


@pytest.fixture
def study(tmp_path: Path) -> RunStudy:
    return RunStudy(tmp_path)


def assert_resumed(study: RunStudy, total: int, before: list[dict[str, Any]]) -> None:
    """Exactly `total` trials, no widths twice, what was done before is as it was."""
    after = study.trials()
    assert len(after) == total
    assert len({tuple(trial["widths"].items()) for trial in after}) == total
    assert [trial["trial"] for trial in after] == list(range(total))
    by_number = {trial["trial"]: trial for trial in after}
    for trial in before:
        assert by_number[trial["trial"]]["metric"] == trial["metric"]
    assert study.run_in_process("status", "small", "--json").json["trials"] == {
        "complete": total,
        "running": 0,
        "failed": 0,
        "pruned": 0,
        "waiting": 0,
    }
    # Optuna's side agrees: no trial is left open, none is there twice.
    states = study.query_rows("select state, count(*) from trials group by state")
    assert states == [("COMPLETE", total)]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.promise("resume from any state")
def test_kill_9_of_everything_then_resume(
    study: RunStudy, record_counts: Callable[..., None]
) -> None:
    run = study.start("run", "small.toml", "--workers", "2", "--lease", "3")
    study.wait_for(2, run)
    family = psutil.Process(run.pid)
    for process in [family, *family.children(recursive=True)]:
        process.kill()
    run.communicate()
    before = study.trials()
    assert 2 <= len(before) < 8
    study.finish("+4")
    assert_resumed(study, 12, before)
    record_counts(**study.audit())


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.promise("resume from any state")
def test_ctrl_c_gives_the_slots_back_then_resume(
    study: RunStudy, record_counts: Callable[..., None]
) -> None:
    run = study.start("resume", "small", "--workers", "2")
    study.wait_for(1, run)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 75, err
    assert "Traceback" not in err
    assert "resume small" in err
    # Nobody holds anything any more, so that `resume` need not wait for a lease.
    assert "leased" not in study.slot_states()
    before = study.trials()
    study.finish("9")
    assert_resumed(study, 9, before)
    record_counts(**study.audit())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_one_dead_worker_of_two_does_not_stop_a_run(study: RunStudy) -> None:
    run = study.start("resume", "small", "--workers", "2", "--lease", "2")
    study.wait_for(1, run)
    psutil.Process(run.pid).children()[0].kill()
    (study.folder / "slow").unlink()
    _, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    assert_resumed(study, 8, [])


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_workers_end_with_the_run_they_belong_to(study: RunStudy) -> None:
    run = study.start("resume", "small", "--workers", "2")
    study.wait_for(1, run)
    workers = psutil.Process(run.pid).children()
    assert len(workers) == 2
    run.kill()
    run.communicate()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert "leased" not in study.slot_states()
