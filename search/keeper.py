"""The keeper: writes the checkpoints of trials in training, and finds those to go on with.

Entry points: `BatchKeeper`, `KeptTrial`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from ..objectives import checkpoint
from ..objectives.snapshot import Snapshot
from .checkpoints import Checkpoints

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
    """Keeps the checkpoints of trials in training; see `objectives.snapshot.Keeper`."""

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
        return checkpoint.read(self._checkpoints.slot(trial.number), self._identity(trial))

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
            checkpoint.write(checkpoints.slot(trial.number), snapshot, self._identity(trial))
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
