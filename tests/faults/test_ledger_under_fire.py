"""Real workers, really killed or stopped: the budget stays exact, nothing is doubled."""

import os
import signal
import time

import pytest
from widthwise.storage.ledger.ledger import Ledger
from widthwise.tests.one_slot import claim_one, release_one

from .judge import audit, check, create

pytestmark = pytest.mark.slow

BUDGET = 100


@pytest.fixture
def swarm(processes, tmp_path):
    """Let a crew work on a study while harm is done to it; returns the witness of its results."""

    def run(url, study, budget, *options):
        witness = tmp_path / "witness"
        process = processes.start("swarm", url, study.name, witness, "--budget", budget, *options)
        output, errors = process.communicate(timeout=240)
        assert errors == ""
        assert set(output.strip("[]\n").split(", ")) == {"0"}
        return witness

    return run


@pytest.mark.promise("budget exact")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("time", [1, 2, 3])
def test_eight_workers_are_killed_fifty_times(database, database_url, swarm, counts, time):
    study = create(database, BUDGET)
    witness = swarm(database_url, study, BUDGET, "--workers", 8, "--kills", 50, "--nap", 0.4)
    found = check(database, study, witness)
    assert found["adopted"] > 0, "no worker was killed while it held a slot"
    counts(**found, kills=50)


@pytest.mark.promise("budget exact")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_four_workers_on_one_file_are_killed_twenty_times(database, database_url, swarm, counts):
    study = create(database, BUDGET)
    witness = swarm(database_url, study, BUDGET, "--workers", 4, "--kills", 20, "--nap", 0.2)
    found = check(database, study, witness)
    assert found["adopted"] > 0, "no worker was killed while it held a slot"
    counts(**found, kills=20)


@pytest.mark.promise("every gap in the protocol is safe")
@pytest.mark.parametrize("step", ["claim", "ask", "bind", "done", "tell", "reap"])
def test_workers_die_at_a_step(database, database_url, swarm, counts, step):
    study = create(database, 40)
    options = ("--workers", 3, "--kills", 20, "--step", step, "--nap", 0.01)
    witness = swarm(database_url, study, 40, *options)
    found = check(database, study, witness)
    assert found["adopted"] >= (0 if step == "tell" else 10)
    counts(**found, kills=20)


@pytest.mark.promise("every gap in the protocol is safe")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_workers_die_while_they_write_a_checkpoint(database, database_url, swarm, counts, tmp_path):
    study = create(database, 40)
    options = ("--workers", 3, "--kills", 20, "--step", "checkpoint", "--nap", 0.01)
    checkpoints = tmp_path / "checkpoints"
    witness = swarm(database_url, study, 40, *options, "--checkpoints", checkpoints)
    found = check(database, study, witness)
    results = [one.result for one in Ledger(database, study, worker="judge").records()]
    resumed = sum(result["attributes"]["begun"] > 0 for result in results)
    assert resumed >= 3, "trainings began anew"
    counts(**found, kills=20, resumed=resumed)


@pytest.mark.promise("a late result is refused")
def test_workers_that_sleep_past_their_leases(database, database_url, swarm, counts):
    study = create(database, 40)
    witness = swarm(database_url, study, 40, "--workers", 4, "--stops", 20, "--nap", 0.6)
    found = check(database, study, witness)
    assert found["refused"] > 0, "no worker slept while it held a slot"
    counts(**found, stops=20)


@pytest.mark.promise("a late result is refused")
def test_a_holder_that_sleeps_past_its_lease_is_refused(database, database_url, processes, counts):
    study = create(database, 3)
    lease = 0.5
    holder = processes.start("holder", database_url, study.name, lease)
    assert holder.stdout.readline() == "holding\n"
    os.kill(holder.pid, signal.SIGSTOP)
    heir = Ledger(database, study, worker="heir", lease_seconds=lease)
    deadline = time.monotonic() + 20
    slot = None
    while slot is None or slot.number != 0:
        assert time.monotonic() < deadline
        time.sleep(heir.oldest_lease())
        slot = claim_one(heir)
        if slot is not None and slot.number != 0:
            release_one(heir, slot)
    assert slot.widths == {"a": 8, "b": 8}
    heir.done(slot, outcome="complete", value=2.0, result={})
    os.kill(holder.pid, signal.SIGCONT)
    output, errors = holder.communicate("go\n", timeout=60)
    assert (holder.returncode, errors) == (75, "")
    assert "Worker 'holder' no longer holds slot 0" in output
    assert heir.record(0).value == 2.0
    counts(refused=audit(database, study)["refused"], stops=1)
