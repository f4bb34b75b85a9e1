"""A study's row: what the database keeps of a study beside its slots."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["maximize", "minimize"]
Status = Literal["open", "paused", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """A study as the database keeps it.

    Attributes:
        id: Ours.
        name: Unique in the database, the same as in Optuna.
        spec: The spec as JSON.
        fingerprint: Hash of spec and objective code; with another one it is another study.
        optuna_study_id: Optuna's id.
        direction: Whether more or less of the metric is better.
        base: Folder of the spec, from which its references are found.
        created_at: Seconds since the epoch by the database's clock.
        costs: What was fitted of the candidates' costs, as JSON, so that no worker fits it again.
        status: Slots are claimed only while it is open. This and `priority` may change at any time:
            they are as they were when the row was read.
        priority: Workers that serve several studies serve the one with the greatest first.
    """

    id: int
    name: str
    spec: str
    fingerprint: str
    optuna_study_id: int
    direction: Direction
    base: str
    created_at: float
    costs: str | None = None
    status: Status = "open"
    priority: int = 0
