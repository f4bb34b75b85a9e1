"""Running the real command in real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from widthwise.storage.database.database import Database, resolve_url
from widthwise.tests.command_line import CommandResult, run_in_process
from widthwise.tests.search.bench import HarnessFactory, make_harness

COMMAND = Path(sys.executable).with_name("widthwise")

SPEC = """\
[study]
name = "iris"
trials = 8
[model]
family = "mlp"
[widths]
a = { low = 2, high = 32, step = 2 }
b = [2, 4, 8, 16]
order = "non-increasing"
[limits]
flops = "1k"
parameters = 400
train_memory = "256 KiB"
[proxy]
data = "iris"
epochs = 2
batch_size = 32
learning_rate = 0.05
"""
"""In six steps something is learned, at that rate: what learns nothing is stopped."""


@dataclass(frozen=True)
class CommandLine:
    """The command line in a folder of its own, with its own database."""

    folder: Path
    storage: str

    @property
    def environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if "STORAGE" not in key}
        return {**inherited, "WIDTHWISE_STORAGE": self.storage}

    def __call__(
        self, *arguments: str | Path, timeout: float = 280, **environment: str
    ) -> CommandResult:
        completed = subprocess.run(
            [COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return CommandResult(completed.returncode, completed.stdout, completed.stderr)

    def run_in_process(self, *arguments: str | Path) -> CommandResult:
        """Run a command inside this process: seconds sooner, for commands that start no others."""
        return run_in_process(self.folder, {"WIDTHWISE_STORAGE": self.storage}, *arguments)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command and go on."""
        return subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


def copy_study(iris_cli: CommandLine, folder: Path) -> CommandLine:
    """A finished study of one's own, as it came out of `run`."""
    shutil.copy(iris_cli.folder / "study.db", folder / "study.db")
    return CommandLine(folder, f"sqlite:///{folder / 'study.db'}")


@pytest.fixture
def new_harness(tmp_path: Path) -> Iterator[HarnessFactory]:
    """Make small studies in this process, on a SQLite file of their own."""
    url = resolve_url(f"sqlite:///{tmp_path / 'study.db'}")
    with Database.open(url, create=True) as database:
        yield lambda **options: make_harness(tmp_path, database, **options)


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """The command line on SQLite."""
    return CommandLine(tmp_path, f"sqlite:///{tmp_path / 'study.db'}")


@pytest.fixture(scope="session")
def iris_cli(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A folder with a finished study `iris_cli` of 8 trials, run by 2 workers; do not change it."""
    folder = tmp_path_factory.mktemp("iris")
    cli = CommandLine(folder, f"sqlite:///{folder / 'study.db'}")
    cli.write("iris.toml", SPEC)
    result = cli("run", "iris.toml", "--workers", "2", "--json")
    assert result.code == 0, result.err
    (folder / "run.json").write_text(result.out)
    (folder / "run.err").write_text(result.err)
    return cli
