"""A confirmation goes on after any death and outage: nothing is trained twice, none is missing."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.study.study import load_study

from . import small
from .command import CommandStudy
from .judge import audit
from .outages import stopped_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.promise("a confirmation goes on"),
]

LEASE = "3"
SEEDS = "2"
OUTAGE_SECONDS = 4.0


class ConfirmedStudy(CommandStudy):
    """A finished search of four trials; a training of its confirmation takes some two seconds."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        super().__init__(folder, "small", url)
        self.submit(small.write_small_study(folder, trials=4, epochs=2))
        searched = self.run_in_process("resume", "small", "--no-confirm")
        assert searched.code == 0, searched.err
        (folder / "slow").touch()

    def start_confirmation(self) -> subprocess.Popen[str]:
        """Start it, and wait until something of it is done and more is in training."""
        run = self.start("confirm", "small", "--workers", "2", "--lease", LEASE, "--seeds", SEEDS)
        self.wait_until(
            run,
            lambda: self.slot_states().count("done") > 4 and "leased" in self.slot_states(),
        )
        return run

    def results(self) -> dict[int, Any]:
        """What the confirmation has recorded, by slot number."""
        with self.database() as database:
            reader = LedgerReader(database, load_study(database, "small/confirmation"))
            return {record.number: record for record in reader.records() if record.outcome}

    def finish(self) -> str:
        """Let the trainings be quick, and go on; returns what it wrote to stderr."""
        (self.folder / "slow").unlink(missing_ok=True)
        finished = self.run_command("confirm", "small", "--lease", LEASE)
        assert finished.code == 0, finished.err
        return finished.err

    def audit_confirmation(self) -> dict[str, int]:
        """Check that every contender has its seeds, each once; returns the figures."""
        with self.database() as database:
            figures = audit(database, load_study(database, "small/confirmation"))
        records = self.results().values()
        seeds_by_widths = Counter(tuple(record.widths.items()) for record in records)
        assert set(seeds_by_widths.values()) == {int(SEEDS)}
        assert len({record.seed for record in records}) == int(SEEDS)
        expected = {"complete": len(records), "running": 0, "duplicates": 0, "lost": 0}
        assert {name: figures[name] for name in expected} == expected
        assert figures["budget"] == len(records)
        return figures


@pytest.mark.parametrize("victim", ["worker", "trainer", "everything"])
def test_a_killed_process_costs_a_confirmation_nothing_but_time(
    tmp_path: Path, record_counts: Callable[..., None], victim: str
) -> None:
    study = ConfirmedStudy(tmp_path)
    run = study.start_confirmation()
    before = study.results()
    command = psutil.Process(run.pid)
    worker = command.children()[0]
    if victim == "everything":
        for process in [command, *command.children(recursive=True)]:
            process.kill()
        run.communicate()
        study.finish()
    else:
        (worker if victim == "worker" else worker.children()[0]).kill()
        (study.folder / "slow").unlink()
        _, err = run.communicate(timeout=240)
        assert run.returncode == 0, err
    after = study.results()
    for number, record in before.items():
        assert after[number] == record
    record_counts(**study.audit_confirmation(), kills=1)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_a_confirmation_that_is_asked_to_stop_goes_on_later(
    tmp_path: Path, record_counts: Callable[..., None], signum: signal.Signals
) -> None:
    study = ConfirmedStudy(tmp_path)
    run = study.start_confirmation()
    run.send_signal(signum)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 75, err
    assert "Traceback" not in err
    assert "widthwise confirm small" in err
    assert "leased" not in study.slot_states()
    before = study.results()
    study.finish()
    after = study.results()
    assert all(after[number] == record for number, record in before.items())
    record_counts(**study.audit_confirmation(), kills=0)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_is_away_meanwhile_is_waited_for(
    tmp_path: Path,
    postgresql_server: Any,
    postgresql_url: str,
    record_counts: Callable[..., None],
    mode: str,
) -> None:
    study = ConfirmedStudy(tmp_path, postgresql_url)
    run = study.start_confirmation()
    with stopped_server(postgresql_server, mode):
        time.sleep(OUTAGE_SECONDS)
    (study.folder / "slow").unlink()
    _, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    record_counts(**study.audit_confirmation(), troubles=1)


def test_a_run_that_is_killed_while_it_confirms_goes_on_by_itself(
    tmp_path: Path, record_counts: Callable[..., None]
) -> None:
    """`resume`, as a scheduler would start it again, finds the search done and goes on with it."""
    study = ConfirmedStudy(tmp_path)
    asked = study.run_in_process("confirm", "small", "--seeds", "nine")
    assert asked.code == 2
    run = study.start("resume", "small", "--workers", "2", "--lease", LEASE, "--confirm")
    study.wait_until(run, lambda: study.slot_states().count("done") > 5)
    family = psutil.Process(run.pid)
    for process in [family, *family.children(recursive=True)]:
        process.kill()
    run.communicate()
    before = study.results()
    (study.folder / "slow").unlink()
    again = study.run_command("resume", "small", "--workers", "2", "--lease", LEASE, "--confirm")
    assert again.code == 0, again.err
    after = study.results()
    assert all(after[number] == record for number, record in before.items())
    with study.database() as database:
        figures = audit(database, load_study(database, "small/confirmation"))
    assert (figures["complete"], figures["duplicates"], figures["lost"]) == (
        figures["budget"],
        0,
        0,
    )
    record_counts(**figures, kills=1)
