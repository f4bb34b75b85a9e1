"""Passwords of database URLs: kept out of the process list, also for the processes we start.

A password goes from process to process in a nameless file that only the child inherits; its URL
goes without it. `hide_password` does the same for a URL that was typed on our own command line.
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
    """The URL as text, its password left out."""
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
    """The password of a URL, wherever it stands in it."""
    password = url.password or url.query.get("password")
    return None if password is None else str(password)


def child_credentials(url: URL) -> tuple[dict[str, str], IO[bytes] | None]:
    """What a child process needs to reach the same database.

    Returns:
        Environment variables, and the file to hand down (`pass_fds`) and close after; None where
        there is no password.
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
    """Start this program anew if its command line shows a password; return if it does not.

    Args:
        arguments: The command line, after the program's name.
        program: Name of the module that is started anew.
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
