"""Checkpoints of trials: where they are, how often they are written, when they are deleted.

A trial's checkpoint is in a folder of its slot, below one of its study. It is of use to whoever
runs that very slot next, on this machine or, where the folder is shared, on any other; without it
the same training begins anew and ends the same.

The weights of a final training stay: `weights/NUMBER.safetensors`, beside the folders of the slots.

Entry points: `checkpoint_folder`, `study_digest`; `StudyCheckpoints`; `CheckpointWriter`, which
writes them; `own_folder`, for trainings of the user's own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sqlalchemy.engine import URL

from ...storage.ledger.slot import StudyRow
from ..errors import SpecError
from .watch import BatchWatch

# A worker's own process only names the folder, and is spared loading torch.
if TYPE_CHECKING:
    from ...objectives.training.snapshot import Snapshot
    from .bind import BoundSlot

_log = logging.getLogger(__name__)

FOLDER_VARIABLE = "WIDTHWISE_CHECKPOINTS"
INTERVAL_VARIABLE = "WIDTHWISE_CHECKPOINT_SECONDS"
_DEFAULT_INTERVAL = 30.0
"""Seconds of work that a killed worker may lose."""
_MAX_NAME_LENGTH = 64
"""Characters of a study's name that its folder shows."""


def checkpoint_folder(requested: Path | None, url: URL, study: StudyRow) -> Path:
    """Return the folder of a study's checkpoints.

    Args:
        requested: What `--checkpoints` says; else WIDTHWISE_CHECKPOINTS counts, else it is beside a
            SQLite file, or in the user's folder for what programs keep.
        url: Where the study is stored.
        study: The study; another one of the same name has another folder.
    """
    configured = os.environ.get(FOLDER_VARIABLE)
    if requested is not None:
        parent = requested
    elif configured:
        parent = Path(configured)
    elif url.get_backend_name() == "sqlite" and url.database:
        parent = Path(f"{url.database}.checkpoints")
    else:
        parent = _state_folder() / "widthwise" / "checkpoints"
    safe_name = re.sub(r"[^A-Za-z0-9_-]+", "-", study.name)[:_MAX_NAME_LENGTH]
    return parent.absolute() / f"{safe_name}-{study_digest(study)}"


def study_digest(study: StudyRow) -> str:
    """Return 12 letters and digits that are this study's alone, also where the name comes again."""
    # The database's clock at its beginning: all workers see the same, however they name the host.
    identity = f"{study.fingerprint} {study.name} {study.created_at!r}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _state_folder() -> Path:
    """Return where programs keep what needs no backup (XDG Base Directory Specification 0.8)."""
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
        """Write as often as WIDTHWISE_CHECKPOINT_SECONDS says; 0 is after every epoch.

        Raises:
            SpecError: It says no number of seconds.
        """
        interval = os.environ.get(INTERVAL_VARIABLE) or str(_DEFAULT_INTERVAL)
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", interval):
            raise SpecError(
                f'{INTERVAL_VARIABLE} is "{interval}", expected seconds, such as 30; 0 is every '
                "epoch"
            )
        return cls(folder=folder, fingerprint=fingerprint, interval=float(interval))

    def warn_unwritable(self, error: Exception) -> None:
        """Warn that checkpoints cannot be written, until one can be again."""
        if not self.write_failing:
            _log.warning(
                "no checkpoints can be written to %s (%s): the training goes on, and an "
                "interrupted trial begins anew; name another folder with --checkpoints",
                self.folder,
                error,
            )
        self.write_failing = True

    def slot_folder(self, number: int) -> Path:
        """Return the folder of a slot."""
        return self.folder / str(number)

    def identity(self, trial: BoundSlot) -> dict[str, Any]:
        """Return what a checkpoint has to be of to be gone on with by a trial."""
        return {
            "fingerprint": self.fingerprint,
            "slot": trial.slot.number,
            "widths": dict(trial.widths),
            "seed": trial.seed,
            # Those of earlier releases, which knew no overrides, are gone on with.
            **({"overrides": dict(trial.slot.overrides)} if trial.slot.overrides else {}),
        }

    def prepare(self, trial: BoundSlot) -> tuple[Path | None, dict[str, Any]]:
        """Make the folder of a trial whose training keeps files of its own.

        Returns:
            The folder, or None where it cannot be made, which is logged; and the trial's identity.
        """
        folder = self.slot_folder(trial.slot.number)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.warn_unwritable(error)
            return None, self.identity(trial)
        return folder, self.identity(trial)

    def weights_file(self, number: int) -> Path:
        """Return the file that holds, or will, the weights of a final training."""
        return self.folder / "weights" / f"{number}.safetensors"

    def keep_weights(self, trial: BoundSlot, weights: Mapping[str, Any]) -> None:
        """Write the weights of a final training; raises OSError where that cannot be done."""
        from ...objectives.training import checkpoint_file

        file = self.weights_file(trial.slot.number)
        checkpoint_file.write_weights(file, weights, self.identity(trial))

    def discard(self, number: int) -> None:
        """Delete the checkpoints of a slot that is settled."""
        # What cannot be removed is in nobody's way.
        shutil.rmtree(self.slot_folder(number), ignore_errors=True)

    def discard_settled(self, settled: Collection[int]) -> None:
        """Delete what is left of slots that ended elsewhere, or with their process."""
        try:
            folder_names = [path.name for path in self.folder.iterdir() if path.name.isdigit()]
        except OSError:
            return
        for number in {int(name) for name in folder_names} & set(settled):
            self.discard(number)


