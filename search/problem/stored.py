"""The problem of a study in the database: its spec, its folder and its fingerprint."""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from ...objectives.user_code import first_line
from ...storage.ledger.slot import StudyRow
from ..errors import FingerprintMismatch, StoredSpecUnreadable
from ..spec.messages import error_messages
from ..spec.proxy_section import REMOVED_ENGINE
from ..spec.spec import Spec

_MAX_FINDINGS = 3

_log = logging.getLogger(__name__)


def stored_spec(row: StudyRow) -> Spec:
    """Return the spec of a study; "auto" takes the place of an engine that was removed since.

    Raises:
        StoredSpecUnreadable: A newer release wrote it, or the row is damaged.
    """
    try:
        values = json.loads(row.spec)
        proxy = values.get("proxy") if isinstance(values, dict) else None
        if isinstance(proxy, dict) and proxy.get("engine") == REMOVED_ENGINE:
            proxy["engine"] = "auto"
            _warn_removed(row.name)
        return Spec.model_validate_json(json.dumps(values), strict=False)
    except ValidationError as error:
        findings = error_messages(error, Spec, "")
        cause = "; ".join(finding.removeprefix(": ") for finding in findings[:_MAX_FINDINGS])
    except (ValueError, RecursionError) as error:
        cause = f"it is no JSON: {first_line(error)}"
    raise StoredSpecUnreadable(
        f"the spec that the database holds of study {row.name} cannot be read ({cause}): a newer "
        "release of Widthwise wrote it, or it is damaged; use that release, or start a study of "
        "another name"
    )


def base_folder(row: StudyRow) -> Path:
    """Return the folder of the study's spec; the current one if it is not on this machine."""
    return Path(row.base) if Path(row.base).is_dir() else Path.cwd()


def check_fingerprint(row: StudyRow, folder: Path | None = None) -> None:
    """Check that the model's code and the data are what the study was started with.

    Args:
        row: The study.
        folder: Where they are; None for where they were.

    Raises:
        FingerprintMismatch: They are not.
    """
    from ..problem.problem import problem_fingerprint

    actual = problem_fingerprint(stored_spec(row), folder or base_folder(row))
    if actual != row.fingerprint:
        raise FingerprintMismatch(
            f"study {row.name} was made with other code or data: its fingerprint is "
            f"{row.fingerprint[:12]}, here it is {actual[:12]}; bring back the model and data "
            "files it was started with, or start a study of another name"
        )


@cache
def _warn_removed(study: str) -> None:
    """Warn once that another engine trains a study whose spec names one that was removed."""
    _log.warning(
        'study %s was made with the engine "%s", which was removed: "auto" takes its place',
        study,
        REMOVED_ENGINE,
    )
