"""The command `widthwise` in real processes, as a launcher starts them: a bare environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import URL
from widthwise.storage.database.password import child_credentials

PROGRAMS_FOLDER = Path(sys.executable).parent


class Command:
    """`widthwise` in a folder, on a database.

    Args:
        folder: Where it works.
        url: The storage; its password goes into a file.
        environment: Variables beside the storage's.
    """

    def __init__(
        self, folder: Path, url: URL, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        credentials, inherited_files = child_credentials(url)
        for inherited_file in inherited_files:
            inherited_file.close()  # here the password goes into a file with a name
        inherited_names = ("HOME", "LANG", "RAY_TMPDIR", "TMPDIR")
        self.environment = {
            **{name: os.environ[name] for name in inherited_names if name in os.environ},
            "PATH": f"{PROGRAMS_FOLDER}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "WIDTHWISE_STORAGE": credentials["WIDTHWISE_STORAGE"],
            **(environment or {}),
        }
        if url.password:
            password_file = Path(tempfile.mkstemp(dir=folder)[1])
            password_file.write_text(str(url.password))
            self.environment["WIDTHWISE_STORAGE_PASSWORD_FILE"] = str(password_file)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start it in a process group of its own."""
        return subprocess.Popen(
            ["widthwise", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str | Path) -> str:
        """Run it to a good end; returns what it wrote to stdout."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out
