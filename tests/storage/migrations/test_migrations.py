"""A database of every earlier schema version becomes today's, with all that it holds."""

import sqlite3
from pathlib import Path

import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from sqlalchemy import TextClause, inspect, text, update
from widthwise.storage import migrations
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.tables import SCHEMA_VERSION, metadata, schema
from widthwise.storage.errors import SchemaMismatch, StorageUnreachable
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import Ledger, PlannedTrial, Slot, SlotCounts
from widthwise.storage.projection.projection import Projection
from widthwise.storage.study import control
from widthwise.storage.study.open_studies import open_studies
from widthwise.storage.study.study import create_study, load_study
from widthwise.tests.one_slot import beat_one, bind_one, open_one, settle_one

HERE = Path(__file__).parent
DISTRIBUTIONS = {"hidden": IntDistribution(8, 64, step=8)}


@pytest.fixture(params=[1, 2, 3, 4], ids=["version 1", "version 2", "version 3", "version 4"])
def version(request):
    return request.param


@pytest.fixture
def old_url(database_url, version):
    """A database of an earlier version: six slots, in each condition that a slot can be in.

    Versions from 3 on are made by their own steps, which never change.
    """
    script_version = min(version, 2)
    if database_url.startswith("sqlite"):
        script = (HERE / f"schema_{script_version}_sqlite.sql").read_text()
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        connection.executescript(script)
        connection.close()
    else:
        script = (HERE / f"schema_{script_version}_postgresql.sql").read_text()
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(script)
    url = resolve_url(database_url, {})
    if version > script_version:
        with Database.open_unchecked(url, retry_seconds=20) as database:
            steps = range(script_version + 1, version + 1)
            database.write(lambda connection: take_steps(connection, steps))
    return url


def take_steps(connection, steps):
    for version in steps:
        migrations.STEPS[version](Operations(MigrationContext.configure(connection)))
    connection.execute(update(schema).values(version=version))


@pytest.fixture
def upgraded(old_url, version):
    assert migrations.upgrade(old_url) == (version, SCHEMA_VERSION)
    with Database.open(old_url, retry_seconds=20) as database:
        yield database


def holder_of_slot_4(url):
    """Return the token of the one slot that is leased, though its lease has ended."""
    with Database.open_unchecked(url, retry_seconds=20) as database:
        query = text("SELECT token FROM widthwise_slot WHERE state = 'leased' AND number = 4")
        return database.read(lambda connection: connection.execute(query).scalar_one())


def join(database, **options):
    return Ledger(database, load_study(database, "digits"), worker="heir", **options)


def test_old_tables_are_refused_with_the_way_out(old_url, version):
    remedy = rf"version {version}, .* run `widthwise db upgrade`"
    with pytest.raises(SchemaMismatch, match=remedy) as caught:
        Database.open(old_url)
    assert caught.value.exit_code == 5


def test_the_trials_are_kept(upgraded):
    ledger = join(upgraded)
    assert ledger.reader.counts() == SlotCounts(
        complete=2, running=0, failed=1, pruned=1, waiting=2
    )
    records = ledger.reader.records()
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
    tried = {tried_slot.number: tried_slot for tried_slot in join(upgraded).reader.tried()}
    assert sorted(tried) == [0, 1, 2, 4]
    assert [tried[number].score for number in (0, 1, 2)] == [0.5, 0.75, None]
    assert tried[0].measured == {"latency": 0.001}
    assert tried[1].measured == {}
    assert tried[2].measured == {"latency": 0.25}


def test_the_study_goes_on(upgraded):
    ledger = join(upgraded, lease_seconds=0.05)
    projection = Projection(upgraded, load_study(upgraded, "digits"))
    # Slot 1 was done, and not projected; the lease of slot 4 has ended, so that its trial waits.
    assert projection.repair() == 2
    begun, fresh = ledger.claim_many(3)
    assert (begun.number, begun.widths, begun.attempt) == (4, {"hidden": 32}, 2)
    fresh = bind_one(ledger, fresh, {"hidden": 40}, "sampler")
    assert fresh.number == 5
    open_one(projection, fresh, distributions=DISTRIBUTIONS, constraints={}, attributes={})
    for slot in (begun, fresh):
        settle_one(ledger, slot, outcome="complete", value=0.9, result={})
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


