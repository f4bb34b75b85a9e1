import logging
import os
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError
from widthwise.storage.database import database as database_module
from widthwise.storage.database import engine as engine_module
from widthwise.storage.database import optuna_storage
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.dialect import database_now, database_started
from widthwise.storage.database.tables import SCHEMA_VERSION, metadata, schema
from widthwise.storage.errors import SchemaMismatch, StorageGone, StorageUnreachable
from widthwise.storage.study.study import create_study


@pytest.fixture
def short_open_timeout(monkeypatch):
    """Do not wait for what may pass."""
    monkeypatch.setattr(database_module, "OPEN_SECONDS", 0.2)


def sqlite_url(path: Path, **options):
    return resolve_url(f"sqlite:///{path}", {}).update_query_dict(options)


def test_our_tables_are_made_once_and_found_again(database_url):
    url = resolve_url(database_url, {})
    for _ in range(2):
        with Database.open(url) as database:
            version = database.read(lambda connection: connection.scalar(select(schema.c.version)))
            assert version == SCHEMA_VERSION


def test_readers_create_nothing(database_url, short_open_timeout):
    url = resolve_url(database_url, {})
    with pytest.raises(StorageUnreachable, match=r"no such file|holds no study") as caught:
        Database.open(url, create=False)
    assert caught.value.exit_code == 69
    if url.get_backend_name() == "sqlite":
        assert not Path(url.database).exists()
    with Database.open(url):
        pass
    with Database.open(url, create=False) as database:
        assert repr(database).startswith("Database('")


def test_tables_of_another_release_are_refused(database):
    database.write(lambda connection: connection.execute(update(schema).values(version=99)))
    expected = f"version 99, this release .* version {SCHEMA_VERSION}; use the release"
    with pytest.raises(SchemaMismatch, match=expected) as caught:
        Database.open(database.url)
    assert caught.value.exit_code == 5


def test_optunas_tables_of_another_release_are_refused(database):
    database.optuna_storage()
    old = text("UPDATE alembic_version SET version_num = 'v9.9.9'")
    database.write(lambda connection: connection.execute(old))
    with (
        Database.open(database.url) as other,
        pytest.raises(SchemaMismatch, match=r"version v9\.9\.9, the Optuna installed"),
    ):
        other.optuna_storage()


def test_a_transaction_that_raises_leaves_nothing(database):
    def work(connection):
        connection.execute(update(schema).values(version=7))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.write(work)
    version = database.read(lambda connection: connection.scalar(select(schema.c.version)))
    assert version == SCHEMA_VERSION


def test_our_own_mistakes_are_not_taken_for_an_outage(database):
    again = insert(schema).values(id=1, version=1)
    with pytest.raises(IntegrityError):
        database.write(lambda connection: connection.execute(again))


def test_the_clock_is_the_databases_and_counts_seconds(database):
    query = select(database_now(), database_started())
    now, started = database.read(lambda connection: connection.execute(query).one())
    assert abs(now - time.time()) < 5
    assert 0 <= started < now
    time.sleep(0.005)
    later = database.read(lambda connection: connection.execute(query).one())[0]
    assert later > now


def test_a_fork_may_not_use_what_it_inherited(database):
    pid = os.fork()
    if pid == 0:
        try:
            database.read(lambda connection: connection.scalar(text("SELECT 1")))
        except RuntimeError as error:
            os._exit(7 if "opened by another process" in str(error) else 8)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert database.read(lambda connection: connection.scalar(text("SELECT 1"))) == 1


def test_connections_are_replaced_after_they_are_cut(postgresql_url, postgresql_server):
    with Database.open(resolve_url(postgresql_url), retry_seconds=20) as database:
        storage = database.optuna_storage()
        name = database.url.database
        postgresql_server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        assert database.read(lambda connection: connection.scalar(text("SELECT 1"))) == 1
        assert database.retry(storage.get_all_studies) == []


def test_a_connection_cut_in_mid_transaction_repeats_the_transaction(
    postgresql_url, postgresql_server
):
    tries = []

    def work(connection):
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        connection.execute(update(schema).values(version=schema.c.version + 1))
        tries.append(pid)
        if len(tries) == 1:
            postgresql_server.execute(f"SELECT pg_terminate_backend({pid})")
        return connection.scalar(select(schema.c.version))

    with Database.open(resolve_url(postgresql_url), retry_seconds=20) as database:
        assert database.write(work) == SCHEMA_VERSION + 1
    assert len(tries) == 2


