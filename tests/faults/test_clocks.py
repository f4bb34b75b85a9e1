"""Workers whose clocks are an hour ahead or behind: the database's clock rules, and theirs none."""

from __future__ import annotations

import time

import pytest

from . import small
from .command import CommandStudy
from .guards import shifted_clock
from .judge import check, create

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.promise("clock-safe")]

HOUR = 3600.0


@pytest.fixture
def swarms(processes, postgresql_url, tmp_path):
    """Let a crew with each of the clocks work on one study, at the same time."""
    witness = tmp_path / "witness"

    def run(study, budget, shifts, *options):
        arguments = (postgresql_url, study.name, witness, "--budget", budget, *options)
        started = [
            processes.start("swarm", *arguments, environment=shifted_clock(shift))
            for shift in shifts
        ]
        for process in started:
            output, errors = process.communicate(timeout=200)
            assert errors == ""
            assert set(output.strip("[]\n").split(", ")) == {"0"}
        return witness

    return run


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_workers_with_wrong_clocks_are_killed_and_nothing_is_lost(database, swarms, counts):
    study = create(database, 60)
    options = ("--workers", 2, "--kills", 10, "--nap", 0.2)
    found = check(database, study, swarms(study, 60, [HOUR, -HOUR], *options))
    assert found["adopted"] > 0, "no worker was killed while it held a slot"
    # What Optuna shows of a trial's times is by the workers' clocks: so wrong they were.
    trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
    assert {round((one.datetime_start.timestamp() - time.time()) / HOUR) for one in trials} == {
        -1,
        1,
    }
    counts(**found, kills=20)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nobody_takes_a_slot_from_a_live_worker_whose_clock_is_wrong(database, swarms, counts):
    study = create(database, 60)
    options = ("--workers", 2, "--stops", 0, "--lease", 10, "--nap", 0.2)
    found = check(database, study, swarms(study, 60, [HOUR, -HOUR], *options))
    assert found["adopted"] == found["refused"] == 0
    counts(**found)


def test_a_search_finds_the_same(postgresql_url, tmp_path, counts):
    """By a worker, alone on its study, whose clock is right, ahead or behind."""
    studies = {}
    for name, shift in {"right": 0.0, "ahead": HOUR, "behind": -HOUR}.items():
        study = studies[name] = CommandStudy(tmp_path, name, postgresql_url)
        study.submit(small.write(tmp_path, trials=6, name=name))
        study.worker = study.start("worker", name, environment=shifted_clock(shift))
    found = {}
    for name, study in studies.items():
        _, err = study.worker.communicate(timeout=200)
        assert study.worker.returncode == 0, err
        books = study.audit()
        assert (books["complete"], books["adopted"]) == (6, 0)
        counts(**books)
        found[name] = [(one.number, one.widths, one.value) for one in study.records()]
    assert found["ahead"] == found["right"] == found["behind"]
