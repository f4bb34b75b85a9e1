"""A password never comes out: not in an error, a representation, a log or what Optuna keeps."""

import logging
import traceback

import pytest
from widthwise.storage.database import database as database_module
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.errors import StorageUnreachable
from widthwise.storage.study.study import create_study, load_study

PASSWORD = "hunt{er}2%s/@:"
WRONG = "tr0ub{4}dor%/@:"


@pytest.fixture(scope="session")
def password_server(postgresql_server):
    """A role that has to give its password."""
    postgresql_server.require_password("guarded", PASSWORD)
    return postgresql_server


@pytest.fixture
def password_url(password_server, postgresql_url):
    url = resolve_url(postgresql_url, {}).set(username="guarded")
    password_server.execute("GRANT ALL ON SCHEMA public TO guarded", url.database)
    return url


def whole_traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_a_refused_password_is_reported_at_once_and_not_shown(password_url, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(
        StorageUnreachable, match='authentication failed for user "guarded"'
    ) as caught:
        Database.open(password_url.set(password=WRONG))
    written = [whole_traceback(caught.value), repr(caught.value), caplog.text, *capfd.readouterr()]
    assert not any("tr0ub" in text for text in written)
    assert "guarded:***@" in str(caught.value)


def test_a_missing_password_is_reported(password_url):
    with pytest.raises(StorageUnreachable, match="no password supplied"):
        Database.open(password_url)


def test_an_unreachable_server_does_not_reveal_the_password(caplog, capfd, monkeypatch):
    monkeypatch.setattr(database_module, "OPEN_SECONDS", 0.2)
    caplog.set_level(logging.DEBUG)
    url = resolve_url("postgresql://me@127.0.0.1:1/db", {}).set(password=WRONG)
    with pytest.raises(StorageUnreachable) as caught:
        Database.open(url)
    written = [whole_traceback(caught.value), repr(caught.value), caplog.text, *capfd.readouterr()]
    assert not any("tr0ub" in text for text in written)


def test_no_use_of_a_database_reveals_its_password(password_url, caplog, capfd, tmp_path):
    caplog.set_level(logging.DEBUG)
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")
    environment = {"WIDTHWISE_STORAGE_PASSWORD_FILE": str(secret)}
    url = resolve_url(password_url.render_as_string(), environment)
    with Database.open(url) as database:
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
        with pytest.raises(Exception, match="no study 'other'") as caught:
            load_study(database, "other")
        storage = database.optuna_storage()
        written = [
            repr(database),
            repr(database.engine),
            repr(database.url),
            repr(storage.engine),
            storage.url,
            whole_traceback(caught.value),
            caplog.text,
            *capfd.readouterr(),
        ]
    assert not any("hunt" in text for text in written)
