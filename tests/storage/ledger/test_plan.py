"""Planned trials: the same training is the same slot, and the budget grows by them exactly."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import update
from widthwise.storage.database.tables import studies
from widthwise.storage.errors import BudgetRefused, LeaseLost
from widthwise.storage.ledger import events
from widthwise.storage.ledger.budget import MAX_BUDGET
from widthwise.storage.ledger.ledger import Ledger, PlannedTrial
from widthwise.tests.one_slot import Taken, bind_one, release_one, settle_one


def plan(width=8, seed=1, origin="recommended", **overrides):
    named = {name.replace("__", "."): value for name, value in overrides.items()}
    return PlannedTrial(widths={"hidden": width}, seed=seed, origin=origin, overrides=named)


def test_a_planned_slot_has_widths_seed_and_overrides_from_the_beginning(open_ledger):
    ledger = open_ledger()
    assert ledger.add_planned([plan(seed=2**63 - 1, proxy__learning_rate=0.01)]) == 1
    assert ledger.reader.counts().budget == 6
    [slot] = ledger.claim_many(1)  # those with widths come first
    assert slot.number == 5
    assert slot.widths == {"hidden": 8}
    assert slot.seed == 2**63 - 1
    assert slot.overrides == {"proxy.learning_rate": 0.01}
    assert (slot.origin, slot.is_planned) == ("recommended", True)
    record = ledger.reader.record(5)
    assert (record.seed, record.overrides) == (slot.seed, slot.overrides)


def test_other_slots_have_none_of_it(open_ledger):
    [slot] = open_ledger().claim_many(1)
    assert (slot.seed, slot.overrides, slot.is_planned) == (None, {}, False)


def test_the_same_training_is_planned_once(open_ledger):
    ledger = open_ledger()
    assert ledger.add_planned([plan(), plan(origin="runner-up"), plan(seed=2)]) == 2
    assert ledger.add_planned([plan(), plan(seed=2), plan(seed=3)]) == 1
    assert ledger.add_planned([]) == 0
    assert ledger.reader.counts().budget == 8
    assert [record.seed for record in ledger.reader.records()[5:]] == [1, 2, 3]


@pytest.mark.parametrize(
    "other",
    [plan(width=16), plan(seed=2), plan(proxy__learning_rate=0.1), plan(proxy__epochs=3)],
    ids=["widths", "seed", "override", "another override"],
)
def test_each_part_of_a_plan_makes_another_training(open_ledger, other):
    assert open_ledger().add_planned([plan(), other]) == 2


def test_the_order_of_names_makes_no_other_training(open_ledger):
    first = PlannedTrial(
        widths={"a": 1, "b": 2}, seed=1, origin="x", overrides={"p.a": 1, "p.b": 2}
    )
    second = PlannedTrial(
        widths={"b": 2, "a": 1}, seed=1, origin="x", overrides={"p.b": 2, "p.a": 1}
    )
    assert open_ledger().add_planned([first, second]) == 1


def test_suggested_widths_stay_unique_beside_planned_ones(open_ledger):
    """A plan of the same widths does not keep the search from trying them, or the reverse."""
    ledger = open_ledger()
    ledger.add_planned([plan()])
    _, first, second = ledger.claim_many(3)
    bind_one(ledger, first, {"hidden": 8}, "sampler")
    with pytest.raises(Taken):
        bind_one(ledger, second, {"hidden": 8}, "sampler")


def test_a_planned_slot_goes_the_way_of_every_slot(open_ledger):
    ledger, heir = open_ledger(), open_ledger("heir", lease_seconds=60.0)
    ledger.add_planned([plan()])
    [slot] = ledger.claim_many(1)
    release_one(ledger, slot)
    [again] = heir.claim_many(1)
    assert (again.number, again.seed, again.attempt) == (slot.number, 1, 1)
    with pytest.raises(LeaseLost):
        settle_one(ledger, slot, outcome="complete", value=0.5, result={})
    settle_one(heir, again, outcome="complete", value=0.75, result={})
    assert heir.reader.record(slot.number).value == 0.75


def test_planning_at_the_same_moment_adds_each_training_once(database, study):
    trials = [plan(seed=seed) for seed in range(40)]
    added: list[int] = []

    def add(name):
        ledger = Ledger(database, study, worker=name)
        added.extend(ledger.add_planned(trials[start : start + 20]) for start in (0, 10, 20))

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader = Ledger(database, study, worker="x").reader
    assert sum(added) == 40
    assert reader.counts().budget == 45
    assert sorted(record.seed for record in reader.records()[5:]) == list(range(40))
    planned = [
        event.detail["slots"]
        for event in events.read(database, study)
        if event.detail.get("planned")
    ]
    assert sum(planned) == 40


def test_many_plans_are_one_transaction(open_ledger):
    ledger = open_ledger()
    assert ledger.add_planned([plan(seed=seed) for seed in range(1200)]) == 1200
    assert ledger.add_planned([plan(seed=seed) for seed in range(1201)]) == 1
    assert ledger.reader.counts().budget == 1206


def test_a_plan_beyond_the_largest_budget_is_refused_whole(database, study, open_ledger):
    ledger = open_ledger()
    full = update(studies).where(studies.c.id == study.id).values(budget=MAX_BUDGET - 1)
    database.write(lambda connection: connection.execute(full))
    with pytest.raises(BudgetRefused, match=r"2 more are planned; expected at most 10,000,000"):
        ledger.add_planned([plan(), plan(seed=2)])
    assert ledger.reader.counts().budget == MAX_BUDGET - 1
