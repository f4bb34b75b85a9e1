"""Version 5: studies that follow up another one, and slots whose training is planned.

Every new column is null in what is there, so that workers of the version before can still settle
the trials that they hold. This file describes that version and stays as it is, whatever the tables
become later.
"""

from alembic.operations import Operations
from sqlalchemy import BigInteger, Column, String, Text, text


def upgrade(operations: Operations) -> None:
    """Make version 5 from version 4."""
    # In SQL: Alembic would add the reference by a statement that SQLite does not have.
    operations.execute(
        text(
            "ALTER TABLE widthwise_study ADD COLUMN parent_id INTEGER "
            "REFERENCES widthwise_study (id) ON DELETE CASCADE"
        )
    )
    operations.add_column(
        "widthwise_study",
        Column("kind", String(32), comment="of a study that follows up another one"),
    )
    operations.add_column(
        "widthwise_slot", Column("seed", BigInteger, comment="of a planned training")
    )
    operations.add_column(
        "widthwise_slot",
        Column("overrides", Text, comment="JSON: keys of the spec that a planned training changes"),
    )
