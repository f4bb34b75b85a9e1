"""Version 4: a study's budget is a number of its own, so that slots need no row before their claim.

The column has a default, so that workers of the version before can still settle the trials that
they hold. This file describes that version and stays as it is, whatever the tables become later.
"""

from alembic.operations import Operations
from sqlalchemy import Column, Integer, text


def upgrade(operations: Operations) -> None:
    """Make version 4 from version 3."""
    operations.add_column(
        "widthwise_study",
        Column(
            "budget",
            Integer,
            nullable=False,
            server_default="0",
            comment="slots, of which the last ones may not have a row yet",
        ),
    )
    operations.execute(
        text(
            "UPDATE widthwise_study SET budget = (SELECT count(*) FROM widthwise_slot "
            "WHERE widthwise_slot.study_id = widthwise_study.id)"
        )
    )
