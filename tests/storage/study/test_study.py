"""A study is created once, with all that belongs to it or not at all."""

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from sqlalchemy import func, select
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.database.tables import slots
from widthwise.storage.errors import StudyMismatch, StudyNotFound
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.study.study import create_study, list_studies, load_study


@pytest.fixture
def study_name() -> str:
    return f"study-{uuid.uuid4().hex}"


def create(database, study_name, fingerprint="f" * 64, budget=3):
    return create_study(
        database,
        name=study_name,
        spec='{"trials": 3}',
        fingerprint=fingerprint,
        direction="minimize",
        metric="mse",
        base="/models",
        budget=budget,
    )


def test_a_study_is_created_with_its_budget_and_optunas_side(database, study_name):
    study, created = create(database, study_name)
    assert created
    assert (study.name, study.spec, study.direction) == (study_name, '{"trials": 3}', "minimize")
    assert LedgerReader(database, study).counts().waiting == 3
    mirror = optuna.load_study(study_name=study_name, storage=database.optuna_storage())
    assert mirror._study_id == study.optuna_study_id
    assert mirror.direction == optuna.study.StudyDirection.MINIMIZE
    assert mirror.metric_names == ["mse"]
    assert load_study(database, study_name) == study
    assert study in list_studies(database)


def test_creating_it_again_finds_it_with_its_own_budget(database, study_name):
    study, _ = create(database, study_name)
    assert create(database, study_name, budget=50) == (study, False)
    assert LedgerReader(database, study).counts().budget == 3


def test_another_fingerprint_is_another_study(database, study_name):
    create(database, study_name)
    message = r"fingerprint ffffffffffff there, eeeeeeeeeeee here\); give this one another name"
    with pytest.raises(StudyMismatch, match=message) as caught:
        create(database, study_name, fingerprint="e" * 64)
    assert caught.value.exit_code == 5


def test_a_plain_optuna_study_is_left_alone(database, study_name):
    storage = database.optuna_storage()
    storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], study_name)
    with pytest.raises(StudyMismatch, match="did not create, so it has no ledger"):
        create(database, study_name)
    with pytest.raises(StudyNotFound):
        load_study(database, study_name)


def test_a_creation_that_dies_half_way_leaves_nothing(database, study_name, listen):
    def die_at_the_slots(_connection, _cursor, statement, *_rest):
        if "INSERT INTO widthwise_slot" in statement:
            raise KeyboardInterrupt

    with listen("before_cursor_execute", die_at_the_slots), pytest.raises(KeyboardInterrupt):
        create(database, study_name)
    with pytest.raises(KeyError):
        database.optuna_storage().get_study_id_from_name(study_name)
    assert create(database, study_name)[1] is True


def test_threads_that_create_the_same_study_share_it(database, study_name):
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: create(database, study_name), range(4)))
    assert sorted(created for _, created in outcomes) == [False, False, False, True]
    assert len({study.id for study, _ in outcomes}) == 1
    count = select(func.count()).where(slots.c.study_id == outcomes[0][0].id)
    assert database.read(lambda connection: connection.execute(count).scalar()) == 3


def test_a_missing_study_names_those_there_are(database, study_name):
    create(database, study_name)
    with pytest.raises(
        StudyNotFound, match=f"no study 'digitz' in .*newest first: {study_name}"
    ) as caught:
        load_study(database, "digitz")
    assert caught.value.exit_code == 2


CREATOR = """
import sys
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.study.study import create_study

print("ready", flush=True)
sys.stdin.readline()
with Database.open(resolve_url(sys.argv[1])) as database:
    _, created = create_study(
        database, name="digits", spec="{}", fingerprint="f", direction="minimize",
        metric="mse", base="", budget=3,
    )
print(created)
"""


def test_processes_may_open_and_create_in_a_new_database_at_once(database_url):
    """The first process makes Optuna's tables and ours; the others check once more."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATOR, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert sorted(answers) == [("False\n", ""), ("False\n", ""), ("False\n", ""), ("True\n", "")]
    with Database.open(resolve_url(database_url)) as database:
        study = load_study(database, "digits")
        assert LedgerReader(database, study).counts().budget == 3
        assert len(database.optuna_storage().get_all_studies()) == 1
