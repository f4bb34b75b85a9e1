"""A database of every earlier schema version becomes today's, with all that it holds."""

import sqlite3
from pathlib import Path

import psycopg
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from sqlalchemy import inspect, update
from widthwise.storage import events, migrations
from widthwise.storage.database import Database, resolve_url
from widthwise.storage.errors import SchemaMismatch, StorageUnreachable
from widthwise.storage.ledger import Counts, Ledger
from widthwise.storage.projection import Projection
from widthwise.storage.study import load_study
from widthwise.storage.tables import SCHEMA_VERSION, metadata, schema

HERE = Path(__file__).parent
DISTRIBUTIONS = {"hidden": IntDistribution(8, 64, step=8)}


@pytest.fixture
def old_url(database_url):
    """A database as release 0.1.0 left it: six slots, in each condition that a slot can be in."""
    if database_url.startswith("sqlite"):
        script = (HERE / "schema_1_sqlite.sql").read_text()
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        connection.executescript(script)
        connection.close()
    else:
        script = (HERE / "schema_1_postgresql.sql").read_text()
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(script)
    return resolve_url(database_url, {})


@pytest.fixture
def upgraded(old_url):
    assert migrations.upgrade(old_url) == (1, SCHEMA_VERSION)
    with Database.open(old_url, retry_seconds=20) as database:
        yield database


def join(database, **options):
    return Ledger(database, load_study(database, "digits"), worker="heir", **options)


def test_old_tables_are_refused_with_the_way_out(old_url):
    with pytest.raises(SchemaMismatch, match=r"version 1, .* run `widthwise db upgrade`") as caught:
        Database.open(old_url)
    assert caught.value.exit_code == 5


def test_the_trials_are_kept(upgraded):
    ledger = join(upgraded)
    assert ledger.counts() == Counts(complete=2, running=0, failed=1, pruned=1, waiting=2)
    records = ledger.records()
    assert [record.value for record in records] == [0.5, 0.75, None, None, None, None]
    assert [(record.widths or {}).get("hidden") for record in records] == [
        8,
        16,
        24,
        None,
        32,
        None,
    ]
    assert records[0].result["curve"] == [0.25, 0.5]
    assert records[3].result == {"error": "boom"}
    assert len(events.read(upgraded, load_study(upgraded, "digits"))) == 17


def test_what_proposals_need_is_taken_out_of_the_results(upgraded):
    tried = {one.number: one for one in join(upgraded).tried()}
    assert sorted(tried) == [0, 1, 2, 4]
    assert [tried[number].score for number in (0, 1, 2)] == [0.5, 0.75, None]
    assert tried[0].measured == {"latency": 0.001}
    assert tried[1].measured == {}
    assert tried[2].measured == {"latency": 0.25}


def test_the_study_goes_on(upgraded):
    ledger = join(upgraded, lease_seconds=0.05)
    projection = Projection(upgraded, load_study(upgraded, "digits"))
    assert projection.repair() == 1  # slot 1 was done, and Optuna not told
    begun, fresh = ledger.claim_many(3)
    assert (begun.number, begun.widths, begun.attempt) == (4, {"hidden": 32}, 2)
    fresh = ledger.bind(fresh, {"hidden": 40}, "sampler")
    assert fresh.number == 5
    projection.open(fresh, distributions=DISTRIBUTIONS, constraints={}, attributes={})
    for slot in (begun, fresh):
        ledger.done(slot, outcome="complete", value=0.9, result={})
    projection.close_many([4, 5])
    trials = upgraded.optuna_storage().get_all_trials(
        load_study(upgraded, "digits").optuna_study_id
    )
    assert [trial.params["hidden"] for trial in trials] == [8, 16, 24, 32, 40]
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
    ]


def shape(database):
    """Everything that the engine tells of our tables, a line each."""

    def read(connection):
        inspector = inspect(connection)
        kinds = ("columns", "indexes", "unique_constraints", "check_constraints", "foreign_keys")
        return sorted(
            f"{name}: {kind}: {thing}"
            for name in metadata.tables
            for kind in kinds
            for thing in getattr(inspector, f"get_{kind}")(name)
        )

    return database.read(read)


def test_upgraded_tables_are_those_of_a_new_database(upgraded, tmp_path, request):
    if upgraded.url.get_backend_name() == "sqlite":
        url = f"sqlite:///{tmp_path / 'new.db'}"
        with Database.open(resolve_url(url, {})) as fresh:
            expected = shape(fresh)
    else:
        with (
            request.getfixturevalue("postgresql_server").new_database() as url,
            Database.open(resolve_url(url, {})) as fresh,
        ):
            expected = shape(fresh)
    assert shape(upgraded) == expected


def test_upgrading_again_changes_nothing(upgraded):
    before = join(upgraded).records()
    assert migrations.upgrade(upgraded.url) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert join(upgraded).records() == before


def test_an_upgrade_that_dies_half_way_leaves_the_old_tables(old_url, monkeypatch):
    def dies(operations):
        migrations.v2.upgrade(operations)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", {2: dies})
        with pytest.raises(KeyboardInterrupt):
            migrations.upgrade(old_url)
    with pytest.raises(SchemaMismatch, match="version 1"):
        Database.open(old_url)
    assert migrations.upgrade(old_url) == (1, SCHEMA_VERSION)


def test_every_version_has_its_step():
    assert list(migrations.STEPS) == list(range(2, SCHEMA_VERSION + 1))


def test_tables_of_a_later_release_are_left_alone(database):
    change = update(schema).values(version=SCHEMA_VERSION + 1)
    database.write(lambda connection: connection.execute(change))
    with pytest.raises(SchemaMismatch, match="use the release that made them, or another"):
        migrations.upgrade(database.url)


def test_a_database_without_a_study_is_said(database_url):
    with pytest.raises(StorageUnreachable, match=r"no such file|holds no study of Widthwise"):
        migrations.upgrade(resolve_url(database_url, {}))