def plain_value(element):
    """Return what the inspector reports, expressions as their text."""
    if isinstance(element, dict):
        return {name: plain_value(value) for name, value in element.items()}
    return str(element) if isinstance(element, TextClause) else element


def schema_shape(database):
    """Return everything that the inspector reports of our tables, as lines."""

    def read(connection):
        inspector = inspect(connection)
        kinds = ["columns", "indexes", "unique_constraints", "check_constraints"]
        kinds += [] if connection.dialect.name == "sqlite" else ["foreign_keys"]
        lines = [
            f"{name}: {kind}: {plain_value(element)}"
            for name in metadata.tables
            for kind in kinds
            for element in getattr(inspector, f"get_{kind}")(name)
        ]
        if connection.dialect.name == "sqlite":
            # The inspector overlooks what follows a reference that stands beside its column.
            for name in metadata.tables:
                rows = connection.execute(text(f"PRAGMA foreign_key_list({name})")).mappings()
                lines += [
                    f"{name}: refers: {row['from']} {row['table']} {row['to']} {row['on_delete']}"
                    for row in rows
                ]
        return sorted(lines)

    return database.read(read)


def test_upgraded_tables_are_those_of_a_new_database(upgraded, tmp_path, request):
    if upgraded.url.get_backend_name() == "sqlite":
        url = f"sqlite:///{tmp_path / 'new.db'}"
        with Database.open(resolve_url(url, {})) as fresh:
            expected = schema_shape(fresh)
    else:
        with (
            request.getfixturevalue("postgresql_server").new_database() as url,
            Database.open(resolve_url(url, {})) as fresh,
        ):
            expected = schema_shape(fresh)
    assert schema_shape(upgraded) == expected


def test_a_study_from_before_is_open_and_can_be_paused_and_cancelled(upgraded):
    study = load_study(upgraded, "digits")
    assert (study.status, study.priority) == ("open", 0)
    [open_study] = open_studies(upgraded, lease_seconds=0.05)
    assert (open_study.claimable, open_study.running) == (2, 0)
    control.pause_trial(upgraded, study, 5, worker="ann")
    control.cancel_trial(upgraded, study, 4, worker="ann")
    assert join(upgraded).reader.counts() == SlotCounts(
        complete=2, running=0, failed=1, pruned=2, waiting=1, paused=1
    )
    control.set_status(upgraded, study, "paused", worker="ann")
    assert open_studies(upgraded) == []


def test_what_was_leased_before_the_upgrade_can_be_settled_after_it(old_url):
    token = holder_of_slot_4(old_url)
    migrations.upgrade(old_url)
    with Database.open(old_url, retry_seconds=20) as database:
        ledger = join(database)
        slot = Slot(
            number=4, token=token, attempt=1, widths={"hidden": 32}, origin="sampler", trial_id=4
        )
        beat_one(ledger, slot)
        assert ledger.reader.counts().running == 1
        settle_one(ledger, slot, outcome="complete", value=0.875, result={})
        assert ledger.reader.counts().complete == 3


@pytest.mark.parametrize("version", [2], ids=["version 2"])
def test_a_worker_of_the_release_before_ends_its_trial_by_its_own_statements(old_url):
    """The statements of that release, word for word but for the dialect's marks."""
    token = holder_of_slot_4(old_url)
    migrations.upgrade(old_url)
    held = {"token": token, "once": f"done:{token}"}
    with Database.open(old_url, retry_seconds=20) as database:

        def beats_and_ends(connection):
            beaten = connection.execute(text(BEAT), held).scalars().all()
            row_seen = connection.execute(text(LOOK), held).one()
            connection.execute(text(DONE), held)
            connection.execute(text(EVENT), held)
            late = connection.execute(text(LATE)).scalars().all()
            connection.execute(text(PROJECTED))
            return beaten, row_seen.state, late

        assert database.write(beats_and_ends) == ([4], "leased", [1, 4])
        assert join(database).reader.counts() == SlotCounts(
            complete=3, running=0, failed=1, pruned=1, waiting=1
        )
        assert events.read(database, load_study(database, "digits"), last=1)[0].kind == "done"


