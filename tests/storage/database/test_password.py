"""A password never comes out: not in an error, a representation, a log or what Optuna keeps."""

import logging
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL
from widthwise.storage.database import database as database_module
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.password import child_credentials, hide_secrets
from widthwise.storage.errors import StorageUnreachable, UrlRefused
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


TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


@given(password=TEXTS, key_password=TEXTS)
def test_a_child_reads_every_secret_and_its_environment_shows_none(password, key_password):
    options = {"sslpassword": key_password, "sslmode": "prefer"}
    url = URL.create("postgresql+psycopg", "me", password, "host", None, "db", options)
    environment, files = child_credentials(url)
    try:
        assert environment["WIDTHWISE_STORAGE"] == "postgresql+psycopg://me@host/db?sslmode=prefer"
        assert all(environment[name].startswith("/dev/fd/") for name in sorted(environment)[1:])
        assert len(environment) == 1 + len(files) == 3
        # A line end is no part of a password in a file, which editors put there.
        if not password.endswith(("\r", "\n")):
            assert resolve_url(None, environment) == url
    finally:
        for file in files:
            file.close()


def test_a_url_without_secrets_needs_no_file():
    assert child_credentials(resolve_url("sqlite:///x.db", {})) == (
        {"WIDTHWISE_STORAGE": "sqlite:///x.db"},
        [],
    )


class Replaced(Exception):
    """Stands for the end of this program, another one in its place."""


@pytest.fixture
def replaced_by(monkeypatch):
    """Run `hide_secrets` on a command line; gives the one that takes its place, and its URL."""

    def run(*arguments):
        started = []

        def replace_process(program, words):
            started.append((program, words, resolve_url(words[-1].removeprefix("--storage="))))
            raise Replaced

        with pytest.raises(Replaced):
            hide_secrets(arguments, program="a.module", replace_process=replace_process)
        ((program, words, url),) = started
        assert (program, *words[:4]) == (sys.executable, sys.executable, "-P", "-m", "a.module")
        return words[4:], url

    for variable in ("WIDTHWISE_STORAGE_PASSWORD_FILE", "WIDTHWISE_STORAGE_OPTIONS_FILE"):
        monkeypatch.setenv(variable, "")
    return run


@pytest.mark.parametrize("flag", [["--storage"], ["--storage="]], ids=["apart", "joined"])
@pytest.mark.parametrize(
    ("typed", "bare"),
    [
        ("postgresql://me:hunter2@host/db", "postgresql+psycopg://me@host/db"),
        ("postgres://me:hun/ter2@host:5/db", "postgresql+psycopg://me@host:5/db"),
        ("postgresql://me@host/db?password=hunter2", "postgresql+psycopg://me@host/db"),
        ("postgresql://me@host/db?sslpassword=hunter2", "postgresql+psycopg://me@host/db"),
        ("postgresql://me@h/db?options=-chunter2&sslmode=allow", "postgresql+psycopg://me@h/db?sslmode=allow"),
        ("postgresql://me:hunter2@h/db?sslpassword=hunter2", "postgresql+psycopg://me@h/db"),
    ],
)  # fmt: skip
def test_typed_secrets_leave_the_command_line_and_arrive(replaced_by, flag, typed, bare):
    typed_words = ["status", *flag[:-1], flag[-1] + typed]
    if flag == ["--storage"]:
        typed_words = ["status", "--storage", typed]
    words, url = replaced_by(*typed_words)
    assert "".join(words) == "status--storage" + ("" if flag == ["--storage"] else "=") + bare
    assert url == resolve_url(typed, {})
    assert "ter2" in url.render_as_string(hide_password=False)


def test_of_two_typed_urls_none_is_shown_and_the_last_one_counts(replaced_by):
    first, last = "postgresql://me:hunter1@host/db", "postgresql://me:hunter2@host/db"
    words, url = replaced_by("status", "--storage", first, "--storage", last)
    assert not any("hunter" in word for word in words)
    assert url.password == "hunter2"


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "--storage", "sqlite:///x.db"],
        ["status", "--storage", "postgresql://me@host/db?connect_timeout=3"],
        ["status", "--storage"],
    ],
    ids=lambda words: " ".join(words),
)
def test_a_command_line_without_secrets_stays(arguments):
    hide_secrets(arguments, program="a.module", replace_process=pytest.fail)


@pytest.mark.parametrize("typed", ["postgresql://me:x@host:hunter2/db", "me:hunter2@host"])
def test_what_cannot_be_read_is_refused_before_anything_starts(typed):
    with pytest.raises(UrlRefused) as caught:
        hide_secrets(["status", "--storage", typed], program="a", replace_process=pytest.fail)
    assert "hunter2" not in str(caught.value)
