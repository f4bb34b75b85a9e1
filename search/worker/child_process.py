"""Child processes: modules of this package run as programs, with the storage out of sight.

The storage's URL goes through the environment, its secrets through files that only the child
inherits; neither stands on a command line. The current folder is not on the child's path (`-P`):
a user's `queue.py` there would be run in place of the standard library's.

A child may start processes of its own (user code does), and these may outlive it, in a session of
their own or not. `kill_family` ends them with it: they are known by the child's session, and by a
variable of the environment that they inherit.

Entry points: `child_command`; `kill_family`, for whoever started a child;
`kill_descendants` and `keep_descriptors`, for the child.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy.engine import URL

from ...storage.database.password import child_credentials
from ...storage.database.url import STORAGE_VARIABLES

FAMILY_VARIABLE = "WIDTHWISE_FAMILY"
"""Names the child that a process descends from; each child's value is its own."""

# What was forked while the others were killed is found in the next round.
_KILL_ROUNDS = 20
_KILL_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class ChildCommand:
    """What `subprocess.Popen` needs to start a module.

    Attributes:
        arguments: The command line.
        environment: All variables of the child.
        inherited_fds: Descriptors that it inherits.
        family: What `kill_family` knows its descendants by.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    inherited_fds: Sequence[int]
    family: str


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
    family = secrets.token_hex(16)
    try:
        yield ChildCommand(
            arguments=[sys.executable, "-P", "-m", module, *arguments],
            environment={
                **inherited,
                **(environment or {}),
                **credentials,
                FAMILY_VARIABLE: family,
            },
            inherited_fds=[file.fileno() for file in secret_files],
            family=family,
        )
    finally:
        for file in secret_files:
            file.close()


def kill_family(leader_pid: int, family: str) -> None:
    """Kill a child that leads a session, and whatever descends from it.

    Call it before the child is waited for: until then no other process can have its id. What left
    the session and emptied its environment too is not found; what may not be killed is left.

    Args:
        leader_pid: Of the child, which may have ended.
        family: As its `ChildCommand` says.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.kill(leader_pid, signal.SIGKILL)
    _kill_members(leader_pid, family)


def kill_descendants() -> None:
    """Kill whatever descends from this process, which is a child that leads a session."""
    _kill_members(os.getpid(), os.environ.get(FAMILY_VARIABLE, ""))


def _kill_members(leader_pid: int, family: str) -> None:
    for _ in range(_KILL_ROUNDS):
        members = [
            process for process in psutil.process_iter() if _is_member(process, leader_pid, family)
        ]
        if not members:
            return
        for process in members:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(_KILL_PAUSE_SECONDS)


def _is_member(process: psutil.Process, leader_pid: int, family: str) -> bool:
    """Return whether another process that lives descends from a child."""
    try:
        if process.pid in (leader_pid, os.getpid()) or process.status() == psutil.STATUS_ZOMBIE:
            return False
        in_session = os.getsid(process.pid) == leader_pid
        return in_session or process.environ().get(FAMILY_VARIABLE) == family
    except (psutil.Error, OSError):
        return False  # it has ended, or is somebody else's


def keep_descriptors() -> None:
    """Keep the descriptors that this process inherited from what it will start."""
    for name in [path.name for path in Path("/dev/fd").iterdir()]:
        if int(name) > 2:
            with suppress(OSError):  # the listing's own is closed by now
                os.set_inheritable(int(name), False)
