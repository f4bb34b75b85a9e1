"""Turns: two workers that propose at the same moment do not choose the same candidates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from widthwise.search.trial.bind import Binder
from widthwise.search.trial.history import build_history
from widthwise.search.trial.turn import ProposalTurn
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import Ledger, Slot
from widthwise.tests.search.bench import HarnessFactory, StudyHarness


class ManualClock:
    """A clock that only waiting moves, and what happens meanwhile."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.seconds, self._meanwhile = 0.0, meanwhile

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self._meanwhile()


def make_binder(study: StudyHarness, ledger: Ledger, clock: ManualClock) -> Binder:
    turn = ProposalTurn(reader=ledger.reader, clock=clock, sleep=clock.sleep)
    return Binder(problem=study.problem, ledger=ledger, projection=study.projection, turn=turn)


def count_events(study: StudyHarness, kind: str) -> int:
    return [event.kind for event in events.read(study.database, study.row)].count(kind)


def widths_of(slots: list[Slot]) -> set[int]:
    return {slot.widths["a"] for slot in slots if slot.widths}


@pytest.fixture
def study(new_harness: HarnessFactory) -> StudyHarness:
    """Of 40 candidates and 33 slots, nine of them trained."""
    study = new_harness(trials=33, at_once=3)
    supervisor = study.supervisor()
    for _ in range(3):
        supervisor.run_batch()
    return study


def test_who_claimed_later_proposes_once_the_others_are_bound(study: StudyHarness) -> None:
    first, second = study.ledger("first"), study.ledger("second")
    slots = {"first": first.claim_many(8), "second": second.claim_many(8)}
    bound: list[Slot] = []

    def bind_first() -> None:
        if not bound:
            bound.extend(make_binder(study, first, ManualClock()).bind(slots["first"]))

    clock = ManualClock(bind_first)
    later = make_binder(study, second, clock).bind(slots["second"])
    assert clock.seconds > 0
    assert len(widths_of(bound) | widths_of(later)) == 16
    assert count_events(study, "refused") == 0


def test_what_a_silent_worker_would_choose_is_left_to_it(study: StudyHarness) -> None:
    """It may be slow, and not dead."""
    first, second = study.ledger("first"), study.ledger("second")
    first_slots, second_slots = first.claim_many(4), second.claim_many(4)
    problem = study.problem
    past = build_history(problem.space, first.reader.tried(), problem.goal)
    first_choice = problem.suggester.suggest_batch(past, np.random.default_rng(0), 4)
    clock = ManualClock()
    binder = make_binder(study, second, clock)
    later = binder.bind(second_slots)
    assert not widths_of(later) & {suggestion.widths["a"] for suggestion in first_choice}
    waited = clock.seconds
    assert 0 < waited < 20
    # It is waited for once only.
    third_slots = second.claim_many(4)
    later += binder.bind(third_slots)
    assert clock.seconds == waited
    earlier = make_binder(study, first, ManualClock()).bind(first_slots)
    assert len(widths_of(earlier) | widths_of(later)) == 12


def test_a_queue_of_workers_that_get_on_is_waited_for_to_its_end(study: StudyHarness) -> None:
    """However long it is: each has its own few seconds."""
    ledgers = [study.ledger(f"worker {number}") for number in range(5)]
    claims = [ledger.claim_many(2) for ledger in ledgers]
    waiting = list(zip(ledgers, claims, strict=True))[:-1]
    clock = ManualClock()

    def bind_next() -> None:
        if clock.seconds > 6.0 * (5 - len(waiting)) and waiting:
            ledger, slots = waiting.pop(0)
            make_binder(study, ledger, ManualClock()).bind(slots)

    clock = ManualClock(bind_next)
    make_binder(study, ledgers[-1], clock).bind(claims[-1])
    assert not waiting
    assert clock.seconds > 20
    assert count_events(study, "refused") == 0


@pytest.mark.parametrize("at_once", [1, 4])
def test_nobody_waits_for_those_that_claim_later(study: StudyHarness, at_once: int) -> None:
    first, second = study.ledger("first"), study.ledger("second")
    slots = first.claim_many(at_once)
    second.claim_many(2)
    clock = ManualClock()
    assert len(make_binder(study, first, clock).bind(slots)) == at_once
    assert clock.seconds == 0


def test_choosers_are_told_apart_from_the_free_and_the_bound(study: StudyHarness) -> None:
    first, second = study.ledger("first"), study.ledger("second", lease_seconds=60.0)
    [slot] = first.claim_many(1)
    later = second.claim_many(2)
    reader = second.reader
    assert reader.choosing_before(later[0].number) == {slot.token}
    assert reader.choosing_before(slot.number) == frozenset()
    make_binder(study, first, ManualClock()).bind([slot])
    assert reader.choosing_before(later[1].number) == {later[0].token}
    second.release_many(later)
    assert reader.choosing_before(later[1].number + 1) == frozenset()
