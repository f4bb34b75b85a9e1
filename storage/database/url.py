"""The storage URL: where it comes from, which ones are accepted, and how it is shown.

`resolve_url` returns it, `parse_url` reads its text; `format_url` is the only form in which a URL
may reach a person or a log. `split_secrets` takes the secrets out, `redact` takes them out of any
other text. Where a URL cannot be read, no part of it is repeated: any may be of the password.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from os import environ
from pathlib import Path
from urllib.parse import parse_qsl

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, SAWarning

from ..errors import UrlRefused

DEFAULT_URL = "sqlite:///widthwise.db"
"""A file in the current folder."""

STORAGE_VARIABLE = "WIDTHWISE_STORAGE"
URL_VARIABLES = (STORAGE_VARIABLE, "OPTUNA_STORAGE")
PASSWORD_FILE_VARIABLE = "WIDTHWISE_STORAGE_PASSWORD_FILE"  # noqa: S105 - the name of a variable
OPTIONS_FILE_VARIABLE = "WIDTHWISE_STORAGE_OPTIONS_FILE"
"""Names a file of connection options, written as after a URL's `?`, that nobody should see."""
STORAGE_VARIABLES = (*URL_VARIABLES, PASSWORD_FILE_VARIABLE, OPTIONS_FILE_VARIABLE)
"""All that say where the storage is and how to get in."""

VISIBLE_OPTIONS = frozenset(
    {
        *("application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname"),
        *("gssencmode", "host", "hostaddr", "keepalives", "keepalives_count", "keepalives_idle"),
        *("keepalives_interval", "load_balance_hosts", "port", "require_auth", "requirepeer"),
        *("sslcert", "sslcertmode", "sslcrl", "sslmode", "sslnegotiation", "sslrootcert"),
        *("sslsni", "target_session_attrs", "tcp_user_timeout", "user"),
    }
)
"""Connection options of PostgreSQL that may be seen; every other one is taken for a secret."""

_POSTGRESQL_DRIVER = "postgresql+psycopg"
_REDACTED = "***"
_MAX_PORT = 65_535
# What names, addresses (IPv6 with its zone) and lists of them are made of.
_HOST = re.compile(r"[\w.:%,-]+")
_ESCAPE_HINT = "with special characters of a password percent-encoded"


def resolve_url(flag: str | None = None, environment: Mapping[str, str] = environ) -> URL:
    """Return the database's URL: flag > WIDTHWISE_STORAGE > OPTUNA_STORAGE > `DEFAULT_URL`.

    `postgres://` and every `postgresql+driver://` become `postgresql+psycopg://`; a password that
    the URL lacks is read from the file named by WIDTHWISE_STORAGE_PASSWORD_FILE, options that it
    lacks from the one named by WIDTHWISE_STORAGE_OPTIONS_FILE.

    Raises:
        UrlRefused: If the text is no URL, names another engine or an in-memory database, or a file
            of secrets is unusable.
    """
    source, text = "the default", DEFAULT_URL
    if flag:
        source, text = "--storage", flag
    else:
        for variable in URL_VARIABLES:
            if environment.get(variable):
                source, text = variable, environment[variable]
                break
    return _with_password(_with_options(parse_url(text, source), environment), environment)


def format_url(url: URL) -> str:
    """Return the URL for people and logs: every secret in it is `***`."""
    redactions = dict.fromkeys(_secret_options(url), _REDACTED)
    text = url.update_query_dict(redactions).render_as_string(hide_password=True)
    return text.replace("%2A%2A%2A", _REDACTED)


def split_secrets(url: URL) -> tuple[URL, str | None, dict[str, tuple[str, ...]]]:
    """Return a URL without its secrets, its password, and its secret connection options."""
    options = {key: _as_tuple(url.query[key]) for key in _secret_options(url)}
    query = {key: value for key, value in url.query.items() if key not in options}
    # `set(password=None)` leaves it in, by SQLAlchemy's contract.
    bare_url = URL.create(url.drivername, url.username, None, url.host, url.port, url.database)
    password = None if url.password is None else str(url.password)
    return bare_url.update_query_dict(query), password, options


def redact(text: str, url: URL) -> str:
    """Return a text, such as a driver's message, with every secret of a URL as `***`."""
    _, password, options = split_secrets(url)
    secrets = {password or "", *(value for values in options.values() for value in values)}
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, _REDACTED)
    return text


def parse_url(text: str, source: str) -> URL:
    """Return the URL that a text stands for; a password among its options moves to its place.

    Args:
        text: As a person gave it.
        source: Where, for the message.

    Raises:
        UrlRefused: It cannot be read, or names a database that cannot be used.
    """
    try:
        if not text.isprintable():  # a line end in a password would cut the rest off
            raise ValueError
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UrlRefused(
            f"The storage given by {source} is not a URL that can be read; expected "
            f"sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE, {_ESCAPE_HINT}."
        ) from None
    engine = url.get_backend_name()
    if engine in ("postgres", "postgresql"):
        _check_postgresql(url, text, source)
        url = url.set(drivername=_POSTGRESQL_DRIVER)
        for password in _as_tuple(url.query.get("password", ())):
            url = url.difference_update_query(["password"]).set(password=password)
        return url
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        _check_sqlite(url, text, source)
        return url
    raise UrlRefused(
        f"The storage given by {source} names the engine '{url.drivername}'; "
        "expected sqlite (one machine) or postgresql (many machines)."
    )


