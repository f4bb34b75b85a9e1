"""An example of the repository, run by the real command line in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import optuna

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
_COMMAND = Path(sys.executable).with_name("widthwise")


@dataclass(frozen=True)
class ExampleRun:
    """A folder in which examples run."""

    folder: Path

    def start(self, name: str, *options: str) -> subprocess.Popen[str]:
        for file in EXAMPLES.glob(f"{name}.*"):
            shutil.copy(file, self.folder)
        return subprocess.Popen(
            [_COMMAND, "run", f"{name}.toml", "--no-confirm", "--json", *options],
            cwd=self.folder,
            env={
                **{key: value for key, value in os.environ.items() if "STORAGE" not in key},
                "OMP_NUM_THREADS": "1",
                "HF_HUB_OFFLINE": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        process = self.start(name, *options)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def wait_for_file(self, pattern: str, process: subprocess.Popen[str]) -> None:
        """Wait until a file is there; `process` is what makes it."""
        deadline = time.monotonic() + 200
        while not any(self.folder.glob(pattern)):
            assert process.poll() is None, "it ended before"
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.02)

    def values(self, study: str) -> list[float]:
        """Return the metrics of a study's trials, as Optuna has them."""
        loaded = optuna.load_study(
            study_name=study, storage=f"sqlite:///{self.folder / 'widthwise.db'}"
        )
        return [float(trial.value) for trial in loaded.trials if trial.value is not None]

    def foreign_files(self) -> list[str]:
        """Return what lies there besides the example and the study."""
        return sorted(
            path.name
            for path in self.folder.iterdir()
            if not path.name.startswith("widthwise.db")
            and path.name != "__pycache__"
            and not (EXAMPLES / path.name).exists()
        )
