"""A batch is one transaction, and a lost slot of it does not hinder the others."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from sqlalchemy import event, update
from widthwise.storage.database.database import Database
from widthwise.storage.database.tables import slots
from widthwise.storage.errors import StudyNotFound
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import BindFailure, Settlement, WidthBinding
from widthwise.storage.projection.projection import Projection, TrialStart
from widthwise.tests.one_slot import bind_one, claim_one

DISTRIBUTIONS = {"a": IntDistribution(1, 64)}


@pytest.fixture
def database(shared_database: Database) -> Database:
    """The database that all such tests share."""
    return shared_database


@pytest.fixture
def steal(database, study, open_ledger):
    """Let the lease of a slot end and another worker claim it."""

    def steal_slot(slot):
        expire = (
            update(slots)
            .where(slots.c.study_id == study.id, slots.c.number == slot.number)
            .values(lease_until=1.0)
        )
        database.write(lambda connection: connection.execute(expire))
        # A short lease: after a restart of the server an ended one is respected for as long.
        other_ledger = open_ledger("thief", lease_seconds=0.05)
        [stolen_slot] = [
            each_slot for each_slot in other_ledger.claim_many(5) if each_slot.number == slot.number
        ]
        return stolen_slot

    return steal_slot


@pytest.fixture
def sent_statements(database):
    """Count the statements that our engine sends from now on."""
    sent = []

    def record(_connection, _cursor, statement, *_rest):
        # What begins a transaction is no statement of it.
        if not statement.startswith(("BEGIN", "PRAGMA", "SET LOCAL")):
            sent.append(statement)

    event.listen(database.engine, "before_cursor_execute", record)
    yield sent
    event.remove(database.engine, "before_cursor_execute", record)


def bindings_of(batch):
    return [
        WidthBinding(slot=slot, widths={"a": 1 + slot.number}, origin="sampler") for slot in batch
    ]


def trial_starts_of(batch):
    return [
        TrialStart(slot=slot, constraints={"flops": -0.5}, attributes={"origin": "sampler"})
        for slot in batch
    ]


def settlements_of(batch, value=0.5):
    return [
        Settlement(slot=slot, outcome="complete", value=value, result={"curve": [0.25, value]})
        for slot in batch
    ]


def test_slots_are_claimed_together(open_ledger, database, study):
    batch = open_ledger().claim_many(3)
    assert [slot.number for slot in batch] == [0, 1, 2]
    assert len({slot.token for slot in batch}) == 3
    assert [slot.number for slot in open_ledger().claim_many(8)] == [3, 4]
    assert open_ledger().claim_many(1) == []
    claimed = [
        each_event for each_event in events.read(database, study) if each_event.kind == "claimed"
    ]
    assert [(each_event.number, each_event.token) for each_event in claimed][:3] == [
        (slot.number, slot.token) for slot in batch
    ]


def test_a_claim_of_nothing_is_refused(open_ledger):
    with pytest.raises(ValueError, match="1 slot or more, not 0"):
        open_ledger().claim_many(0)


def test_concurrent_batches_share_the_budget(open_ledger):
    open_ledger().extend(59)
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: open_ledger().claim_many(7), range(12)))
    numbers = [slot.number for batch in batches for slot in batch]
    assert sorted(numbers) == list(range(64))


def test_bound_slots_are_claimed_first(open_ledger, steal):
    ledger = open_ledger()
    batch = ledger.bind_many(bindings_of(ledger.claim_many(3)))
    ledger.release_many([batch[2], batch[1]])
    assert [slot.number for slot in ledger.claim_many(4)] == [1, 2, 3, 4]


def test_widths_are_bound_together(open_ledger):
    ledger = open_ledger()
    batch = ledger.claim_many(3)
    bound = ledger.bind_many(bindings_of(batch))
    assert [slot.widths for slot in bound] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert [slot.token for slot in bound] == [slot.token for slot in batch]
    assert ledger.bind_many(bindings_of(bound)) == bound
    with pytest.raises(ValueError, match=r"Slot 1 holds the widths \{'a': 2\}"):
        ledger.bind_many([WidthBinding(slot=bound[1], widths={"a": 9}, origin="sampler")])


def test_taken_and_lost_slots_do_not_harm_the_rest_of_a_binding(open_ledger, steal):
    ledger = open_ledger()
    other, lost, duplicate, twin, fine = ledger.claim_many(5)
    bind_one(ledger, other, {"a": 64}, "sampler")
    steal(lost)
    requested = [(lost, 7), (duplicate, 64), (twin, 8), (fine, 8)]
    results = ledger.bind_many(
        [
            WidthBinding(slot=slot, widths={"a": width}, origin="sampler")
            for slot, width in requested
        ]
    )
    assert results[0] is BindFailure.LOST
    assert results[1] is BindFailure.TAKEN
    assert results[2].widths == {"a": 8}
    assert results[3] is BindFailure.TAKEN
    assert ledger.bind_many([WidthBinding(slot=fine, widths={"a": 9}, origin="sampler")])[
        0
    ].widths == {"a": 9}


def test_batches_that_want_the_same_widths_at_once_share_them(open_ledger):
    ledger = open_ledger()
    ledger.extend(27)
    batches = [ledger.claim_many(8) for _ in range(4)]

    def bind(batch):
        return ledger.bind_many(
            [
                WidthBinding(slot=slot, widths={"a": 1 + i}, origin="s")
                for i, slot in enumerate(batch)
            ]
        )

    with ThreadPoolExecutor(4) as pool:
        results = [result for done in pool.map(bind, batches) for result in done]
    assert results.count(BindFailure.TAKEN) == 24
    assert sorted(tried.widths["a"] for tried in ledger.reader.tried()) == list(range(1, 9))


def test_widths_bound_by_another_since_we_asked_are_seen_the_next_time(open_ledger, listen):
    """What the unique index refuses is tried once more, and no more often than that."""
    ledger, queries = open_ledger(), []
    first, second = ledger.claim_many(2)
    bind_one(ledger, first, {"a": 8}, "sampler")

    def find_no_owner_at_first(_connection, _cursor, statement, parameters, *_rest):
        if statement.startswith("SELECT widthwise_slot.widths_key"):
            queries.append(statement)
            if len(queries) == 1:
                statement += " AND 1 = 0"
        return statement, parameters

    binding = WidthBinding(slot=second, widths={"a": 8}, origin="sampler")
    with listen("before_cursor_execute", find_no_owner_at_first, retval=True):
        assert ledger.bind_many([binding]) == [BindFailure.TAKEN]
    assert len(queries) == 2


def test_leases_are_extended_together_and_lost_slots_returned(open_ledger, steal, database, study):
    ledger = open_ledger()
    batch = ledger.claim_many(3)
    steal(batch[1])
    before = {slot.number: ledger.reader.record(slot.number).lease_until for slot in batch}
    assert ledger.beat_many(batch) == [batch[1]]
    assert ledger.reader.record(0).lease_until > before[0]
    assert ledger.reader.record(2).lease_until > before[2]
    refused = [
        each_event for each_event in events.read(database, study) if each_event.kind == "refused"
    ]
    assert [(each_event.number, each_event.detail) for each_event in refused] == [
        (1, {"action": "extend its lease"})
    ]
    assert ledger.beat_many([]) == []


def test_one_lost_slot_of_a_batch_is_refused_and_the_rest_committed(open_ledger, steal):
    ledger = open_ledger()
    batch = ledger.bind_many(bindings_of(ledger.claim_many(3)))
    new_holder = steal(batch[0])
    assert ledger.settle_many(settlements_of(batch)) == [batch[0]]
    assert ledger.settle_many(settlements_of(batch)) == [batch[0]]
    states = [ledger.reader.record(slot.number).state for slot in batch]
    assert states == ["leased", "done", "done"]
    assert open_ledger("thief").settle_many(settlements_of([new_holder], 0.75)) == []
    assert ledger.reader.record(0).value == 0.75


def test_a_settlement_that_does_not_fit_is_refused_before_anything_is_written(open_ledger):
    slot = claim_one(open_ledger())
    with pytest.raises(ValueError, match="cannot end as 'complete' with the value None"):
        Settlement(slot=slot, outcome="complete")


def test_trials_are_opened_and_closed_together(open_ledger, database, study, steal):
    ledger, projection = open_ledger(), Projection(database, study)
    batch = ledger.bind_many(bindings_of(ledger.claim_many(3)))
    steal(batch[1])
    ids = projection.open_many(trial_starts_of(batch), distributions=DISTRIBUTIONS)
    assert ids[1] is None
    assert projection.open_many(trial_starts_of(batch), distributions=DISTRIBUTIONS) == ids
    ledger.settle_many(settlements_of([batch[0], batch[2]]))
    assert projection.close_many([0, 1, 2]) == 2
    assert projection.close_many([0, 1, 2]) == 0
    trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
    assert [trial.number for trial in trials] == [0, 1]
    assert [trial._trial_id for trial in trials] == [ids[0], ids[2]]
    assert [trial.params for trial in trials] == [{"a": 1}, {"a": 3}]
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert [trial.intermediate_values for trial in trials] == [{0: 0.25, 1: 0.5}] * 2


def test_a_batch_for_a_deleted_study_leaves_nothing(open_ledger, database, study):
    ledger = open_ledger()
    batch = ledger.bind_many(bindings_of(ledger.claim_many(2)))
    database.optuna_storage().delete_study(study.optuna_study_id)
    with pytest.raises(StudyNotFound, match="somebody deleted it"):
        Projection(database, study).open_many(trial_starts_of(batch), distributions=DISTRIBUTIONS)
    assert [ledger.reader.record(slot.number).trial_id for slot in batch] == [None, None]


def test_repair_closes_a_whole_batch_at_once(open_ledger, database, study, sent_statements):
    ledger, projection = open_ledger(), Projection(database, study)
    batch = ledger.bind_many(bindings_of(ledger.claim_many(5)))
    projection.open_many(trial_starts_of(batch), distributions=DISTRIBUTIONS)
    ledger.settle_many(settlements_of(batch))
    projection.repair()
    sent_statements.clear()
    assert projection.repair() == 0
    assert len(sent_statements) == 1, "with nothing to repair it asks once"
    trials = database.optuna_storage().get_all_trials(study.optuna_study_id)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


def test_a_batch_of_any_size_takes_the_same_few_statements(
    open_ledger, database, study, sent_statements
):
    ledger, projection = open_ledger(), Projection(database, study)
    ledger.extend(35)
    projection.repair()

    def cost(size):
        sent_statements.clear()
        batch = ledger.bind_many(bindings_of(ledger.claim_many(size)))
        projection.open_many(trial_starts_of(batch), distributions=DISTRIBUTIONS)
        ledger.beat_many(batch)
        ledger.settle_many(settlements_of(batch))
        projection.close_many([slot.number for slot in batch])
        return len(sent_statements)

    # The driver's ping of a pooled connection is not among them.
    assert cost(1) == cost(4) == cost(30) <= 32


def test_a_slot_whose_binding_a_crash_undid_is_lost(open_ledger, database, study):
    """Its claim was flushed to the disk with another transaction, its binding was not."""
    ledger, projection = open_ledger(), Projection(database, study)
    batch = ledger.bind_many(bindings_of(ledger.claim_many(2)))
    taken_back = (
        update(slots)
        .where(slots.c.study_id == study.id, slots.c.number == 0)
        .values(widths=None, widths_key=None, origin=None)
    )
    database.write(lambda connection: connection.execute(taken_back))
    ids = projection.open_many(trial_starts_of(batch), distributions=DISTRIBUTIONS)
    assert ids[0] is None
    assert ids[1] is not None
    assert ledger.settle_many(settlements_of(batch)) == [batch[0]]
    assert (ledger.reader.record(0).state, ledger.reader.record(1).state) == ("leased", "done")
