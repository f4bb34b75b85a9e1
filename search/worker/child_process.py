"""Child processes: modules of this package run as programs, with the storage out of sight.

The storage's URL goes through the environment, its password through a file that only the child
inherits; neither stands on a command line.

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
    credentials, password_file = child_credentials(url)
    # A second URL with its password is of no use to the child.
    inherited = {name: value for name, value in os.environ.items() if name != "OPTUNA_STORAGE"}
    try:
        yield ChildCommand(
            arguments=[sys.executable, "-m", module, *arguments],
            environment={**inherited, **(environment or {}), **credentials},
            inherited_fds=[] if password_file is None else [password_file.fileno()],
        )
    finally:
        if password_file is not None:
            password_file.close()
