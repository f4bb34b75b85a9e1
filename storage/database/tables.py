"""Widthwise's own tables, beside Optuna's in the same database.

`schema` holds one row with the version of these tables; `study` one row for each study; `slot`, the
ledger, one row for each unit of a study's budget (those that nobody claimed yet may have none, see
`ledger.budget`); `event` the append-only record of every change to
a study and its slots; `worker` one row for each worker that was seen within a day. A slot's `stage`
is what claims and repairs search by (`BOUND`, `UNBOUND`, `UNPROJECTED`): with its index their cost
does not grow with the study. Times are seconds since the epoch by the database's clock. The tables
themselves refuse two slots of one number (primary key) and two slots of one study with the same
widths (`widths_key` is unique within a study; slots without widths hold NULL). A planned slot has
its widths from the beginning, and a seed and overrides with them: its key names all three.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

SCHEMA_VERSION = 5
"""Version of the tables below; raised with every change of them."""

STAGE_SQL = """
CASE WHEN state <> 'done' THEN CASE WHEN widths_key IS NULL THEN 'fresh' ELSE 'begun' END
     WHEN projected THEN 'told' ELSE 'late' END
"""
"""SQL: a slot's stage, computed by the database with every change of the slot."""

metadata = MetaData()

schema = Table(
    "widthwise_schema",
    metadata,
    Column(
        "id", Integer, CheckConstraint("id = 1", name="widthwise_schema_one_row"), primary_key=True
    ),
    Column("version", Integer, nullable=False),
)

studies = Table(
    "widthwise_study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(512), nullable=False, unique=True),
    Column("spec", Text, nullable=False, comment="JSON"),
    Column("fingerprint", String(128), nullable=False),
    Column("optuna_study_id", Integer, nullable=False),
    Column("direction", String(8), nullable=False),
    Column("base", Text, nullable=False, comment="folder of the spec"),
    Column("created_at", Double, nullable=False),
    Column("costs", Text),
    Column(
        "status",
        String(10),
        CheckConstraint("status IN ('open', 'paused', 'cancelled')", name="widthwise_study_status"),
        nullable=False,
        server_default="open",
        comment="slots are claimed only while it is open",
    ),
    Column("priority", Integer, nullable=False, server_default="0", comment="greater goes first"),
    Column(
        "budget",
        Integer,
        nullable=False,
        server_default="0",
        comment="slots, of which the last ones may not have a row yet",
    ),
    Column("parent_id", ForeignKey("widthwise_study.id", ondelete="CASCADE")),
    Column("kind", String(32), comment="of a study that follows up another one"),
    CheckConstraint("direction IN ('maximize', 'minimize')", name="widthwise_study_direction"),
)

slots = Table(
    "widthwise_slot",
    metadata,
    Column("study_id", ForeignKey(studies.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", String(8), nullable=False, server_default="free"),
    Column("outcome", String(16), comment="of a slot that is done"),
    Column("token", String(32), comment="of the present or last holder: the fence"),
    Column("worker", Text, comment="name of the present or last holder"),
    Column("lease_until", Double),
    Column(
        "attempts",
        Integer,
        nullable=False,
        server_default="0",
        comment="claims, drains not counted",
    ),
    Column("failures", Integer, nullable=False, server_default="0", comment="attempts that raised"),
    Column("widths", Text, comment="JSON, in the space's order"),
    Column("widths_key", Text, comment="canonical JSON of the widths"),
    Column("origin", Text, comment="who proposed the widths"),
    Column("trial_id", Integer, comment="Optuna's"),
    Column("result", Text, comment="JSON"),
    Column("value", Double),
    Column("score", Double, comment="metric so far, also of a trial that was pruned"),
    Column("fidelity", Double, comment="epochs that the score is worth"),
    Column("spread", Double, comment="standard error of the value"),
    Column("measured", Text, comment="JSON: what was measured against limits"),
    Column("rungs", Text, comment="JSON: score by epochs trained"),
    Column("projected", Boolean, nullable=False, server_default=false(), comment="told to Optuna"),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column(
        "hold",
        String(8),
        CheckConstraint(
            "hold IS NULL OR (hold = 'paused' AND state = 'free')", name="widthwise_slot_hold"
        ),
        comment="why nobody may claim it, until it is continued",
    ),
    Column("seed", BigInteger, comment="of a planned training"),
    Column("overrides", Text, comment="JSON: keys of the spec that a planned training changes"),
    Column("stage", String(8), Computed(STAGE_SQL, persisted=True), nullable=False),
    UniqueConstraint("study_id", "widths_key", name="widthwise_slot_widths"),
    CheckConstraint("state IN ('free', 'leased', 'done')", name="widthwise_slot_state"),
    CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name="widthwise_slot_outcome"),
    Index("widthwise_slot_by_state", "study_id", "state", "outcome", "number"),
    Index("widthwise_slot_by_stage", "study_id", "stage", "number"),
)

PAUSED_SLOTS = slots.c.hold.is_not(None)
"""SQL: slots that nobody may claim until they are continued."""
Index(
    "widthwise_slot_held",
    slots.c.study_id,
    slots.c.number,
    sqlite_where=PAUSED_SLOTS,
    postgresql_where=PAUSED_SLOTS,
)

BOUND = slots.c.stage == "begun"
"""SQL: slots that are not done and have widths."""
UNBOUND = slots.c.stage == "fresh"
"""SQL: slots that are not done and have no widths yet."""
UNPROJECTED = slots.c.stage == "late"
"""SQL: done slots whose end Optuna's trial does not show yet."""
NOT_PROJECTED = slots.c.stage.in_(("begun", "late"))
"""SQL: slots that have widths, or are done, and whose trial has not ended in Optuna's tables."""
DONE = slots.c.stage.in_(("late", "told"))
"""SQL: done slots, searched by number through the index of stages."""

events = Table(
    "widthwise_event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey(studies.c.id, ondelete="CASCADE"), nullable=False),
    Column("at", Double, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("number", Integer, comment="of the slot, where there is one"),
    Column("token", String(32)),
    Column("worker", Text),
    Column("detail", Text, nullable=False, comment="JSON"),
    Column(
        "once", String(64), unique=True, comment="a repeated transaction meets its own event here"
    ),
    Index("widthwise_event_by_study", "study_id", "id"),
)

workers = Table(
    "widthwise_worker",
    metadata,
    Column("name", String(256), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", Text, comment="what it trains on, once it knows"),
    Column("study_id", ForeignKey(studies.c.id, ondelete="SET NULL"), comment="that it serves now"),
    Column("activity", String(16), nullable=False),
    Column("version", Text, nullable=False, comment="release of Widthwise"),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False, comment="its last sign of life"),
    Column("beat_seconds", Double, nullable=False, comment="between two signs of life"),
    CheckConstraint(
        "activity IN ('starting', 'training', 'waiting')", name="widthwise_worker_activity"
    ),
)
