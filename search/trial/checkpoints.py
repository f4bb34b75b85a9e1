"""Checkpoints of trials: where they lie, how often they are written, when they are thrown away.

A trial's checkpoint lies in a folder of its slot, below one of its study. It is of use to whoever
runs that very slot next, on this machine or, where the folder is shared, on any other; without it
the same training begins anew and ends the same.

Entry points: `checkpoint_folder`, `StudyCheckpoints`. They are written by `keeper.BatchKeeper`.
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
from typing import TYPE_CHECKING, Any, final

from sqlalchemy.engine import URL

from ...storage.ledger.slot import StudyRow
from ..errors import SpecError

# A worker's own process only names the folder, and is spared loading torch.
if TYPE_CHECKING:
    from ...objectives.training.snapshot import Snapshot

FOLDER_VARIABLE = "WIDTHWISE_CHECKPOINTS"
INTERVAL_VARIABLE = "WIDTHWISE_CHECKPOINT_SECONDS"
_DEFAULT_INTERVAL = 30.0
"""Seconds of work that a killed worker may lose."""
_MAX_NAME_LENGTH = 64
"""Characters of a study's name that its folder shows."""


def checkpoint_folder(requested: str | None, url: URL, study: StudyRow) -> Path:
    """The folder of a study's checkpoints.

    Args:
        requested: What `--checkpoints` says; else WIDTHWISE_CHECKPOINTS counts, else it is beside a
            SQLite file, or in the user's folder for what programs keep.
        url: Where the study is stored.
        study: The study; another one of the same name has another folder.
    """
    root = requested or os.environ.get(FOLDER_VARIABLE)
    if root:
        parent = Path(root)
    elif url.get_backend_name() == "sqlite" and url.database:
        parent = Path(f"{url.database}.checkpoints")
    else:
        parent = _state_folder() / "widthwise" / "checkpoints"
    safe_name = re.sub(r"[^A-Za-z0-9_-]+", "-", study.name)[:_MAX_NAME_LENGTH]
    # The database's clock at its beginning: all workers see the same, however they name the host.
    identity = f"{study.fingerprint} {study.name} {study.created_at!r}"
    return parent.absolute() / f"{safe_name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _state_folder() -> Path:
    """Where programs keep what is not worth a backup (XDG Base Directory Specification 0.8)."""
    configured = os.environ.get("XDG_STATE_HOME")
    if configured:
        return Path(configured)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:  # a container's user may have no home
        return Path(tempfile.gettempdir())


@final
@dataclass(kw_only=True)
class StudyCheckpoints:
    """The checkpoints of one study.

    Attributes:
        folder: Where they lie, one folder a slot.
        fingerprint: Of the study: other code's checkpoints are not gone on with.
        interval: Seconds between two of a trial in training.
        write_failing: Whether the last one could not be written.
    """

    folder: Path
    fingerprint: str
    interval: float = _DEFAULT_INTERVAL
    write_failing: bool = field(default=False, init=False)

    @classmethod
    def from_environment(cls, folder: Path, fingerprint: str) -> StudyCheckpoints:
        """As often as WIDTHWISE_CHECKPOINT_SECONDS says; 0 is after every epoch.

        Raises:
            SpecError: It says no number of seconds.
        """
        interval = os.environ.get(INTERVAL_VARIABLE) or str(_DEFAULT_INTERVAL)
        if not re.fullmatch(r"\d+(\.\d+)?", interval):
            raise SpecError(
                f'{INTERVAL_VARIABLE} is "{interval}", expected seconds, such as 30; 0 is every epoch'
            )
        return cls(folder=folder, fingerprint=fingerprint, interval=float(interval))

    def slot_folder(self, number: int) -> Path:
        """The folder of a slot."""
        return self.folder / str(number)

    def discard(self, number: int) -> None:
        """Throw a slot's checkpoints away: it is settled."""
        # What cannot be removed is in nobody's way.
        shutil.rmtree(self.slot_folder(number), ignore_errors=True)

    def discard_settled(self, settled: Collection[int]) -> None:
        """Throw away what is left of slots that ended elsewhere, or with their process."""
        try:
            folder_names = [path.name for path in self.folder.iterdir() if path.name.isdigit()]
        except OSError:
            return
        for number in {int(name) for name in folder_names} & set(settled):
            self.discard(number)


_log = logging.getLogger(__name__)


@final
@dataclass(frozen=True, kw_only=True)
class CheckpointedTrial:
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
class CheckpointWriter:
    """Keeps the checkpoints of trials in training; see `objectives.training.snapshot.SnapshotStore`."""

    def __init__(
        self,
        checkpoints: StudyCheckpoints,
        trials: Sequence[CheckpointedTrial],
        stop_requested: Callable[[], bool],
        lost: Callable[[], frozenset[int]],
    ) -> None:
        """Begin the time to the first checkpoint.

        Args:
            checkpoints: Of their study.
            trials: In the order of the training.
            stop_requested: Whether the worker was asked to stop.
            lost: Numbers of the slots that another worker may hold by now.
        """
        self._checkpoints, self._trials = checkpoints, trials
        self._stop_requested, self._lost = stop_requested, lost
        self._reported_lost: frozenset[int] = frozenset()
        self._next_due = time.monotonic() + checkpoints.interval

    def load(self, index: int) -> Snapshot | None:
        """The last whole checkpoint of a trial; None where there is none."""
        from ...objectives.training import checkpoint_file

        trial = self._trials[index]
        return checkpoint_file.read(
            self._checkpoints.slot_folder(trial.number), self._identity(trial)
        )

    def due(self) -> bool:
        """Whether to write checkpoints now: on a stop, of what was taken away, or by the clock."""
        lost = self._lost()
        # Taken away may mean paused: whoever goes on with it starts here.
        newly_lost, self._reported_lost = bool(lost - self._reported_lost), lost
        return newly_lost or self._stop_requested() or time.monotonic() >= self._next_due

    def save(self, index: int, snapshot: Snapshot) -> None:
        """Write a trial's checkpoint; one that cannot be written is no reason to stop training."""
        from ...objectives.training import checkpoint_file

        trial, checkpoints = self._trials[index], self._checkpoints
        try:
            checkpoint_file.write(
                checkpoints.slot_folder(trial.number), snapshot, self._identity(trial)
            )
        except (OSError, MemoryError) as error:
            self._warn_unwritable(error)
        else:
            checkpoints.write_failing = False
        self._next_due = time.monotonic() + checkpoints.interval

    def _identity(self, trial: CheckpointedTrial) -> dict[str, Any]:
        return trial.identity(self._checkpoints.fingerprint)

    def _warn_unwritable(self, error: Exception) -> None:
        if not self._checkpoints.write_failing:
            _log.warning(
                "no checkpoints can be written to %s (%s): the training goes on, and an "
                "interrupted trial begins anew; name another folder with --checkpoints",
                self._checkpoints.folder,
                error,
            )
        self._checkpoints.write_failing = True
