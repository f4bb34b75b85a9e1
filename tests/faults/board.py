"""What the processes of a swarm tell each other: how far the harm is done, and who holds a slot.

The study's budget may be claimed no faster than the harm is done, so that it never ends before.
"""

from __future__ import annotations

import enum
import mmap

UNWATCHED_WORKER = 4095
"""Of a worker that nobody watches."""

SLOTS_BEFORE_FAULTS = 8
"""Slots that may be done before any harm was."""


class Activity(enum.IntEnum):
    """What a worker is at."""

    STARTING = 0
    WORKING = 1
    HOLDING = 2


class StatusBoard:
    """Bytes that a process shares with those it forks: one for the progress, one a seat.

    Args:
        budget: Slots of the study.
        overshoot: Slots that may be claimed at once by all who were let through.
    """

    def __init__(self, budget: int, overshoot: int) -> None:
        self._bytes = mmap.mmap(-1, UNWATCHED_WORKER + 1)
        self._budget, self._overshoot = budget, overshoot

    def set_progress(self, percent: int) -> None:
        """Say how far the harm is done."""
        self._bytes[0] = percent

    def may_claim(self, open_slots: int) -> bool:
        """Whether so few slots are done that the harm keeps pace."""
        paced_slots = self._budget - SLOTS_BEFORE_FAULTS - self._overshoot
        done_slots = self._budget - open_slots
        return (
            self._bytes[0] == 100
            or done_slots < SLOTS_BEFORE_FAULTS + paced_slots * self._bytes[0] // 100
        )

    def set_activity(self, worker_index: int, activity: Activity) -> None:
        """Say what the worker in a seat, from 1, is at."""
        self._bytes[worker_index] = activity

    def activity_of(self, worker_index: int) -> Activity:
        """What the worker in a seat is at."""
        return Activity(self._bytes[worker_index])
