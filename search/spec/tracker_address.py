"""Addresses of trackers: `tensorboard:runs`, `mlflow:http://mlflow:5000`, `wandb:PROJECT`.

Entry points: `TrackerAddress`, `check_tracker`, `parse_track_option`.
"""

from __future__ import annotations

import enum
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import SpecError

_SQLITE = "sqlite:///"
_MAX_LENGTH = 500


class TrackerKind(enum.StrEnum):
    """The libraries that can be told of trials."""

    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"


@dataclass(frozen=True, kw_only=True)
class TrackerAddress:
    """A tracker, and where it keeps what it is told.

    Attributes:
        kind: The library.
        target: A folder (tensorboard), a tracking URI or a SQLite file (mlflow), a project
            (wandb); empty for the usual one.
    """

    kind: TrackerKind
    target: str = ""

    @classmethod
    def parse(cls, text: str) -> TrackerAddress:
        """Return the address that a text says.

        Raises:
            ValueError: It says none.
        """
        kind, _, target = text.strip().partition(":")
        if kind not in set(TrackerKind) or len(text) > _MAX_LENGTH or re.search(r"[\0\n]", text):
            raise ValueError(
                f"found {text[:60]!r}, expected tensorboard:FOLDER, mlflow:URI or wandb:PROJECT"
            )
        if re.search(r"://[^/@]*:[^/@]*@", target):
            raise ValueError(
                f"found a password in the address of {kind}, which a spec and a process list "
                "show; expected it in the environment, as in MLFLOW_TRACKING_URI"
            )
        return cls(kind=TrackerKind(kind), target=target.strip())

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}" if self.target else str(self.kind)

    def below(self, folder: Path) -> TrackerAddress:
        """Return the address with a relative folder or file taken as one below `folder`."""
        target = self.target
        if self.kind is TrackerKind.TENSORBOARD:
            target = str(folder / (target or "runs"))
        elif self.kind is TrackerKind.MLFLOW:
            # An empty one is MLflow's own, if its variable is set on the machine that trains.
            if not target and not os.environ.get("MLFLOW_TRACKING_URI"):
                target = "mlflow.db"
            if target.startswith(_SQLITE):
                target = f"{_SQLITE}{folder / target.removeprefix(_SQLITE)}"
            elif target and not re.match(r"[a-z][a-z0-9+.-]*:", target) and target != "databricks":
                target = f"{_SQLITE}{folder / target}"
        return TrackerAddress(kind=self.kind, target=target)


def check_tracker(text: str) -> str:
    """Return an address as it was written, once it is known to be one.

    Raises:
        ValueError: It is none.
    """
    return str(TrackerAddress.parse(text))


def parse_track_option(text: str) -> str:
    """Parse `--track`; a relative folder is one below the current one.

    Raises:
        SpecError: It is no address of a tracker.
    """
    try:
        return str(TrackerAddress.parse(text).below(Path.cwd()))
    except ValueError as error:
        raise SpecError(f"--track: {error}") from None
