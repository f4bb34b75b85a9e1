"""The problem of a study in the database: its spec, its folder and its fingerprint."""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path

from ...storage.ledger.slot import StudyRow
from ..errors import FingerprintMismatch
from ..spec.proxy_section import REMOVED_ENGINE
from ..spec.spec import Spec

_log = logging.getLogger(__name__)


def stored_spec(row: StudyRow) -> Spec:
    """Return the spec of a study; "auto" takes the place of an engine that was removed since."""
    values = json.loads(row.spec)
    if values["proxy"].get("engine") == REMOVED_ENGINE:
        values["proxy"]["engine"] = "auto"
        _warn_removed(row.name)
    return Spec.model_validate_json(json.dumps(values), strict=False)


def base_folder(row: StudyRow) -> Path:
    """Return the folder of the study's spec; the current one if it is not on this machine."""
    return Path(row.base) if Path(row.base).is_dir() else Path.cwd()


def check_fingerprint(row: StudyRow) -> None:
    """Check that the model's code and the data are what the study was started with.

    Raises:
        FingerprintMismatch: They are not.
    """
    from ..problem.problem import problem_fingerprint

    actual = problem_fingerprint(stored_spec(row), base_folder(row))
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
