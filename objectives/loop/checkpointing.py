"""Checkpointing: a store is given the snapshots of the candidates that have changed.

Entry points: `Checkpointer`, `load_snapshots`.
"""

import logging
from collections.abc import Hashable
from typing import final

from ..errors import describe_error
from ..interrupt import raise_if_interrupt
from ..training.snapshot import Snapshot, SnapshotStore
from .candidates import CandidateBatch

_log = logging.getLogger(__name__)


def load_snapshots(store: SnapshotStore | None, candidate_count: int) -> dict[int, Snapshot]:
    """Return the snapshots that a store has, by candidate; none without a store."""
    if store is None:
        return {}
    snapshots = {index: store.load(index) for index in range(candidate_count)}
    return {index: snapshot for index, snapshot in snapshots.items() if snapshot is not None}


@final
class Checkpointer:
    """Saves the snapshots that a store does not have yet."""

    def __init__(
        self, store: SnapshotStore | None, batch: CandidateBatch, candidate_count: int
    ) -> None:
        """Take the present state of the candidates as saved.

        Args:
            store: Where snapshots go; None to save none.
            batch: The candidates, before any is trained.
            candidate_count: How many there are.
        """
        self._store, self._batch = store, batch
        self._saved_versions: list[Hashable] = [
            batch.snapshot_version(index) for index in range(candidate_count)
        ]
        self._warned: set[int] = set()

    def save_changed(self) -> None:
        """Save the snapshots that have changed, if they are due.

        A candidate that cannot be stored is logged once, as a warning.
        """
        if self._store is None or not self._store.due():
            return
        for index, saved_version in enumerate(self._saved_versions):
            version = self._batch.snapshot_version(index)
            if version == saved_version:
                continue
            snapshot = self._take_snapshot(index)
            if snapshot is not None:
                self._store.save(index, snapshot)
                self._saved_versions[index] = version

    def _take_snapshot(self, index: int) -> Snapshot | None:
        try:
            return self._batch.snapshot(index)
        except BaseException as error:  # the model's code, or memory: the training itself goes on
            raise_if_interrupt(error)
            if index not in self._warned:
                self._warned.add(index)
                _log.warning("a training cannot be checkpointed: %s", describe_error(error))
            return None
