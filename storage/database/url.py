"""The storage URL: where it comes from, which ones are accepted, and how it is shown.

`resolve_url` returns it; `format_url` is the only form in which a URL may reach a person or a log.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ..errors import UrlRefused

DEFAULT_URL = "sqlite:///widthwise.db"
"""A file in the current folder."""

STORAGE_VARIABLE = "WIDTHWISE_STORAGE"
URL_VARIABLES = (STORAGE_VARIABLE, "OPTUNA_STORAGE")
PASSWORD_FILE_VARIABLE = "WIDTHWISE_STORAGE_PASSWORD_FILE"  # noqa: S105 - the name of a variable

SECRET_OPTIONS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key")
"""Connection options of libpq that a URL may have after its `?` and that are never shown."""


def resolve_url(flag: str | None = None, environment: Mapping[str, str] = os.environ) -> URL:
    """Return the database's URL: flag > WIDTHWISE_STORAGE > OPTUNA_STORAGE > `DEFAULT_URL`.

    `postgres://` and every `postgresql+driver://` become `postgresql+psycopg://`; a password that
    the URL lacks is read from the file named by WIDTHWISE_STORAGE_PASSWORD_FILE.

    Raises:
        UrlRefused: If the text is no URL, names another engine or an in-memory database, or the
            password file is unusable.
    """
    source, text = "the default", DEFAULT_URL
    if flag:
        source, text = "--storage", flag
    else:
        for variable in URL_VARIABLES:
            if environment.get(variable):
                source, text = variable, environment[variable]
                break
    url = _parse(text, source)
    return _with_password(url, environment)


def format_url(url: URL) -> str:
    """Return the URL for people and logs: every secret in it is `***`."""
    redactions = {key: "***" for key in SECRET_OPTIONS if key in url.query}
    return url.update_query_dict(redactions).render_as_string(hide_password=True)


def _parse(text: str, source: str) -> URL:
    # The text itself is never repeated in a message: where it does not parse, any part of it may be
    # the password.
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UrlRefused(
            f"The storage given by {source} is not a URL that can be read; expected "
            "sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE, with special characters of a "
            "password percent-encoded."
        ) from None
    if "@" in (url.host or ""):
        raise UrlRefused(
            f"The storage URL given by {source} has more than one '@' before its host; "
            "write '@' as %40 where it belongs to the user or the password."
        )
    engine = url.get_backend_name()
    if engine in ("postgres", "postgresql"):
        return _without_query_password(url.set(drivername="postgresql+psycopg"))
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        database = url.database or ""
        if database in ("", ":memory:") or "mode=memory" in text or ":memory:" in database:
            raise UrlRefused(
                f"The storage given by {source} is a SQLite database in memory, which other "
                "processes cannot see; name a file: sqlite:///FILE."
            )
        return url
    raise UrlRefused(
        f"The storage given by {source} names the engine '{url.drivername}'; "
        "expected sqlite (one machine) or postgresql (many machines)."
    )


def _without_query_password(url: URL) -> URL:
    password = url.query.get("password")
    if password is None:
        return url
    return url.difference_update_query(["password"]).set(password=str(password))


def _with_password(url: URL, environment: Mapping[str, str]) -> URL:
    path = environment.get(PASSWORD_FILE_VARIABLE)
    user = url.username or url.query.get("user")
    if not path or not user or url.password:
        return url
    try:
        password = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UrlRefused(
            f"The password file '{path}' named by {PASSWORD_FILE_VARIABLE} cannot be read "
            f"({cause}); name a readable file that holds the password and nothing else."
        ) from None
    return url.set(password=password)