def test_a_batch_cut_short_is_repeated_without_a_warning(postgresql_url, postgresql_server, caplog):
    """psycopg sends a batch in a pipeline, and warns when an outage ends that."""
    tries = []

    def work(connection):
        tries.append(connection.scalar(text("SELECT pg_backend_pid()")))
        connection.execute(text("CREATE TEMPORARY TABLE batch (id INTEGER)"))
        if len(tries) == 1:
            postgresql_server.execute(f"SELECT pg_terminate_backend({tries[0]})")
        connection.execute(text("INSERT INTO batch VALUES (:id)"), [{"id": 1}, {"id": 2}])

    with Database.open(resolve_url(postgresql_url), retry_seconds=20) as database:
        database.write(work)
    assert len(tries) == 2
    assert [record for record in caplog.records if record.name == "psycopg"] == []


def test_writers_wait_for_a_locked_sqlite_file(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "BUSY_SECONDS", 0.05)
    url = sqlite_url(tmp_path / "w.db")
    with Database.open(url, retry_seconds=20) as database:
        other = sqlite3.connect(tmp_path / "w.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.5, other.rollback)
        timer.start()
        started = time.monotonic()
        database.write(
            lambda connection: connection.execute(update(schema).values(version=schema.c.version))
        )
        assert time.monotonic() - started >= 0.4
        timer.join()
        other.close()


def test_a_lock_that_never_goes_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "BUSY_SECONDS", 0.05)
    with Database.open(sqlite_url(tmp_path / "w.db"), retry_seconds=0.5) as database:
        other = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnreachable, match="database is locked"):
            database.write(lambda connection: connection.execute(select(schema)).all())
        other.close()


def delete(path):
    path.unlink()


def move_away(path):
    path.rename(path.with_suffix(".old"))


def put_another_in_its_place(path):
    move_away(path)
    shutil.copy(path.with_suffix(".old"), path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (delete, "was deleted or moved away"),
        (move_away, "was deleted or moved away"),
        (put_another_in_its_place, "was replaced by another file"),
    ],
)
def test_a_file_that_is_gone_is_noticed_at_the_next_call_and_not_waited_for(tmp_path, harm, words):
    """SQLite itself goes on with it for as long as it is open."""
    path = tmp_path / "w.db"
    with Database.open(sqlite_url(path), retry_seconds=3600, patient=True) as database:
        harm(path)
        for call in (database.read, database.write):
            with pytest.raises(StorageGone, match=f"w.db {words}") as caught:
                call(lambda connection: connection.execute(select(schema)).all())
            assert caught.value.exit_code == 69
    assert (harm is put_another_in_its_place) == path.exists(), "no empty one was made"


def test_a_file_that_goes_during_a_write_is_noticed_then(tmp_path):
    path = tmp_path / "w.db"
    with (
        Database.open(sqlite_url(path)) as database,
        pytest.raises(StorageGone),
    ):
        database.write(lambda _connection: delete(path))


def test_a_file_that_comes_back_is_the_same(tmp_path):
    path = tmp_path / "w.db"
    with Database.open(sqlite_url(path)) as database:
        move_away(path)
        path.with_suffix(".old").rename(path)
        assert database.read(lambda connection: connection.scalar(select(schema.c.version)))


def test_a_relative_path_stays_where_it_was_though_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Database.open(resolve_url("sqlite:///w.db", {})) as database:
        monkeypatch.chdir(tmp_path / "elsewhere")
        database.engine.dispose()  # as when its connections are in use, or too old
        assert database.read(lambda connection: connection.scalar(select(schema.c.version)))
        database.optuna_storage()
        assert "sqlite:///w.db" in repr(database)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_sqlite_runs_in_wal_mode_with_foreign_keys(tmp_path):
    with Database.open(sqlite_url(tmp_path / "w.db")) as database:
        pragmas = ("journal_mode", "foreign_keys")
        pragma_values = database.read(
            lambda connection: [connection.scalar(text(f"PRAGMA {name}")) for name in pragmas]
        )
        assert pragma_values == ["wal", 1]


