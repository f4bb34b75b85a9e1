"""Version 2: columns for what proposals are made from, and for a slot's stage.

`score`, `fidelity`, `spread`, `measured` and `rungs` were in the JSON of the result, or nowhere.
This file describes that version and stays as it is, whatever the tables become later.
"""

import json
from typing import Any

from alembic.operations import Operations
from sqlalchemy import (
    Column,
    Computed,
    Connection,
    Double,
    String,
    Text,
    bindparam,
    column,
    select,
    table,
    update,
)

STAGE = """
CASE WHEN state <> 'done' THEN CASE WHEN widths_key IS NULL THEN 'fresh' ELSE 'begun' END
     WHEN projected THEN 'told' ELSE 'late' END
"""

_slots = table(
    "widthwise_slot",
    column("study_id"),
    column("number"),
    column("value"),
    column("result"),
    column("score"),
    column("measured"),
)


def upgrade(operations: Operations) -> None:
    """Make version 2 from version 1."""
    operations.drop_index("widthwise_slot_by_state", "widthwise_slot")
    with operations.batch_alter_table("widthwise_slot") as slots:
        for new_column in _columns():
            slots.add_column(new_column)
    operations.create_index(
        "widthwise_slot_by_state", "widthwise_slot", ["study_id", "state", "outcome", "number"]
    )
    operations.create_index(
        "widthwise_slot_by_stage", "widthwise_slot", ["study_id", "stage", "number"]
    )
    _backfill(operations.get_bind())


def _columns() -> list[Column[Any]]:
    return [
        Column("score", Double, comment="metric so far, also of a trial that was pruned"),
        Column("fidelity", Double, comment="epochs that the score is worth"),
        Column("spread", Double, comment="standard error of the value"),
        Column("measured", Text, comment="JSON: what was measured against limits"),
        Column("rungs", Text, comment="JSON: score by epochs trained"),
        Column("stage", String(8), Computed(STAGE, persisted=True), nullable=False),
    ]


def _backfill(connection: Connection) -> None:
    """Copy measured costs from the results, and the values of complete slots to their scores."""
    connection.execute(update(_slots).values(score=_slots.c.value))
    with_result = select(_slots.c.study_id, _slots.c.number, _slots.c.result).where(
        _slots.c.result.is_not(None)
    )
    updates = [
        {"in_study": row.study_id, "at": row.number, "figures": json.dumps(measured)}
        for row in connection.execute(with_result)
        if (measured := json.loads(row.result).get("measured"))
    ]
    if updates:
        statement = (
            update(_slots)
            .where(_slots.c.study_id == bindparam("in_study"), _slots.c.number == bindparam("at"))
            .values(measured=bindparam("figures"))
        )
        connection.execute(statement, updates)
