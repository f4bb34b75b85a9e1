"""A run that is interrupted or killed loses nothing: `resume` ends at exactly the asked total."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from .command import CommandStudy

SPEC = """\
study = { name = "slow", trials = 8 }
model = { family = "mlp" }
widths = { a = { low = 2, high = 64 }, b = { low = 2, high = 64 } }
limits = { parameters = "5k" }
proxy = { data = "digits", epochs = 60, patience = 0, batch_size = 16 }
"""


class RunStudy(CommandStudy):
    """The study `slow`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "slow")
        (folder / "slow.toml").write_text(SPEC)

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
    code, out, _ = study.run_command("status", "slow", "--json")
    assert code == 0
    assert json.loads(out)["trials"] == {
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
    run = study.start("run", "slow.toml", "--workers", "2", "--lease", "3")
    study.wait_for(2, run)
    family = psutil.Process(run.pid)
    for process in [family, *family.children(recursive=True)]:
        process.kill()
    run.communicate()
    before = study.trials()
    assert 2 <= len(before) < 8
    code, _, err = study.run_command(
        "resume", "slow", "--trials", "+4", "--workers", "2", "--lease", "3"
    )
    assert code == 0, err
    assert_resumed(study, 12, before)
    record_counts(**study.audit())


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.promise("resume from any state")
def test_ctrl_c_gives_the_slots_back_then_resume(
    study: RunStudy, record_counts: Callable[..., None]
) -> None:
    run = study.start("run", "slow.toml", "--workers", "2")
    study.wait_for(1, run)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 75, err
    assert "Traceback" not in err
    assert "resume slow" in err
    # Nobody holds anything any more, so that `resume` need not wait for a lease.
    assert "leased" not in study.slot_states()
    before = study.trials()
    code, _, err = study.run_command("resume", "slow", "--trials", "9", "--workers", "2")
    assert code == 0, err
    assert_resumed(study, 9, before)
    record_counts(**study.audit())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_one_dead_worker_of_two_does_not_stop_a_run(study: RunStudy) -> None:
    run = study.start("run", "slow.toml", "--workers", "2", "--lease", "3")
    study.wait_for(1, run)
    psutil.Process(run.pid).children()[0].kill()
    _, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    assert_resumed(study, 8, [])


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_workers_end_with_the_run_they_belong_to(study: RunStudy) -> None:
    run = study.start("run", "slow.toml", "--workers", "2")
    study.wait_for(1, run)
    workers = psutil.Process(run.pid).children()
    assert len(workers) == 2
    run.kill()
    run.communicate()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert "leased" not in study.slot_states()
