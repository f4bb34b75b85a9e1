"""A study that real processes of the command line work on, in a folder of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).with_name("widthwise"))


class CommandStudy:
    """A study on SQLite."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.environment = {**os.environ, "WIDTHWISE_STORAGE": f"sqlite:///{folder / 'study.db'}"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err

    def report(self) -> Any:
        code, out, err = self.end("report", self.name, "--json")
        assert code == 0, err
        return json.loads(out)

    def states(self) -> list[str]:
        return [state for (state,) in self.rows("select state from widthwise_slot")]

    def events(self) -> list[str]:
        return [kind for (kind,) in self.rows("select kind from widthwise_event")]

    def rows(self, query: str) -> list[Any]:
        """What a query finds; nothing while there is no such table yet."""
        path = self.folder / "study.db"
        if not path.exists():
            return []
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            connection.close()
