"""Child processes: modules of this package run as programs, with the storage out of sight.

The storage's URL goes through the environment, its secrets through files that only the child
inherits; neither stands on a command line. The current folder is not on the child's path (`-P`):
a user's `queue.py` there would be run in place of the standard library's.

Entry point: `child_command`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.engine import URL

from ...storage.database.password import child_credentials
from ...storage.database.url import STORAGE_VARIABLES


@dataclass(frozen=True, kw_only=True)
class ChildCommand:
    """What `subprocess.Popen` needs to start a module.

    Attributes:
        arguments: The command line.
        environment: All variables of the child.
        inherited_fds: Descriptors that it inherits.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    inherited_fds: Sequence[int]


@contextmanager
def child_command(
    module: str,
    arguments: Sequence[str],
    url: URL,
    *,
    environment: Mapping[str, str] | None = None,
) -> Iterator[ChildCommand]:
    """Prepare to run a module as a child process; start it within the block.

    Args:
        module: Its full name.
        arguments: After the program's name.
        url: The storage, password included.
        environment: Variables beside those of this process.
    """
    credentials, secret_files = child_credentials(url)
    # A URL of ours with its password is of no use to the child, wherever it came from.
    inherited = {name: value for name, value in os.environ.items() if name not in STORAGE_VARIABLES}
    try:
        yield ChildCommand(
            arguments=[sys.executable, "-P", "-m", module, *arguments],
            environment={**inherited, **(environment or {}), **credentials},
            inherited_fds=[file.fileno() for file in secret_files],
        )
    finally:
        for file in secret_files:
            file.close()
