"""What the processes of a swarm tell each other: how far the harm is done, and who holds a slot.

The study's budget may be claimed no faster than the harm is done, so that it never ends before.
"""

from __future__ import annotations

import enum
import mmap

NO_SEAT = 4095
"""Of a worker that nobody watches."""

AHEAD = 8
"""Slots that may be done before any harm was."""


class Activity(enum.IntEnum):
    """What a worker is at."""

    STARTING = 0
    WORKING = 1
    HOLDING = 2


class Board:
    """Bytes that a process shares with those it forks: one for the progress, one a seat.

    Args:
        budget: Slots of the study.
        overshoot: Slots that may be claimed at once by all who were let through.
    """

    def __init__(self, budget: int, overshoot: int) -> None:
        self._bytes = mmap.mmap(-1, NO_SEAT + 1)
        self._budget, self._overshoot = budget, overshoot

    def progress(self, percent: int) -> None:
        """Say how far the harm is done."""
        self._bytes[0] = percent

    def may_claim(self, open_slots: int) -> bool:
        """Whether so few slots are done that the harm keeps pace."""
        room = self._budget - AHEAD - self._overshoot
        done = self._budget - open_slots
        return self._bytes[0] == 100 or done < AHEAD + room * self._bytes[0] // 100

    def enter(self, seat: int, activity: Activity) -> None:
        """Say what the worker in a seat, from 1, is at."""
        self._bytes[seat] = activity

    def at(self, seat: int) -> Activity:
        """What the worker in a seat is at."""
        return Activity(self._bytes[seat])
