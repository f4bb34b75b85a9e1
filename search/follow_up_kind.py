"""Follow-up studies by kind, and their names: `digits/confirmation`, `digits/sweep hidden1`.

A follow-up study goes on from what another one found; its trainings are planned, not suggested.
What a worker has to know of it stands here, at the foot of the house.

Entry points: `FollowUpKind`, `SHARE_KEY`; `follow_up_name`, `followed_name`, `continue_command`.
"""

from __future__ import annotations

import enum

from .command import format_command

SHARE_KEY = "proxy.train_share"
"""The key that says, for each training of a learning curve, from which share of the rows."""


class FollowUpKind(enum.StrEnum):
    """In which way a study follows up another one; the words are stored.

    Attributes:
        CONFIRMATION: The recommended and its rivals, trained long with fresh seeds; the only
            trainings that the test split judges.
        SWEEP: One width moved, the others fixed.
        REFINEMENT: Other settings of the training at the recommended widths.
        LEARNING_CURVE: Trainings on shares of the rows.
        TRAINING: Final trainings, whose weights are kept: on training and validation rows together,
            judged by the test split.
    """

    CONFIRMATION = "confirmation"
    SWEEP = "sweep"
    REFINEMENT = "refinement"
    LEARNING_CURVE = "learning curve"
    TRAINING = "training"


def follow_up_name(parent: str, kind: FollowUpKind, detail: str = "") -> str:
    """Return the name of a follow-up study; `detail` tells it from others of its kind."""
    return f"{parent}/{kind}" + (f" {detail}" if detail else "")


def followed_name(name: str, kind: str) -> str:
    """Return the name of the study that the follow-up study of this name follows up."""
    return name[: name.rindex(f"/{kind}")]


def continue_command(name: str, kind: str | None) -> str:
    """Return the command that goes on with a study after its workers ended early.

    Args:
        name: Of the study.
        kind: Of a follow-up study; None of any other.
    """
    if kind is None:
        return format_command("resume", name)
    parent = followed_name(name, kind)
    detail = name[len(f"{parent}/{kind}") :].strip()
    match kind:
        case FollowUpKind.CONFIRMATION:
            return format_command("confirm", parent)
        case FollowUpKind.SWEEP:
            return format_command("sweep", parent, options=["--width", detail] if detail else [])
        case FollowUpKind.LEARNING_CURVE:
            return format_command("sweep", parent, options=["--rows", "auto"])
        case FollowUpKind.TRAINING:
            return format_command("train", parent)
        case _:
            return format_command("refine", parent)