@final
class CheckpointWriter:
    """Keeps the checkpoints of trials in training: a `SnapshotStore` of the training loop."""

    def __init__(
        self,
        checkpoints: StudyCheckpoints,
        trials: Sequence[BoundSlot],
        watch: BatchWatch,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin the time to the first checkpoint.

        Args:
            checkpoints: Of their study.
            trials: In the order of the training.
            watch: What may interrupt them.
            clock: Seconds that never go back.
        """
        self._checkpoints, self._trials, self._watch = checkpoints, trials, watch
        self._clock = clock
        self._reported_lost: frozenset[int] = frozenset()
        self._next_due = clock() + checkpoints.interval

    def load(self, index: int) -> Snapshot | None:
        """Return the last whole checkpoint of a trial; None where there is none."""
        from ...objectives.training import checkpoint_file

        folder, identity = self._folder_and_identity(index)
        return checkpoint_file.read(folder, identity)

    def due(self) -> bool:
        """Return whether to write checkpoints now: on a stop, when slots were lost, or by clock."""
        lost = self._watch.lost()
        # A slot that was paused is lost to us, too: whoever goes on with it starts here.
        newly_lost, self._reported_lost = bool(lost - self._reported_lost), lost
        return newly_lost or self._watch.stop_requested() or self._clock() >= self._next_due

    def save(self, index: int, snapshot: Snapshot) -> None:
        """Write a trial's checkpoint; one that cannot be written is no reason to stop training."""
        from ...objectives.training import checkpoint_file

        folder, identity = self._folder_and_identity(index)
        try:
            checkpoint_file.write(folder, snapshot, identity)
        except (OSError, MemoryError) as error:
            self._checkpoints.warn_unwritable(error)
        else:
            self._checkpoints.write_failing = False
        self._next_due = self._clock() + self._checkpoints.interval

    def _folder_and_identity(self, index: int) -> tuple[Path, dict[str, Any]]:
        """Return a trial's folder, and what a checkpoint has to be of to be gone on with."""
        trial = self._trials[index]
        folder = self._checkpoints.slot_folder(trial.slot.number)
        return folder, self._checkpoints.identity(trial)


@contextmanager
def own_folder(
    bound_slot: BoundSlot, checkpoints: StudyCheckpoints | None
) -> Iterator[tuple[Path, Mapping[str, object]]]:
    """Yield the folder of a training of the user's own, and what it has to be of to go on with it.

    Where none can be kept it is one that lasts as long as the training.
    """
    if checkpoints is not None:
        folder, identity = checkpoints.prepare(bound_slot)
        if folder is not None:
            yield folder, identity
            return
    with tempfile.TemporaryDirectory(prefix="widthwise-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary), {}
