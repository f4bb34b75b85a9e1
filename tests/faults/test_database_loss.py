"""The database restarts and goes away while workers are at work: nobody ends, nothing is lost."""

from __future__ import annotations

import time

import pytest
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.queries import LedgerReader

from . import small
from .command import CommandStudy
from .judge import assert_settled_once, create_swarm_study
from .outages import stopped_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500), pytest.mark.promise("database loss")]

BUDGET, WORKERS = 150, 4
RESTARTS = ["fast", "immediate", "fast", "immediate", "fast"]
OUTAGES = [("fast", 4), ("immediate", 4), ("fast", 4), ("immediate", 4), ("fast", 4), ("fast", 60)]

SPEC = """\
study = { name = "patient", trials = 6 }
model = { build = "patient.py:build" }
widths = { a = { low = 2, high = 32 } }
proxy = { data = "small_data.py:load", epochs = 40, patience = 0, batch_size = 32, \
engine = "plain" }
"""
MODEL = """\
import pathlib, time
from torch import nn

class Patient(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        # An epoch's last batch is short; it takes its time while the database is in trouble.
        if self.training and len(x) == 16 and not pathlib.Path("calm").exists():
            time.sleep(0.8)
        return self.layers(x)

def build(widths):
    return Patient(widths["a"])
"""


def test_workers_outlast_restarts_and_outages(
    postgresql_server, postgresql_url, processes, record_counts, tmp_path
):
    """A swarm of sleeping workers and a real run, each in a database of its own."""
    acknowledgement_log = tmp_path / "witness"
    with (
        postgresql_server.new_database() as other_url,
        Database.open(resolve_url(postgresql_url)) as database,
    ):
        study = create_swarm_study(database, BUDGET)
        reader = LedgerReader(database, study)
        options = (
            "--budget",
            BUDGET,
            "--workers",
            WORKERS,
            "--lease",
            2,
            "--training-seconds",
            0.3,
        )
        swarm_process = processes.start(
            "swarm", postgresql_url, study.name, acknowledgement_log, *options
        )
        real = CommandStudy(tmp_path, "patient", other_url)
        (tmp_path / "patient.toml").write_text(SPEC)
        (tmp_path / "patient.py").write_text(MODEL)
        (tmp_path / "small_data.py").write_text(small.DATA)
        run = real.start("run", "patient.toml", "--workers", "2", "--lease", "6")
        real.wait_until(run, lambda: "leased" in real.slot_states())
        done = 0

        def harmed():
            """Let the swarm go a part of its way, so that all of the harm hits it at work."""
            nonlocal done
            done += 1
            swarm_process.stdin.write(f"{100 * done // len(RESTARTS + OUTAGES)}\n")
            swarm_process.stdin.flush()
            before, deadline = reader.counts().complete, time.monotonic() + 60
            while reader.counts().complete < min(before + 2, BUDGET):
                assert swarm_process.poll() is None
                assert time.monotonic() < deadline, "the swarm does not go on"
                time.sleep(0.05)

        for mode in RESTARTS:
            postgresql_server.restart(mode)
            harmed()
        for mode, seconds in OUTAGES:
            assert run.poll() is None
            with stopped_server(postgresql_server, mode):
                time.sleep(seconds)
            harmed()
        (tmp_path / "calm").touch()
        output, errors = swarm_process.communicate(timeout=100)
        assert output == f"{[0] * WORKERS}\n"
        # Workers that start while the server is away say so, and nothing else is said.
        assert all(line.endswith("trying again") for line in errors.splitlines()), errors
        figures = assert_settled_once(database, study, acknowledgement_log)
        _, errors = run.communicate(timeout=100)
        assert run.returncode == 0, errors
        assert "ended early" not in errors
        actual = real.audit()
        assert (actual["complete"], actual["running"], actual["duplicates"], actual["lost"]) == (
            6,
            0,
            0,
            0,
        )
        assert "failed" not in real.event_kinds()
    record_counts(**figures)
    record_counts(**actual, restarts=len(RESTARTS), outages=len(OUTAGES))
