import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, make_url
from widthwise.storage.database.database import DEFAULT_URL, format_url, resolve_url
from widthwise.storage.errors import UrlRefused


@pytest.mark.parametrize(
    ("flag", "environment", "expected"),
    [
        pytest.param(None, {}, DEFAULT_URL, id="default"),
        pytest.param(None, {"OPTUNA_STORAGE": "sqlite:///o.db"}, "sqlite:///o.db", id="optuna"),
        pytest.param(
            None,
            {"WIDTHWISE_STORAGE": "sqlite:///w.db", "OPTUNA_STORAGE": "sqlite:///o.db"},
            "sqlite:///w.db",
            id="ours before optuna",
        ),
        pytest.param(
            "sqlite:///f.db", {"WIDTHWISE_STORAGE": "sqlite:///w.db"}, "sqlite:///f.db", id="flag"
        ),
        pytest.param(
            None,
            {"WIDTHWISE_STORAGE": "", "OPTUNA_STORAGE": "sqlite:///o.db"},
            "sqlite:///o.db",
            id="an empty variable is none",
        ),
    ],
)
def test_precedence(flag, environment, expected):
    assert resolve_url(flag, environment) == make_url(expected)


@pytest.mark.parametrize(
    "text",
    [
        "postgres://me@host/db",
        "postgresql://me@host/db",
        "postgresql+psycopg2://me@host/db",
        "postgresql+asyncpg://me@host/db",
    ],
)
def test_every_spelling_of_postgresql_uses_psycopg(text):
    assert resolve_url(text, {}).render_as_string() == "postgresql+psycopg://me@host/db"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("hunter2 is no URL", "not a URL that can be read", id="no URL"),
        pytest.param("postgresql://me:x@host:hunter2/db", "not a URL", id="port is no number"),
        pytest.param("postgresql://me:a@hunter2@host/db", "write '@' as %40", id="bare @"),
        pytest.param("mysql://me:hunter2@host/db", "the engine 'mysql'", id="other engine"),
        pytest.param("redis://:hunter2@host", "the engine 'redis'", id="redis"),
        pytest.param("sqlite+aiosqlite:///x.db", "the engine 'sqlite+aiosqlite'", id="driver"),
        pytest.param("sqlite://", "in memory", id="memory"),
        pytest.param("sqlite:///:memory:", "in memory", id="memory by name"),
        pytest.param("sqlite:///file:x?mode=memory&uri=true", "in memory", id="memory by URI"),
    ],
)
def test_what_cannot_be_used_is_refused_without_repeating_it(text, expected):
    with pytest.raises(UrlRefused) as caught:
        resolve_url(text, {})
    message = str(caught.value)
    assert expected in message
    assert "--storage" in message
    assert "hunter2" not in message
    assert caught.value.__cause__ is None
    assert caught.value.exit_code == 2


def test_the_variable_at_fault_is_named():
    with pytest.raises(UrlRefused, match="given by OPTUNA_STORAGE"):
        resolve_url(None, {"OPTUNA_STORAGE": "journal.log"})


def test_a_password_is_read_from_its_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hun ter/2@\n")
    environment = {"WIDTHWISE_STORAGE_PASSWORD_FILE": str(secret)}
    url = resolve_url("postgresql://me@host/db", environment)
    assert url.password == "hun ter/2@"
    assert resolve_url("postgresql://me:own@host/db", environment).password == "own"
    assert resolve_url("postgresql:///db?user=me", environment).password == "hun ter/2@"
    assert resolve_url("sqlite:///x.db", environment).password is None
    assert "hun" not in format_url(url)


def test_a_missing_password_file_is_reported(tmp_path):
    environment = {"WIDTHWISE_STORAGE_PASSWORD_FILE": str(tmp_path / "none")}
    with pytest.raises(UrlRefused, match=r"none' named by .*_FILE cannot be read \(No such file"):
        resolve_url("postgresql://me@host/db", environment)


def test_secrets_among_the_options_are_hidden():
    url = resolve_url("postgresql:///db?user=me&password=hunter2&sslpassword=hunter3", {})
    assert url.password == "hunter2"
    assert "hunter" not in format_url(url)
    assert "hunter" not in repr(url.query) or "password" not in url.query


@given(password=st.text(min_size=8), user=st.text("abc", min_size=1))
def test_no_password_is_ever_shown(password, user):
    url = URL.create("postgresql+psycopg", user, password, "host", 5432, "db")
    assert format_url(url) == f"postgresql+psycopg://{user}:***@host:5432/db"
    again = resolve_url(url.render_as_string(hide_password=False), {})
    assert again.password == password
