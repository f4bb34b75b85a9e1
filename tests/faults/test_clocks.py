"""Workers whose clocks are an hour ahead or behind: the database's clock rules, and theirs none."""

from __future__ import annotations

import time

import pytest

from . import small
from .command import CommandStudy
from .guards import shifted_clock_environment
from .judge import assert_settled_once, create_swarm_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.promise("clock-safe")]

HOUR = 3600.0


@pytest.fixture
def run_swarms(processes, postgresql_url, tmp_path):
    """Let a swarm with each of the clocks work on one study, at the same time."""
    acknowledgement_log = tmp_path / "witness"

    def run(study, budget, shifts, *options):
        arguments = (postgresql_url, study.name, acknowledgement_log, "--budget", budget, *options)
        started = [
            processes.start("swarm", *arguments, environment=shifted_clock_environment(shift))
            for shift in shifts
        ]
        for process in started:
            output, errors = process.communicate(timeout=200)
            assert errors == ""
            assert set(output.strip("[]\n").split(", ")) == {"0"}
        return acknowledgement_log

    return run


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_workers_with_wrong_clocks_are_killed_and_nothing_is_lost(
    database, run_swarms, record_counts
):
    study = create_swarm_study(database, 60)
    options = ("--workers", 2, "--kills", 10, "--training-seconds", 0.2)
    figures = assert_settled_once(database, study, run_swarms(study, 60, [HOUR, -HOUR], *options))
    assert figures["adopted"] > 0, "no worker was killed while it held a slot"
    # What Optuna shows of a trial's times is by the workers' clocks: so wrong they were.
    trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
    assert {round((trial.datetime_start.timestamp() - time.time()) / HOUR) for trial in trials} == {
        -1,
        1,
    }
    record_counts(**figures, kills=20)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nobody_takes_a_slot_from_a_live_worker_whose_clock_is_wrong(
    database, run_swarms, record_counts
):
    study = create_swarm_study(database, 60)
    options = ("--workers", 2, "--stops", 0, "--lease", 10, "--training-seconds", 0.2)
    figures = assert_settled_once(database, study, run_swarms(study, 60, [HOUR, -HOUR], *options))
    assert figures["adopted"] == figures["refused"] == 0
    record_counts(**figures)


def test_a_search_finds_the_same(postgresql_url, tmp_path, record_counts):
    """By a worker, alone on its study, whose clock is right, ahead or behind."""
    studies = {}
    for name, shift in {"right": 0.0, "ahead": HOUR, "behind": -HOUR}.items():
        study = studies[name] = CommandStudy(tmp_path, name, postgresql_url)
        study.submit(small.write_small_study(tmp_path, trials=6, name=name))
        study.worker = study.start("worker", name, environment=shifted_clock_environment(shift))
    records_by_clock = {}
    for name, study in studies.items():
        _, err = study.worker.communicate(timeout=200)
        assert study.worker.returncode == 0, err
        books = study.audit()
        assert (books["complete"], books["adopted"]) == (6, 0)
        record_counts(**books)
        records_by_clock[name] = [
            (record.number, record.widths, record.value) for record in study.records()
        ]
    assert records_by_clock["ahead"] == records_by_clock["right"] == records_by_clock["behind"]