def _check_postgresql(url: URL, text: str, source: str) -> None:
    """Refuse a URL whose parts are not where they seem to be, or that no driver can connect to."""
    has_user_part = url.username is not None
    if text.count("@") > (1 if has_user_part else 0):
        raise UrlRefused(
            f"The storage URL given by {source} has an '@' more than the one before its host; "
            "write '@' as %40 where it belongs to the user, the password or an option."
        )
    hosts = [url.host or "", *_as_tuple(url.query.get("host", ()))]
    listed_ports = _as_tuple(url.query.get("port", ()))
    ports = [url.port, *(port for value in listed_ports for port in value.split(","))]
    if not all(map(_is_host, hosts)):
        raise UrlRefused(
            f"The storage URL given by {source} has no host that can be a name or an address; "
            f"expected postgresql://USER@HOST:PORT/DATABASE, {_ESCAPE_HINT}."
        )
    if not all(map(_is_port, ports)):
        raise UrlRefused(
            f"The storage URL given by {source} has a port that is no number from 1 to "
            f"{_MAX_PORT}; expected postgresql://USER@HOST:PORT/DATABASE, {_ESCAPE_HINT}."
        )
    if url.query and not set(url.query) <= _known_options():
        raise UrlRefused(
            f"The storage URL given by {source} has an option after its '?' that PostgreSQL's "
            "library does not know; check its spelling, and write '&' as %26 and '?' as %3F where "
            "they belong to a password."
        )
    parts = (url.username, url.password, url.database, *url.query, *_values(url))
    url = url.set(drivername=_POSTGRESQL_DRIVER)
    if any("\0" in str(part) for part in parts if part) or not _has_connect_args(url):
        raise UrlRefused(
            f"The storage URL given by {source} holds what PostgreSQL cannot take: a zero byte, or "
            "hosts and ports that do not go together."
        )


def _check_sqlite(url: URL, text: str, source: str) -> None:
    """Refuse a URL of SQLite that is more than a file, or less."""
    if url.host or url.port or url.username is not None:
        raise UrlRefused(
            f"The storage URL given by {source} names a host or a user, and SQLite knows files "
            "only; expected sqlite:///FILE with three slashes, four for an absolute path."
        )
    database = url.database or ""
    if database in ("", ":memory:") or "mode=memory" in text or ":memory:" in database:
        raise UrlRefused(
            f"The storage given by {source} is a SQLite database in memory, which other "
            "processes cannot see; name a file: sqlite:///FILE."
        )
    if not _has_connect_args(url):
        raise UrlRefused(
            f"The storage URL given by {source} has an option after its '?' that SQLite cannot "
            "take; leave it out, or write a number where one belongs, such as timeout=10."
        )


def _is_host(host: str) -> bool:
    """Return whether this can be a host or several: names, addresses, folders of a socket."""
    if not host or host.startswith("/"):
        return True
    try:
        # The resolver's own encoding; it knows how long a label may be.
        labels = [name.rpartition("%")[0] or name for name in host.split(",")]
        return _HOST.fullmatch(host) is not None and all(
            label.encode("idna") is not None for label in labels
        )
    except UnicodeError:
        return False


def _is_port(port: int | str | None) -> bool:
    if port is None or port == "":
        return True
    return str(port).isascii() and str(port).isdigit() and 1 <= int(port) <= _MAX_PORT


def _has_connect_args(url: URL) -> bool:
    """Return whether SQLAlchemy can make a driver's arguments of a URL."""
    try:
        with warnings.catch_warnings():
            # What SQLite's driver would drop with a warning is misspelled, or of another engine.
            warnings.simplefilter("error", SAWarning)
            url.get_dialect()().create_connect_args(url)
    except (ArgumentError, SAWarning, ValueError):
        return False
    return True


def _known_options() -> set[str]:
    """Return the connection options that libpq knows."""
    from psycopg import pq

    return {option.keyword.decode() for option in pq.Conninfo.get_defaults()}


def _secret_options(url: URL) -> list[str]:
    """Return the names of the options in a URL that may not be seen."""
    if url.get_backend_name() != "postgresql":
        return []
    return [key for key in url.query if key not in VISIBLE_OPTIONS]


def _as_tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _values(url: URL) -> Iterator[str]:
    for value in url.query.values():
        yield from _as_tuple(value)


def _with_password(url: URL, environment: Mapping[str, str]) -> URL:
    path = environment.get(PASSWORD_FILE_VARIABLE)
    user = url.username or url.query.get("user")
    if not path or not user or url.password:
        return url
    return url.set(password=_read_secret("password", path, PASSWORD_FILE_VARIABLE))


def _with_options(url: URL, environment: Mapping[str, str]) -> URL:
    """Return a URL with the options of the file; those that stand in the URL itself prevail."""
    path = environment.get(OPTIONS_FILE_VARIABLE)
    if not path or url.get_backend_name() != "postgresql":
        return url
    text = _read_secret("options", path, OPTIONS_FILE_VARIABLE).lstrip("?")
    options = dict(parse_qsl(text, keep_blank_values=True))
    if not options or not set(options) <= _known_options() - {"password"}:
        raise UrlRefused(
            f"The options file '{path}' named by {OPTIONS_FILE_VARIABLE} does not hold connection "
            "options of PostgreSQL as they stand after a URL's '?': NAME=VALUE&NAME=VALUE, "
            "percent-encoded."
        )
    return url.update_query_dict({**options, **url.query})


def _read_secret(kind: str, path: str, variable: str) -> str:
    try:
        # Not as text: that would make other line ends of a password's own.
        return Path(path).read_bytes().decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UrlRefused(
            f"The {kind} file '{path}' named by {variable} cannot be read "
            f"({cause}); name a readable file that holds the {kind} and nothing else."
        ) from None
