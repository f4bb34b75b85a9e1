"""Checkpoints of trials: where they lie, how often they are written, when they are thrown away.

A trial's checkpoint lies in a folder of its slot, below one of its study. It is of use to whoever
runs that very slot next, on this machine or, where the folder is shared, on any other; without it
the same training begins anew and ends the same.

Entry points: `folder_for`, `Checkpoints`. They are written by `keeper.BatchKeeper`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from sqlalchemy.engine import URL

from ...objectives.training import checkpoint_file
from ...objectives.training.snapshot import Snapshot
from ...storage.ledger.slot import StudyRow
from ..errors import SpecError

FOLDER = "WIDTHWISE_CHECKPOINTS"
EVERY = "WIDTHWISE_CHECKPOINT_SECONDS"
_EVERY = 30.0
"""Seconds of work that a killed worker may lose."""
_NAME = 64
"""Characters of a study's name that its folder shows."""


def folder_for(given: str | None, url: URL, study: StudyRow) -> Path:
    """The folder of a study's checkpoints.

    Args:
        given: What `--checkpoints` says; else WIDTHWISE_CHECKPOINTS counts, else it is beside a
            SQLite file, or in the user's folder for what programs keep.
        url: Where the study is stored.
        study: The study; another one of the same name has another folder.
    """
    root = given or os.environ.get(FOLDER)
    if root:
        parent = Path(root)
    elif url.get_backend_name() == "sqlite" and url.database:
        parent = Path(f"{url.database}.checkpoints")
    else:
        parent = _state_home() / "widthwise" / "checkpoints"
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", study.name)[:_NAME]
    # The database's clock at its beginning: all workers see the same, however they name the host.
    identity = f"{study.fingerprint} {study.name} {study.created_at!r}"
    return parent.absolute() / f"{safe}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _state_home() -> Path:
    """Where programs keep what is not worth a backup (XDG Base Directory Specification 0.8)."""
    given = os.environ.get("XDG_STATE_HOME")
    if given:
        return Path(given)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:  # a container's user may have no home
        return Path(tempfile.gettempdir())


@final
@dataclass(kw_only=True)
class Checkpoints:
    """The checkpoints of one study.

    Attributes:
        folder: Where they lie, one folder a slot.
        fingerprint: Of the study: other code's checkpoints are not gone on with.
        every: Seconds between two of a trial in training.
        failing: Whether the last one could not be written.
    """

    folder: Path
    fingerprint: str
    every: float = _EVERY
    failing: bool = field(default=False, init=False)

    @classmethod
    def of(cls, folder: Path, fingerprint: str) -> Checkpoints:
        """As often as WIDTHWISE_CHECKPOINT_SECONDS says; 0 is after every epoch.

        Raises:
            SpecError: It says no number of seconds.
        """
        said = os.environ.get(EVERY) or str(_EVERY)
        if not re.fullmatch(r"\d+(\.\d+)?", said):
            raise SpecError(f'{EVERY} is "{said}", expected seconds, such as 30; 0 is every epoch')
        return cls(folder=folder, fingerprint=fingerprint, every=float(said))

    def slot(self, number: int) -> Path:
        """The folder of a slot."""
        return self.folder / str(number)

    def discard(self, number: int) -> None:
        """Throw a slot's checkpoints away: it is settled."""
        # What cannot be removed is in nobody's way.
        shutil.rmtree(self.slot(number), ignore_errors=True)

    def sweep(self, settled: Collection[int]) -> None:
        """Throw away what is left of slots that ended elsewhere, or with their process."""
        try:
            found = [one.name for one in self.folder.iterdir() if one.name.isdigit()]
        except OSError:
            return
        for number in {int(name) for name in found} & set(settled):
            self.discard(number)


_log = logging.getLogger(__name__)


@final
@dataclass(frozen=True, kw_only=True)
class KeptTrial:
    """What a checkpoint has to be of to be gone on with.

    Attributes:
        number: The slot.
        widths: Its candidate.
        seed: Of its training.
    """

    number: int
    widths: Mapping[str, int]
    seed: int

    def identity(self, fingerprint: str) -> dict[str, Any]:
        """What is written into its checkpoints, and has to be found there."""
        return {
            "fingerprint": fingerprint,
            "slot": self.number,
            "widths": dict(self.widths),
            "seed": self.seed,
        }


@final
class BatchKeeper:
    """Keeps the checkpoints of trials in training; see `objectives.training.snapshot.Keeper`."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        trials: Sequence[KeptTrial],
        stopping: Callable[[], bool],
        lost: Callable[[], frozenset[int]],
    ) -> None:
        """Begin the time to the first checkpoint.

        Args:
            checkpoints: Of their study.
            trials: In the order of the training.
            stopping: Whether the worker was asked to stop.
            lost: Numbers of the slots that another worker may hold by now.
        """
        self._checkpoints, self._trials = checkpoints, trials
        self._stopping, self._lost = stopping, lost
        self._seen: frozenset[int] = frozenset()
        self._next = time.monotonic() + checkpoints.every

    def load(self, place: int) -> Snapshot | None:
        """The last whole checkpoint of a trial; None where there is none."""
        trial = self._trials[place]
        return checkpoint_file.read(self._checkpoints.slot(trial.number), self._identity(trial))

    def due(self) -> bool:
        """Whether to write checkpoints now: on a stop, of what was taken away, or by the clock."""
        lost = self._lost()
        # Taken away may mean paused: whoever goes on with it starts here.
        taken, self._seen = bool(lost - self._seen), lost
        return taken or self._stopping() or time.monotonic() >= self._next

    def save(self, place: int, snapshot: Snapshot) -> None:
        """Write a trial's checkpoint; one that cannot be written is no reason to stop training."""
        trial, checkpoints = self._trials[place], self._checkpoints
        try:
            checkpoint_file.write(checkpoints.slot(trial.number), snapshot, self._identity(trial))
        except (OSError, MemoryError) as error:
            self._complain(error)
        else:
            checkpoints.failing = False
        self._next = time.monotonic() + checkpoints.every

    def _identity(self, trial: KeptTrial) -> dict[str, Any]:
        return trial.identity(self._checkpoints.fingerprint)

    def _complain(self, error: Exception) -> None:
        if not self._checkpoints.failing:
            _log.warning(
                "no checkpoints can be written to %s (%s): the training goes on, and an "
                "interrupted trial begins anew; name another folder with --checkpoints",
                self._checkpoints.folder,
                error,
            )
        self._checkpoints.failing = True
