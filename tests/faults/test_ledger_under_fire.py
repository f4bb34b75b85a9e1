"""Real workers, really killed or stopped: the budget stays exact, nothing is doubled."""

import os
import signal
import time

import pytest
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.tests.one_slot import claim_one, release_one, settle_one

from .judge import assert_settled_once, audit, create_swarm_study

pytestmark = pytest.mark.slow

BUDGET = 100


@pytest.fixture
def run_swarm(processes, tmp_path):
    """Let a swarm work on a study while harm is done to it; returns its acknowledgement log."""

    def start_swarm(url, study, budget, *options):
        acknowledgement_log = tmp_path / "witness"
        process = processes.start(
            "swarm", url, study.name, acknowledgement_log, "--budget", budget, *options
        )
        output, errors = process.communicate(timeout=240)
        assert errors == ""
        assert set(output.strip("[]\n").split(", ")) == {"0"}
        return acknowledgement_log

    return start_swarm


@pytest.mark.promise("budget exact")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("time", [1, 2, 3])
def test_eight_workers_are_killed_fifty_times(
    database, database_url, run_swarm, record_counts, time
):
    study = create_swarm_study(database, BUDGET)
    acknowledgement_log = run_swarm(
        database_url, study, BUDGET, "--workers", 8, "--kills", 50, "--training-seconds", 0.4
    )
    figures = assert_settled_once(database, study, acknowledgement_log)
    assert figures["adopted"] > 0, "no worker was killed while it held a slot"
    record_counts(**figures, kills=50)


@pytest.mark.promise("budget exact")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_four_workers_on_one_file_are_killed_twenty_times(
    database, database_url, run_swarm, record_counts
):
    study = create_swarm_study(database, BUDGET)
    acknowledgement_log = run_swarm(
        database_url, study, BUDGET, "--workers", 4, "--kills", 20, "--training-seconds", 0.2
    )
    figures = assert_settled_once(database, study, acknowledgement_log)
    assert figures["adopted"] > 0, "no worker was killed while it held a slot"
    record_counts(**figures, kills=20)


@pytest.mark.promise("every gap in the protocol is safe")
@pytest.mark.parametrize("step", ["claim", "ask", "bind", "done", "tell", "reap"])
def test_workers_die_at_a_step(database, database_url, run_swarm, record_counts, step):
    study = create_swarm_study(database, 40)
    options = ("--workers", 3, "--kills", 20, "--step", step, "--training-seconds", 0.01)
    acknowledgement_log = run_swarm(database_url, study, 40, *options)
    figures = assert_settled_once(database, study, acknowledgement_log)
    assert figures["adopted"] >= (0 if step == "tell" else 10)
    record_counts(**figures, kills=20)


@pytest.mark.promise("every gap in the protocol is safe")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_workers_die_while_they_write_a_checkpoint(
    database, database_url, run_swarm, record_counts, tmp_path
):
    study = create_swarm_study(database, 40)
    options = ("--workers", 3, "--kills", 20, "--step", "checkpoint", "--training-seconds", 0.01)
    checkpoints = tmp_path / "checkpoints"
    acknowledgement_log = run_swarm(database_url, study, 40, *options, "--checkpoints", checkpoints)
    figures = assert_settled_once(database, study, acknowledgement_log)
    results = [record.result for record in LedgerReader(database, study).records()]
    resumed = sum(result["attributes"]["begun"] > 0 for result in results)
    assert resumed >= 3, "trainings began anew"
    record_counts(**figures, kills=20, resumed=resumed)


@pytest.mark.promise("a late result is refused")
def test_workers_that_sleep_past_their_leases(database, database_url, run_swarm, record_counts):
    study = create_swarm_study(database, 40)
    acknowledgement_log = run_swarm(
        database_url, study, 40, "--workers", 4, "--stops", 20, "--training-seconds", 0.6
    )
    figures = assert_settled_once(database, study, acknowledgement_log)
    assert figures["refused"] > 0, "no worker slept while it held a slot"
    record_counts(**figures, stops=20)


@pytest.mark.promise("a late result is refused")
def test_a_holder_that_sleeps_past_its_lease_is_refused(
    database, database_url, processes, record_counts
):
    study = create_swarm_study(database, 3)
    lease = 0.5
    holder = processes.start("holder", database_url, study.name, lease)
    assert holder.stdout.readline() == "holding\n"
    os.kill(holder.pid, signal.SIGSTOP)
    new_holder = Ledger(database, study, worker="heir", lease_seconds=lease)
    deadline = time.monotonic() + 20
    slot = None
    while slot is None or slot.number != 0:
        assert time.monotonic() < deadline
        time.sleep(new_holder.reader.seconds_until_claimable())
        slot = claim_one(new_holder)
        if slot is not None and slot.number != 0:
            release_one(new_holder, slot)
    assert slot.widths == {"a": 8, "b": 8}
    settle_one(new_holder, slot, outcome="complete", value=2.0, result={})
    os.kill(holder.pid, signal.SIGCONT)
    output, errors = holder.communicate("go\n", timeout=60)
    assert (holder.returncode, errors) == (75, "")
    assert "its worker no longer holds slot 0" in output
    assert new_holder.reader.record(0).value == 2.0
    record_counts(refused=audit(database, study)["refused"], stops=1)
