"""Passwords of database URLs, kept out of the process list.

`child_credentials` hands a password to a child process in an unnamed file that only the child
inherits, and the URL without it in its environment. `hide_password` does the same for a URL that
was typed on our own command line.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from .url import PASSWORD_FILE_VARIABLE, STORAGE_VARIABLE


def _without_password(url: URL) -> str:
    """Return the URL as text without its password."""
    # `set(password=None)` leaves it in, by SQLAlchemy's contract.
    query = {key: value for key, value in url.query.items() if key != "password"}
    return URL.create(
        url.drivername,
        username=url.username,
        host=url.host,
        port=url.port,
        database=url.database,
        query=query,
    ).render_as_string(hide_password=False)


def _password_of(url: URL) -> str | None:
    """Return the password of a URL, from its authority or its query; None without one."""
    password = url.password or url.query.get("password")
    return None if password is None else str(password)


def child_credentials(url: URL) -> tuple[dict[str, str], IO[bytes] | None]:
    """Return what a child process needs to reach the same database.

    Returns:
        Environment variables, and the file to hand down (`pass_fds`) and to close after the start;
        None if there is no password.
    """
    environment = {STORAGE_VARIABLE: _without_password(url)}
    password = _password_of(url)
    if password is None:
        return environment, None
    # One file a child: readers of an inherited file share its position on some systems.
    password_file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller, after the start
    password_file.write(password.encode())
    password_file.seek(0)
    return {
        **environment,
        PASSWORD_FILE_VARIABLE: f"/dev/fd/{password_file.fileno()}",
    }, password_file


def hide_password(arguments: Sequence[str], *, program: str) -> None:
    """Replace this process by one whose command line shows no password, if this one's does.

    Args:
        arguments: The command line, after the program's name.
        program: Name of the module that is started.
    """
    redacted_arguments = list(arguments)
    for index, argument in enumerate(arguments):
        prefix, equals, value = argument.rpartition("--storage=")
        if not equals and index and arguments[index - 1] == "--storage":
            value = argument
        elif not equals or prefix:
            continue
        try:
            url = make_url(value)
        except ArgumentError:
            continue
        if _password_of(url) is not None:
            environment, password_file = child_credentials(url)
            assert password_file is not None
            os.set_inheritable(password_file.fileno(), True)
            redacted_arguments[index] = ("--storage=" if equals else "") + environment[
                STORAGE_VARIABLE
            ]
            os.environ[PASSWORD_FILE_VARIABLE] = environment[PASSWORD_FILE_VARIABLE]
            os.execv(  # noqa: S606 - our own program
                sys.executable, [sys.executable, "-m", program, *redacted_arguments]
            )
