"""What workers query again and again costs no more in a large study than in a small one.

Work is counted, not timed: the steps of SQLite's virtual machine, and the pages that PostgreSQL
looks at for each statement.
"""

import json
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import event, insert, text, update
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.tables import events as event_rows
from widthwise.storage.database.tables import slots
from widthwise.storage.database.tables import studies as study_rows
from widthwise.storage.ledger import events
from widthwise.storage.ledger.ledger import Ledger
from widthwise.storage.ledger.slot import widths_key
from widthwise.storage.study import control
from widthwise.storage.study.open_studies import MAX_COUNTED_SLOTS, open_studies
from widthwise.storage.study.study import create_study, load_study
from widthwise.storage.study.workers import WorkerRegistration, list_workers

SMALL, LARGE = 600, 6_000
"""Numbers of slots that are done, and as many again that are free."""
QUIET = 10
"""Those of a study whose events all lie before the others'."""


def are_as_cheap(costs):
    """Return whether all cost about the same, though one has ten times as much."""
    return 0 < max(costs) <= 1.5 * min(costs) + 10


def fill(database, size):
    """Make a study of `size` done slots and `size` free ones; one of these is paused."""
    study, _ = create_study(
        database,
        name=f"study-{size}",
        spec="{}",
        fingerprint="f",
        direction="maximize",
        metric="accuracy",
        base="",
        budget=0,
    )

    def write(connection):
        done = [
            {
                "study_id": study.id,
                "number": number,
                "state": "done",
                "outcome": "complete",
                "widths_key": widths_key({"a": number}),
                "result": json.dumps({"curve": [0.5] * 20}),
                "projected": True,
            }
            for number in range(size)
        ]
        connection.execute(insert(slots), done)
        free = [{"study_id": study.id, "number": size + number} for number in range(size)]
        connection.execute(insert(slots), free)
        total = len(done) + len(free)
        connection.execute(
            update(study_rows).where(study_rows.c.id == study.id).values(budget=total)
        )
        event_values = [
            {"study_id": study.id, "at": 1.0, "kind": kind, "number": number, "detail": "{}"}
            for number in range(size)
            for kind in ("claimed", "bound", "done", "projected")
        ]
        connection.execute(insert(event_rows), event_values)

    database.write(write)
    control.pause_trial(database, study, size, worker="eve")
    return study


@contextmanager
def count_work(database):
    """Count the work of what is asked of the database inside the block."""
    work = []
    on_postgresql = database.engine.dialect.name == "postgresql"
    with _pages(database, work) if on_postgresql else _steps(database, work):
        yield work


@contextmanager
def _steps(database, work):
    def watch(connection, _record):
        connection.set_progress_handler(lambda: work.append(1), 1)

    database.engine.dispose()
    event.listen(database.engine, "connect", watch)
    yield
    event.remove(database.engine, "connect", watch)
    database.engine.dispose()


@contextmanager
def _pages(database, work):
    def explain(_connection, cursor, statement, parameters, _context, _many):
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
            with cursor.connection.transaction(force_rollback=True):
                [[plan]] = cursor.connection.execute(explained, parameters).fetchone()
            work.extend(
                [1] * (plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])
            )

    event.listen(database.engine, "before_cursor_execute", explain)
    yield
    event.remove(database.engine, "before_cursor_execute", explain)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request, tmp_path_factory):
    """One for all these tests: they claim a few slots of each study, and change nothing else."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('growth') / 'widthwise.db'}"
        else:
            server = request.getfixturevalue("postgresql_server")
            url = stack.enter_context(server.new_database())
        yield stack.enter_context(Database.open(resolve_url(url), retry_seconds=20))


@pytest.fixture(scope="module")
def studies(database):
    """A small study and a large one, in a database that has gathered its statistics."""
    quiet = fill(database, QUIET)
    control.set_status(database, quiet, "paused", worker="eve")
    both = [fill(database, size) for size in (SMALL, LARGE)]
    if database.engine.dialect.name == "postgresql":  # which does so by itself, a little later
        database.write(lambda connection: connection.execute(text("ANALYZE")))
    return both


QUESTIONS = {
    "claim": lambda ledger: ledger.claim_many(8),
    "beat": lambda ledger: ledger.beat_many(ledger.claim_many(2)),
    "status": lambda ledger: ledger.reader.status(),
    "seconds until claimable": lambda ledger: ledger.reader.seconds_until_claimable(),
    "out of memory": lambda ledger: ledger.reader.out_of_memory(),
    "leased": lambda ledger: ledger.reader.leased(),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_workers_query_costs_no_more_in_a_large_study(database, studies, question):
    costs = []
    for study in studies:
        ledger = Ledger(database, study, worker="w")
        with count_work(database) as work:
            question(ledger)
        costs.append(len(work))
    assert are_as_cheap(costs), costs


def test_the_newest_events_are_read_at_the_cost_of_those_few(database, studies):
    costs = []
    for study in (load_study(database, f"study-{QUIET}"), *studies):
        with count_work(database) as work:
            assert len(events.read(database, study, last=10)) == 10
        costs.append(len(work))
    assert are_as_cheap(costs), costs


def test_open_studies_costs_no_more_for_large_studies(database, studies):
    costs = []
    for study in studies:
        others = [other for other in studies if other is not study]
        for other in others:
            control.set_status(database, other, "paused", worker="eve")
        with count_work(database) as work:
            [open_study] = open_studies(database)
        for other in others:
            control.set_status(database, other, "open", worker="eve")
        assert (open_study.study.id, open_study.claimable) == (study.id, MAX_COUNTED_SLOTS)
        assert open_study.last_claim >= 1.0
        costs.append(len(work))
    assert are_as_cheap(costs), costs


def test_the_workers_are_listed_at_the_cost_of_what_they_hold(database, studies):
    costs = []
    for study in studies:
        registration = WorkerRegistration(database, name="ann", beat_seconds=1.0)
        registration.register(study=study, activity="training", device=None)
        Ledger(database, study, worker="ann").claim_many(3)
        with count_work(database) as work:
            [worker] = list_workers(database)
        assert (worker.study, len(worker.trials)) == (study.name, 3)
        costs.append(len(work))
    assert are_as_cheap(costs), costs
    assert max(costs) < SMALL, "it looks at slots that nobody holds"
