"""Trials as rows of Optuna's tables, written for a whole batch at a time.

Optuna's own storage writes one value a statement: a hundred statements for a trial of six widths
and ten reports. `insert_trials` and `end_trials` write the same rows in a handful of statements,
whatever the size of the batch, in the caller's transaction; `move_trials` makes them wait or run.
The tables are Optuna's: a test compares every row with the one that Optuna itself writes, and
`optuna_storage` refuses tables of another version.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Table,
    bindparam,
    insert,
    select,
    update,
)

from ..database.dialect import upsert

_studies: Table = models.StudyModel.__table__
_trials: Table = models.TrialModel.__table__
_values: Table = models.TrialValueModel.__table__
_parameters: Table = models.TrialParamModel.__table__
_intermediate: Table = models.TrialIntermediateValueModel.__table__
_user_attributes: Table = models.TrialUserAttributeModel.__table__
_system_attributes: Table = models.TrialSystemAttributeModel.__table__

_UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True, kw_only=True)
class TrialEnd:
    """How a trial ended.

    Attributes:
        trial_id: Optuna's.
        state: COMPLETE, PRUNED or FAIL.
        value: The metric, of a complete trial.
        curve: Intermediate values from step 0.
        attributes: User attributes to add.
    """

    trial_id: int
    state: TrialState
    value: float | None
    curve: Sequence[float]
    attributes: Mapping[str, Any]


def insert_trials(
    connection: Connection, optuna_study_id: int, trials: Sequence[FrozenTrial]
) -> list[int] | None:
    """Make running trials, with the rows that `create_new_trial` writes for each as a template.

    Args:
        connection: Of the caller's transaction.
        optuna_study_id: Optuna's.
        trials: Running, with parameters and attributes and without values, as `create_trial` makes
            them; all with the same distributions.

    Returns:
        Optuna's ids of the trials, or None if there is no such study.
    """
    # Optuna makes trials under this lock too: a trial's number is the count of those before it.
    query = select(_studies.c.study_id).where(_studies.c.study_id == optuna_study_id)
    if connection.execute(query.with_for_update()).first() is None:
        return None
    first = _next_number(connection, optuna_study_id)
    rows = [
        {
            "study_id": optuna_study_id,
            "number": number,
            "state": trial.state,
            "datetime_start": _as_naive_utc(trial.datetime_start),
        }
        for number, trial in enumerate(trials, start=first)
    ]
    inserted = connection.execute(
        insert(_trials).returning(_trials.c.trial_id, _trials.c.number), rows
    )
    ids = [row.trial_id for row in sorted(inserted, key=lambda row: int(row.number))]
    _insert(connection, _parameters, _parameter_rows(ids, trials))
    trials_by_id = list(zip(ids, trials, strict=True))
    user_rows = [
        row
        for trial_id, trial in trials_by_id
        for row in _attribute_rows(trial_id, trial.user_attrs)
    ]
    _insert(connection, _user_attributes, user_rows)
    system_rows = [
        row
        for trial_id, trial in trials_by_id
        for row in _attribute_rows(trial_id, trial.system_attrs)
    ]
    _insert(connection, _system_attributes, system_rows)
    return ids


def end_trials(connection: Connection, ends: Sequence[TrialEnd]) -> None:
    """End trials as `Study.tell` does; one that is finished or deleted stays as it is."""
    ids = [end.trial_id for end in ends]
    query = select(_trials.c.trial_id).where(
        _trials.c.trial_id.in_(ids), _trials.c.state.in_(_UNFINISHED)
    )
    unfinished = set(connection.scalars(query.order_by(_trials.c.trial_id).with_for_update()))
    ends = [end for end in ends if end.trial_id in unfinished]
    if not ends:
        return
    upsert(
        connection,
        _intermediate,
        ("trial_id", "step"),
        [row for end in ends for row in _intermediate_rows(end)],
    )
    attributes = [row for end in ends for row in _attribute_rows(end.trial_id, end.attributes)]
    upsert(connection, _user_attributes, ("trial_id", "key"), attributes)
    values = [row for end in ends for row in _value_rows(end)]
    upsert(connection, _values, ("trial_id", "objective"), values)
    now = _as_naive_utc(datetime.now())
    statement = (
        update(_trials)
        .where(_trials.c.trial_id == bindparam("ended"))
        .values(state=bindparam("as_state"), datetime_complete=now)
    )
    connection.execute(statement, [{"ended": end.trial_id, "as_state": end.state} for end in ends])


def move_trials(connection: Connection, ids: Sequence[int], state: TrialState) -> None:
    """Make trials RUNNING or WAITING; one that is finished or deleted stays as it is."""
    if ids:
        connection.execute(
            update(_trials)
            .where(_trials.c.trial_id.in_(ids), _trials.c.state.in_(_UNFINISHED))
            .values(state=state)
        )


def trial_state(trial_id: ColumnElement[int]) -> ScalarSelect[TrialState]:
    """Return the SQL of a trial's state, NULL of one that is deleted."""
    return select(_trials.c.state).where(_trials.c.trial_id == trial_id).scalar_subquery()


def running_attributes(
    connection: Connection, optuna_study_id: int, attribute: str
) -> dict[int, Any]:
    """Return one user attribute of every running trial that has it, by trial id."""
    query = (
        select(_trials.c.trial_id, _user_attributes.c.value_json)
        .join_from(_trials, _user_attributes)
        .where(
            _trials.c.study_id == optuna_study_id,
            _trials.c.state == TrialState.RUNNING,
            _user_attributes.c.key == attribute,
        )
        .order_by(_trials.c.trial_id)
    )
    return {row.trial_id: json.loads(row.value_json) for row in connection.execute(query)}


def _next_number(connection: Connection, optuna_study_id: int) -> int:
    # Not count(*), which reads the whole study: numbers ascend with the ids.
    query = (
        select(_trials.c.number)
        .where(_trials.c.study_id == optuna_study_id)
        .order_by(_trials.c.trial_id.desc())
        .limit(1)
    )
    last = connection.execute(query).scalar()
    return 0 if last is None else int(last) + 1


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), list(rows))


def _parameter_rows(ids: Sequence[int], trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    distributions_json = {
        name: distribution_to_json(distribution)
        for name, distribution in trials[0].distributions.items()
    }
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distributions_json[name],
        }
        for trial_id, trial in zip(ids, trials, strict=True)
        for name, value in trial.params.items()
    ]


def _attribute_rows(trial_id: int, attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attributes.items()
    ]


def _intermediate_rows(end: TrialEnd) -> list[dict[str, Any]]:
    stored_values = map(
        models.TrialIntermediateValueModel.intermediate_value_to_stored_repr, end.curve
    )
    return [
        {
            "trial_id": end.trial_id,
            "step": step,
            "intermediate_value": value,
            "intermediate_value_type": value_type,
        }
        for step, (value, value_type) in enumerate(stored_values)
    ]


def _value_rows(end: TrialEnd) -> list[dict[str, Any]]:
    reported = end.value
    # Optuna gives a pruned trial its last report as its value, if that is a number.
    if end.state == TrialState.PRUNED and end.curve and not math.isnan(end.curve[-1]):
        reported = end.curve[-1]
    if reported is None:
        return []
    value, value_type = models.TrialValueModel.value_to_stored_repr(reported)
    return [{"trial_id": end.trial_id, "objective": 0, "value": value, "value_type": value_type}]


def _as_naive_utc(local_time: datetime | None) -> datetime | None:
    """Return a local time as Optuna stores it: in UTC, without a time zone."""
    return None if local_time is None else local_time.astimezone(UTC).replace(tzinfo=None)
