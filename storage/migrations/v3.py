"""Version 3: studies and slots can be paused and cancelled, studies have a priority, workers a row.

Every new column is null or has a default, so that workers of the version before can still settle
the trials that they hold. This file describes that version and stays as it is, whatever the tables
become later.
"""

from alembic.operations import Operations
from sqlalchemy import CheckConstraint, Column, Double, ForeignKey, Integer, String, Text, text


def upgrade(operations: Operations) -> None:
    """Make version 3 from version 2."""
    _studies(operations)
    _slots(operations)
    _workers(operations)
    operations.drop_index("ix_widthwise_event_study_id", "widthwise_event")
    operations.create_index("widthwise_event_by_study", "widthwise_event", ["study_id", "id"])


# Columns are added together with their checks: on SQLite Alembic's batches would make the table
# anew and thereby delete the study and, by their foreign keys, its slots and events.
def _studies(operations: Operations) -> None:
    operations.add_column(
        "widthwise_study",
        Column(
            "status",
            String(10),
            CheckConstraint(
                "status IN ('open', 'paused', 'cancelled')", name="widthwise_study_status"
            ),
            nullable=False,
            server_default="open",
            comment="slots are claimed only while it is open",
        ),
    )
    operations.add_column(
        "widthwise_study",
        Column(
            "priority", Integer, nullable=False, server_default="0", comment="greater goes first"
        ),
    )


def _slots(operations: Operations) -> None:
    operations.add_column(
        "widthwise_slot",
        Column(
            "hold",
            String(8),
            CheckConstraint(
                "hold IS NULL OR (hold = 'paused' AND state = 'free')", name="widthwise_slot_hold"
            ),
            comment="why nobody may claim it, until it is continued",
        ),
    )
    is_paused = text("hold IS NOT NULL")
    operations.create_index(
        "widthwise_slot_held",
        "widthwise_slot",
        ["study_id", "number"],
        sqlite_where=is_paused,
        postgresql_where=is_paused,
    )


def _workers(operations: Operations) -> None:
    operations.create_table(
        "widthwise_worker",
        Column("name", String(256), primary_key=True),
        Column("host", Text, nullable=False),
        Column("pid", Integer, nullable=False),
        Column("device", Text, comment="what it trains on, once it knows"),
        Column(
            "study_id",
            Integer,
            ForeignKey("widthwise_study.id", ondelete="SET NULL"),
            comment="that it serves now",
        ),
        Column("activity", String(16), nullable=False),
        Column("version", Text, nullable=False, comment="release of Widthwise"),
        Column("started_at", Double, nullable=False),
        Column("seen_at", Double, nullable=False, comment="its last sign of life"),
        Column("beat_seconds", Double, nullable=False, comment="between two signs of life"),
        CheckConstraint(
            "activity IN ('starting', 'training', 'waiting')", name="widthwise_worker_activity"
        ),
    )
