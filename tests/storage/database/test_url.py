from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import URL, make_url
from widthwise.storage.database.database import DEFAULT_URL, format_url, resolve_url
from widthwise.storage.database.url import parse_url, redact, split_secrets
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
        pytest.param("postgresql://me:hunter2@host:65536/db", "a port that", id="port too high"),
        pytest.param("postgresql://me:hunter2@host:0/db", "a port that", id="port zero"),
        pytest.param("postgresql://me:hunter2/db", "not a URL", id="password without a host"),
        pytest.param("postgresql:///db?port=hunter2", "a port that", id="port in an option"),
        pytest.param("postgresql://me:x@..hunter2/db", "no host that", id="host with empty labels"),
        pytest.param("postgresql://me:x@hun..hunter2/db", "no host that", id="host with two dots"),
        pytest.param(f"postgresql://me:x@{'hunter2' * 10}/db", "no host that", id="long label"),
        pytest.param("postgresql://me:x@hunter2 #!/db", "no host that", id="no host's letters"),
        pytest.param("postgresql://me:x@[hunter2/db", "no host that", id="half a bracket"),
        pytest.param("postgresql:///db?host=hunter2..&user=me", "no host that", id="host option"),
        pytest.param("postgresql://me:a@hunter2@host/db", "write '@' as %40", id="bare @"),
        pytest.param("postgresql://me:a@x/hunter2@host/db", "write '@' as", id="bare @ and slash"),
        pytest.param("postgresql://me:a@x?hunter2=@host/db", "write '@' as", id="bare @ and ?"),
        pytest.param(
            "postgresql://m/e:hunter2@host/db", "write '@' as %40", id="slash in the user"
        ),
        pytest.param("postgresql:///db?user=me&password=a@hunter2", "write '@' as", id="@ option"),
        pytest.param("postgresql://me@host/db?passwd=hunter2", "does not know", id="odd option"),
        pytest.param("postgresql://me@host/db?sslpassword=a&hunter2=b", "does not", id="bare &"),
        pytest.param("postgresql://me:hunt%00hunter2@host/db", "a zero byte", id="zero byte"),
        pytest.param("postgresql://me:x@host/db?password=a\nhunter2", "not a URL", id="line end"),
        pytest.param("postgresql://me:hunter2\ud8ff@host/db", "not a URL", id="no text"),
        pytest.param(
            "postgresql:///db?host=a&host=b&port=1&password=hunter2",
            "go together",
            id="hosts, ports",
        ),
        pytest.param("sqlite://me:hunter2@/x.db", "files only", id="SQLite with a user"),
        pytest.param("sqlite://hunter2/x.db", "files only", id="SQLite with two slashes"),
        pytest.param("sqlite:///x.db?timeout=hunter2", "option after its", id="SQLite's timeout"),
        pytest.param("sqlite:///x.db?key=hunter2", "option after its", id="SQLite's key"),
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


@pytest.mark.parametrize(
    "name", ["password", "sslpassword", "sslkey", "passfile", "options", "oauth_client_secret"]
)
def test_secrets_among_the_options_are_hidden(name):
    url = resolve_url(f"postgresql://me@host/db?{name}=hunter2&connect_timeout=3", {})
    bare, password, options = split_secrets(url)
    assert password == ("hunter2" if name == "password" else None)
    assert options == ({} if name == "password" else {name: ("hunter2",)})
    for shown in (format_url(url), str(bare), redact("psycopg says: hunter2.", url)):
        assert "hunter" not in shown
    assert "connect_timeout=3" in format_url(url)
    assert "connect_timeout=3" in str(bare)


def test_several_hosts_are_no_fault():
    url = resolve_url("postgresql://me@/db?host=a.example:5432&host=b.example:5433", {})
    assert format_url(url).count("example") == 2
    assert resolve_url("postgresql://me@[::1]:5432/db", {}).host == "::1"
    assert resolve_url("postgresql://me@münchen.example/db", {}).host == "münchen.example"


def test_secret_options_are_read_from_their_file(tmp_path):
    secrets = tmp_path / "options"
    secrets.write_text("sslpassword=hun%20ter2%26&connect_timeout=9\n")
    environment = {"WIDTHWISE_STORAGE_OPTIONS_FILE": str(secrets)}
    url = resolve_url("postgresql://me@host/db?connect_timeout=3", environment)
    assert dict(url.query) == {"sslpassword": "hun ter2&", "connect_timeout": "3"}
    assert resolve_url("sqlite:///x.db", environment).query == {}


@pytest.mark.parametrize("text", ["", "hunter2", "hunter2=1", "password=hunter2"])
def test_an_options_file_without_options_is_refused_and_not_shown(tmp_path, text):
    secrets = tmp_path / "options"
    secrets.write_text(text)
    environment = {"WIDTHWISE_STORAGE_OPTIONS_FILE": str(secrets)}
    with pytest.raises(UrlRefused, match="does not hold connection options") as caught:
        resolve_url("postgresql://me@host/db", environment)
    assert "hunter2" not in str(caught.value)


PARTS = ("Quark77", "Zebra88", "Mango99")
"""Of a password; between them stands whatever a URL may stumble over."""
BETWEEN = st.text("@:/?#[]&=%+ ;,!$'()*{}|\\^~`<>\"\n\t\0ä", max_size=4)


@example(first="@", second="/", form="postgresql://me:{}@db.example:5432/data")
@example(first="&", second="=", form="postgresql://me@db.example/data?sslpassword={}")
@given(
    first=BETWEEN,
    second=BETWEEN,
    form=st.sampled_from(
        [
            "postgresql://me:{}@db.example:5432/data",
            "postgres://me:{}@db.example/data?sslmode=require",
            "postgresql+psycopg2://me:{}@[::1]:5432/data",
            "postgresql://me:{}@db.example:port/data",
            "postgresql://me:{}@db.example:99999/data",
            "postgresql://me:{}@..bad../data",
            "postgresql://me:{}@/data?host=db.example:1",
            "postgresql:///data?user=me&password={}",
            "postgresql://me@db.example/data?sslpassword={}",
            "postgresql://me@db.example/data?options={}&sslmode=require",
            "me:{}@db.example/data",
            "mysql://me:{}@db.example/data",
            "sqlite://me:{}@/data.db",
        ]
    ),
)
def test_no_part_of_an_unescaped_password_is_shown(first, second, form):
    password = first.join(PARTS[:2]) + second + PARTS[2]
    try:
        url = parse_url(form.format(password), "--storage")
    except UrlRefused as refused:
        shown = [str(refused), repr(refused)]
    else:
        bare_url = split_secrets(url)[0]
        shown = [format_url(url), bare_url.render_as_string(hide_password=False), repr(bare_url)]
    assert [part for part in PARTS for text in shown if part in text] == []


@given(
    password=st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=8),
    user=st.text("abc", min_size=1),
)
def test_no_password_is_ever_shown(password, user):
    url = URL.create("postgresql+psycopg", user, password, "host", 5432, "db")
    assert format_url(url) == f"postgresql+psycopg://{user}:***@host:5432/db"
    again = resolve_url(url.render_as_string(hide_password=False), {})
    assert again.password == password
    as_option = f"postgresql://{user}@host:5432/db?password={quote(password, safe='')}"
    assert resolve_url(as_option, {}) == again