@pytest.mark.parametrize(
    ("durable", "setting"), [(True, {2, "on"}), (False, {1, "off"})], ids=["durable", "soon"]
)
def test_only_durable_transactions_wait_for_the_disk(database, durable, setting):
    """2 is SQLite's FULL, 1 its NORMAL; and one transaction leaves nothing to the next."""
    ask = {"sqlite": "PRAGMA synchronous", "postgresql": "SHOW synchronous_commit"}
    query = text(ask[database.url.get_backend_name()])
    database.write(lambda connection: connection.scalar(query), durable=not durable)
    assert database.write(lambda connection: connection.scalar(query), durable=durable) in setting


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda path: path / "none" / "w.db", "there is no folder", id="no folder"),
        pytest.param(lambda path: path, "it is a folder", id="a folder"),
        pytest.param(
            lambda path: (path / "x").write_text("hello " * 999) and path / "x",
            "file is not a database",
            id="not a database",
        ),
    ],
)
def test_a_bad_sqlite_file_is_reported_in_one_sentence(
    tmp_path, make, expected, short_open_timeout
):
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StorageUnreachable) as caught:
        Database.open(sqlite_url(path))
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert "sqlalche" not in message
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sqlite_file_that_cannot_be_written_is_reported(tmp_path, short_open_timeout):
    sqlite3.connect(tmp_path / "w.db").close()
    (tmp_path / "w.db").touch()
    url = resolve_url(f"sqlite:///file:{tmp_path / 'w.db'}?mode=ro&uri=true", {})
    with pytest.raises(StorageUnreachable, match="attempt to write a readonly database"):
        Database.open(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("postgresql://me@127.0.0.1:1/db", "Connection refused", id="no server"),
        pytest.param("postgresql://me@no.invalid/db", "failed to resolve host", id="no host"),
        pytest.param("postgresql:///db?host=/nowhere", "No such file", id="no socket"),
    ],
)
def test_an_unreachable_server_is_reported_within_seconds(url, expected, short_open_timeout):
    started = time.monotonic()
    with pytest.raises(StorageUnreachable) as caught:
        Database.open(resolve_url(url, {}))
    assert time.monotonic() - started < 6
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_that_does_not_exist_is_reported_at_once(postgresql_server):
    with pytest.raises(StorageUnreachable, match='database "nope" does not exist'):
        Database.open(resolve_url(postgresql_server.url("nope"), {}))


def test_a_role_that_may_only_read_can_watch_but_not_start(postgresql_url, postgresql_server):
    owner = resolve_url(postgresql_url)
    with Database.open(owner) as database:
        database.optuna_storage()
    for statement in (
        "DROP ROLE IF EXISTS watcher",
        "CREATE ROLE watcher LOGIN",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO watcher",
    ):
        postgresql_server.execute(statement, owner.database)
    with Database.open(owner.set(username="watcher"), create=False) as database:
        assert database.optuna_storage().get_all_studies() == []
        with pytest.raises(StorageUnreachable, match="permission denied for table"):
            database.write(
                lambda connection: connection.execute(
                    update(schema).values(version=schema.c.version)
                )
            )
    postgresql_server.execute("DROP OWNED BY watcher", owner.database)
    postgresql_server.execute("DROP ROLE watcher")


def test_odd_file_names_are_taken_as_they_are(tmp_path):
    path = tmp_path / "a {b} 100% ü.db"
    with Database.open(sqlite_url(path)) as database:
        database.optuna_storage()
    assert path.exists()
    with sqlite3.connect(path) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert {"trials", *metadata.tables} <= tables


def test_optuna_is_silenced_inside_our_calls_and_as_the_user_wants_it_outside(
    database, capfd, caplog
):
    caplog.set_level(logging.WARNING, logger="optuna")  # what the user wants
    logger = logging.getLogger("optuna.storages._rdb.storage")
    before = logger.level, logging.getLogger("optuna").level
    create_study(
        database,
        name="digits",
        spec="{}",
        fingerprint="f",
        direction="maximize",
        metric="accuracy",
        base="",
        budget=1,
    )
    assert (logger.level, logging.getLogger("optuna").level) == before
    assert capfd.readouterr() == ("", "")
    spoken = []
    handler = logging.Handler()
    handler.emit = spoken.append
    logger.addHandler(handler)
    try:
        with optuna_storage.silence_optuna():
            logger.warning("inside")
        logger.warning("outside")
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in spoken] == ["outside"]
