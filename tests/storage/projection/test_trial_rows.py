"""Our rows in Optuna's tables against those that Optuna writes for the same trial, one by one."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages._rdb import models
from optuna.trial import TrialState, create_trial
from sqlalchemy import select
from widthwise.storage.database.database import Database
from widthwise.storage.projection import trial_rows

DISTRIBUTIONS = {
    "hidden": IntDistribution(8, 64, step=8),
    "heads": CategoricalDistribution([1, 2, 4]),
    "rate": FloatDistribution(1e-4, 1.0, log=True),
}
CHILDREN = (
    models.TrialParamModel,
    models.TrialUserAttributeModel,
    models.TrialSystemAttributeModel,
    models.TrialValueModel,
    models.TrialIntermediateValueModel,
    models.TrialHeartbeatModel,
)


@pytest.fixture
def database(shared_database: Database) -> Database:
    """The database that all such tests share."""
    return shared_database


def template(hidden=8, heads=4, attributes=None):
    return create_trial(
        state=TrialState.RUNNING,
        params={"hidden": hidden, "heads": heads, "rate": 0.125},
        distributions=DISTRIBUTIONS,
        constraints={"flops": -0.25, "parameters": 0.5},
        user_attrs={"origin": "sampler", "slot": 3, "costs": {"flops": 10}, **(attributes or {})},
    )


def rows_of(database, trial_id):
    """Every row of a trial in Optuna's tables, without its ids; times only as there or not."""

    def read(connection):
        table = models.TrialModel.__table__
        trial = connection.execute(select(table).where(table.c.trial_id == trial_id)).one()
        rows_by_table = {
            "trials": {
                key: value is not None if key.startswith("datetime") else value
                for key, value in trial._mapping.items()
                if key not in ("trial_id", "number")
            }
        }
        for model in CHILDREN:
            child = model.__table__
            rows = connection.execute(select(child).where(child.c.trial_id == trial_id))
            ids = {"trial_id", *child.primary_key.columns.keys()}
            kept = [
                {key: value for key, value in row._mapping.items() if key not in ids}
                for row in rows
            ]
            rows_by_table[child.name] = sorted(kept, key=str)
        return rows_by_table

    return database.read(read)


def insert(database, study, trials):
    return database.write(
        lambda connection: trial_rows.insert_trials(connection, study.optuna_study_id, trials)
    )


def test_a_trial_is_made_as_optuna_makes_it(database, study):
    storage = database.optuna_storage()
    optuna_trial = storage.create_new_trial(study.optuna_study_id, template())
    [ours] = insert(database, study, [template()])
    assert rows_of(database, ours) == rows_of(database, optuna_trial)
    assert rows_of(database, ours)["trial_params"]
    before, after = storage.get_all_trials(study.optuna_study_id)
    assert (before.number, after.number) == (0, 1)
    assert after.datetime_start.tzinfo is None
    assert abs((after.datetime_start - before.datetime_start).total_seconds()) < 60
    assert before.params == after.params
    assert before.distributions == after.distributions
    assert before.constraints == after.constraints


def test_numbers_go_on_whoever_makes_the_trials(database, study):
    storage = database.optuna_storage()
    insert(database, study, [template(), template(16)])
    storage.create_new_trial(study.optuna_study_id, template(24))
    ids = insert(database, study, [template(32), template(40)])
    trials = storage.get_all_trials(study.optuna_study_id)
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert [trial.params["hidden"] for trial in trials] == [8, 16, 24, 32, 40]
    assert [trial._trial_id for trial in trials][3:] == ids


def test_no_trials_are_made_for_a_deleted_study(database, study):
    database.optuna_storage().delete_study(study.optuna_study_id)
    assert insert(database, study, [template()]) is None


def optuna_ends(storage, end):
    """What `Study.tell` and its callers do, a value at a time."""
    for step, value in enumerate(end.curve):
        storage.set_trial_intermediate_value(end.trial_id, step, value)
    for key, value in end.attributes.items():
        storage.set_trial_user_attr(end.trial_id, key, value)
    final = end.value
    if end.state == TrialState.PRUNED and end.curve and not math.isnan(end.curve[-1]):
        final = end.curve[-1]
    values = None if final is None else [final]
    storage.set_trial_state_values(end.trial_id, end.state, values)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    state=st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]),
    value=st.floats(-10, 10, width=32),
    curve=st.lists(NUMBERS, max_size=4),
    attributes=st.dictionaries(
        st.sampled_from(["origin", "test", "detail"]), st.integers() | st.text("ab"), max_size=3
    ),
)
def test_a_trial_is_ended_as_optuna_ends_it(database, study, state, value, curve, attributes):
    storage = database.optuna_storage()
    optuna_trial, ours = insert(database, study, [template(), template()])
    final = value if state == TrialState.COMPLETE else None

    def end(trial_id):
        return trial_rows.TrialEnd(
            trial_id=trial_id, state=state, value=final, curve=curve, attributes=attributes
        )

    optuna_ends(storage, end(optuna_trial))
    database.write(lambda connection: trial_rows.end_trials(connection, [end(ours)]))
    assert rows_of(database, ours) == rows_of(database, optuna_trial)


def test_a_finished_trial_and_one_that_is_gone_stay_as_they_are(database, study):
    storage = database.optuna_storage()
    finished, still_open = insert(database, study, [template(), template()])
    storage.set_trial_state_values(finished, TrialState.FAIL)
    before = rows_of(database, finished)
    ends = [
        trial_rows.TrialEnd(
            trial_id=trial_id, state=TrialState.COMPLETE, value=1.0, curve=[1.0], attributes={}
        )
        for trial_id in (finished, 10**9, still_open)
    ]
    database.write(lambda connection: trial_rows.end_trials(connection, ends))
    assert rows_of(database, finished) == before
    assert storage.get_trial(still_open).value == 1.0
