"""Presence: a thread that says in the database, again and again, that this worker is there.

It runs for the whole life of a worker, also while it waits for work, so that `widthwise status`
shows every worker with what it does and when it was last heard of. Nothing depends on it: where the
database is away, the worker goes on and the sign grows old.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from types import TracebackType
from typing import final

from ..storage.database import Database
from ..storage.errors import StorageError
from ..storage.row import StudyRow
from ..storage.workers import Presence

_log = logging.getLogger(__name__)

# A worker that goes from batch to batch within moments need not say so each time.
_LEAST_SECONDS = 1.0
# How long the end of a worker waits for its sign to be taken down.
_LEAVE_SECONDS = 2.0


@final
class Announcer:
    """Announces one worker until the block ends, then takes its sign down.

    Example:
        ```python
        with Announcer(database, name="host:4711", beat_seconds=10.0) as announcer:
            announcer.tell("starting", study=row)
            announcer.tell("training", study=row, device="cpu: 24 GiB")
        ```
    """

    def __init__(self, database: Database, *, name: str, beat_seconds: float) -> None:
        self._presence = Presence(database, name=name, beat_seconds=beat_seconds)
        self._pause = beat_seconds
        self._said: tuple[str, StudyRow | None, str | None] = ("starting", None, None)
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._announce, name="presence", daemon=True)

    def __enter__(self) -> Announcer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._changed.set()
        self._thread.join(_LEAVE_SECONDS)

    def tell(
        self, activity: str, *, study: StudyRow | None = None, device: str | None = None
    ) -> None:
        """Say what this worker does from now on.

        Args:
            activity: "starting", "training" or "waiting".
            study: The study that it serves; None for none.
            device: What it trains on, once that is known.
        """
        said = (activity, study, device)
        if said != self._said:
            self._said = said
            self._changed.set()

    def _announce(self) -> None:
        least = min(_LEAST_SECONDS, self._pause)
        while not self._ended.is_set():
            self._changed.clear()
            self._say()
            self._ended.wait(least)
            self._changed.wait(self._pause - least)
        with suppress(StorageError):
            self._presence.leave()

    def _say(self) -> None:
        activity, study, device = self._said
        try:
            self._presence.announce(study=study, activity=activity, device=device)
        except StorageError as error:
            _log.debug("this worker could not be announced: %s", error)