BEAT = """
UPDATE widthwise_slot SET lease_until = 9e9 WHERE widthwise_slot.study_id = 1
AND widthwise_slot.number IN (4) AND widthwise_slot.token IN (:token)
AND widthwise_slot.state = 'leased' RETURNING widthwise_slot.number
"""
LOOK = """
SELECT widthwise_slot.study_id, widthwise_slot.number, widthwise_slot.state,
widthwise_slot.widths_key, widthwise_slot.stage FROM widthwise_slot
WHERE widthwise_slot.study_id = 1 AND widthwise_slot.token = :token ORDER BY widthwise_slot.number
"""
DONE = """
UPDATE widthwise_slot SET state = 'done', outcome = 'complete', result = '{}', value = 0.875,
score = NULL, fidelity = NULL, spread = NULL, measured = NULL, rungs = NULL, finished_at = 8e9
WHERE widthwise_slot.study_id = 1 AND widthwise_slot.number = 4
"""
EVENT = """
INSERT INTO widthwise_event (study_id, at, kind, number, token, worker, detail, once)
VALUES (1, 8e9, 'done', 4, :token, 'first', '{"outcome": "complete"}', :once)
ON CONFLICT (once) DO NOTHING
"""
LATE = """
SELECT widthwise_slot.number FROM widthwise_slot
WHERE widthwise_slot.study_id = 1 AND widthwise_slot.stage = 'late' ORDER BY widthwise_slot.number
"""
PROJECTED = """
UPDATE widthwise_slot SET projected = true WHERE widthwise_slot.study_id = 1
AND widthwise_slot.number IN (1, 4)
"""


def test_a_study_from_before_can_be_followed_up(upgraded):
    study = load_study(upgraded, "digits")
    assert (study.parent_id, study.kind) == (None, None)
    follow_up, created = create_study(
        upgraded,
        name="digits/confirmation",
        spec="{}",
        fingerprint="f",
        direction="maximize",
        metric="accuracy",
        base="",
        budget=0,
        parent=study,
        kind="confirmation",
    )
    assert created
    ledger = Ledger(upgraded, follow_up, worker="heir")
    planned = PlannedTrial(widths={"hidden": 8}, seed=2**63 - 1, origin="recommended")
    assert ledger.add_planned([planned]) == 1
    [slot] = ledger.claim_many(2)
    assert (slot.widths, slot.seed, slot.is_planned) == ({"hidden": 8}, 2**63 - 1, True)
    assert [record.seed for record in join(upgraded).reader.records()] == [None] * 6


def test_upgrading_again_changes_nothing(upgraded):
    before = join(upgraded).reader.records()
    assert migrations.upgrade(upgraded.url) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert join(upgraded).reader.records() == before


def test_an_upgrade_that_dies_half_way_leaves_the_old_tables(old_url, version, monkeypatch):
    last = migrations.STEPS[SCHEMA_VERSION]

    def dies(operations):
        last(operations)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", {**migrations.STEPS, SCHEMA_VERSION: dies})
        with pytest.raises(KeyboardInterrupt):
            migrations.upgrade(old_url)
    with pytest.raises(SchemaMismatch, match=f"version {version}"):
        Database.open(old_url)
    assert migrations.upgrade(old_url) == (version, SCHEMA_VERSION)


def test_every_version_has_its_step():
    assert list(migrations.STEPS) == list(range(2, SCHEMA_VERSION + 1))


def test_tables_of_a_later_release_are_left_alone(database):
    change = update(schema).values(version=SCHEMA_VERSION + 1)
    database.write(lambda connection: connection.execute(change))
    with pytest.raises(SchemaMismatch, match="use the release that made them, or another"):
        migrations.upgrade(database.url)


def test_a_database_without_our_tables_is_reported(database_url):
    with pytest.raises(StorageUnreachable, match=r"no such file|holds no study of Widthwise"):
        migrations.upgrade(resolve_url(database_url, {}))
