"""Secrets of database URLs, kept out of the process list.

`child_credentials` hands a password, and other secret connection options, to a child process in
unnamed files that only the child inherits, and the URL without them in its environment.
`hide_secrets` does the same for a URL that was typed on our own command line.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import IO
from urllib.parse import urlencode

from sqlalchemy.engine import URL

from .url import (
    OPTIONS_FILE_VARIABLE,
    PASSWORD_FILE_VARIABLE,
    STORAGE_VARIABLE,
    parse_url,
    split_secrets,
)

_FLAG = "--storage"


def child_credentials(url: URL) -> tuple[dict[str, str], list[IO[bytes]]]:
    """Return what a child process needs to reach the same database.

    Returns:
        Environment variables, and the files to hand down (`pass_fds`) and to close after the start;
        none if there is no secret.
    """
    bare_url, password, options = split_secrets(url)
    environment = {STORAGE_VARIABLE: bare_url.render_as_string(hide_password=False)}
    files: list[IO[bytes]] = []
    for variable, secret in (
        (PASSWORD_FILE_VARIABLE, password),
        (OPTIONS_FILE_VARIABLE, urlencode(options, doseq=True) or None),
    ):
        if secret is not None:
            # One file a child: readers of an inherited file share its position on some systems.
            file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller, after the start
            file.write(secret.encode())
            file.seek(0)
            environment[variable] = f"/dev/fd/{file.fileno()}"
            files.append(file)
    return environment, files


def hide_secrets(
    arguments: Sequence[str],
    *,
    program: str,
    replace_process: Callable[[str, list[str]], object] = os.execv,
) -> None:
    """Replace this process by one whose command line shows no secret, if this one's does.

    Args:
        arguments: The command line, after the program's name.
        program: Name of the module that is started.
        replace_process: `os.execv`, or what stands for it.

    Raises:
        UrlRefused: A URL cannot be read, so that nobody knows what in it is secret.
    """
    bare_arguments, url = _split_arguments(arguments)
    if url is None:
        return
    environment, files = child_credentials(url)
    for file in files:
        os.set_inheritable(file.fileno(), True)
    for variable in (PASSWORD_FILE_VARIABLE, OPTIONS_FILE_VARIABLE):
        if variable in environment:
            os.environ[variable] = environment[variable]
    try:
        replace_process(sys.executable, [sys.executable, "-P", "-m", program, *bare_arguments])
    finally:
        for file in files:
            file.close()


def _split_arguments(arguments: Sequence[str]) -> tuple[list[str], URL | None]:
    """Return a command line without secrets, and the URL that they are of; None without any."""
    bare_arguments, last_url, has_secrets = list(arguments), None, False
    for index, argument in enumerate(arguments):
        if argument.startswith(f"{_FLAG}="):
            prefix, text = f"{_FLAG}=", argument.removeprefix(f"{_FLAG}=")
        elif index and arguments[index - 1] == _FLAG:
            prefix, text = "", argument
        else:
            continue
        if not text:
            continue
        last_url = parse_url(text, _FLAG)  # of several, the last one counts
        bare_url, password, options = split_secrets(last_url)
        if password is not None or options:
            has_secrets = True
            bare_arguments[index] = prefix + bare_url.render_as_string(hide_password=False)
    return bare_arguments, last_url if has_secrets else None
