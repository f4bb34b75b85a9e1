"""Keeping: a keeper is given the snapshots of the candidates that have moved on.

Entry points: `Keeping`, `loaded`.
"""

import logging
from collections.abc import Hashable
from typing import final

from ..errors import reason
from ..training.snapshot import Keeper, Snapshot
from .candidates import Cohort

_log = logging.getLogger(__name__)


def loaded(keeper: Keeper | None, candidates: int) -> dict[int, Snapshot]:
    """Return where candidates go on from, those of which there is something."""
    if keeper is None:
        return {}
    found = {place: keeper.load(place) for place in range(candidates)}
    return {place: one for place, one in found.items() if one is not None}


@final
class Keeping:
    """Gives a keeper what it does not have yet."""

    def __init__(self, keeper: Keeper | None, cohort: Cohort, candidates: int) -> None:
        """Begin with what was loaded, or with nothing worth keeping.

        Args:
            keeper: Who keeps it; None for nobody.
            cohort: The candidates, before any is trained.
            candidates: How many.
        """
        self._keeper, self._cohort = keeper, cohort
        self._kept: list[Hashable] = [cohort.version(place) for place in range(candidates)]
        self._complained: set[int] = set()

    def keep(self) -> None:
        """Take and give snapshots, if they are due; what cannot be stored is said once."""
        if self._keeper is None or not self._keeper.due():
            return
        for place, kept in enumerate(self._kept):
            version = self._cohort.version(place)
            if version == kept:
                continue
            snapshot = self._taken(place)
            if snapshot is not None:
                self._keeper.save(place, snapshot)
                self._kept[place] = version

    def _taken(self, place: int) -> Snapshot | None:
        try:
            return self._cohort.snapshot(place)
        except Exception as error:  # the model's code, or memory: the training itself goes on
            if place not in self._complained:
                self._complained.add(place)
                _log.warning("a training cannot be checkpointed: %s", reason(error))
            return None
