"""A study that real processes of the command line work on, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import psutil
from rich.console import Console
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from widthwise.search.spec.spec import load_spec
from widthwise.search.study import create_or_join_study
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.ledger import SlotRecord
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.study.study import load_study
from widthwise.tests.command_line import CommandResult, run_in_process

from .judge import audit

COMMAND = str(Path(sys.executable).with_name("widthwise"))


class CommandStudy:
    """A study on SQLite, or where `url` says. The tests here end the processes it started."""

    started: ClassVar[list[subprocess.Popen[str]]] = []

    def __init__(self, folder: Path, name: str, url: str | None = None) -> None:
        self.folder, self.name = folder, name
        self.url = url or f"sqlite:///{folder / 'study.db'}"
        self.environment = {**os.environ, "WIDTHWISE_STORAGE": self.url}

    def submit(self, spec: str) -> None:
        """Put the study of a spec file of its folder into the database; nobody begins it."""
        with Database.open(resolve_url(self.url, {})) as database:
            parsed = load_spec(self.folder / spec)
            create_or_join_study(parsed, self.folder, lambda: database, Console(quiet=True))

    def start(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    @classmethod
    def kill_all(cls) -> None:
        """Kill what a test that failed left at work, with all that it started."""
        for process in cls.started:
            if process.poll() is None:
                descendants = psutil.Process(process.pid).children(recursive=True)
                for started_process in (process, *descendants):
                    with suppress(psutil.NoSuchProcess):
                        started_process.kill()
                process.communicate()
        cls.started.clear()

    def run_command(self, *arguments: str) -> CommandResult:
        """Run a command to its end; `err` holds what its processes say too."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        return CommandResult(process.returncode, out, err)

    def run_in_process(self, *arguments: str) -> CommandResult:
        """Run a command that nobody harms inside this process, which is seconds sooner."""
        return run_in_process(self.folder, self.environment, *arguments)

    def wait_until(self, process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
        """Wait for something to be so while a process runs."""
        deadline = time.monotonic() + 120
        while not condition():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, f"it never came so far: {self.slot_states()}"
            time.sleep(0.05)

    def report(self) -> Any:
        result = self.run_in_process("report", self.name, "--json")
        assert result.code == 0, result.err
        return result.json

    def audit(self) -> dict[str, int]:
        """See `judge.audit`."""
        with self.database() as database:
            return audit(database, load_study(database, self.name))

    def records(self) -> list[SlotRecord]:
        """What the ledger holds."""
        with self.database() as database:
            study = load_study(database, self.name)
            return LedgerReader(database, study).records()

    @contextmanager
    def database(self) -> Iterator[Database]:
        with Database.open(resolve_url(self.url, {}), create=False) as opened:
            yield opened

    def slot_states(self) -> list[str]:
        return [state for (state,) in self.query_rows("select state from widthwise_slot")]

    def event_kinds(self) -> list[str]:
        return [kind for (kind,) in self.query_rows("select kind from widthwise_event order by id")]

    def query_rows(self, query: str) -> list[Any]:
        """What a query finds; nothing while there is no such table yet."""
        url = resolve_url(self.url, {})
        if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
            return []
        engine = create_engine(url, poolclass=NullPool)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        except DBAPIError:
            return []
