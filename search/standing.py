"""Where a study stands: its spec and folder, its state, and the report of what it found.

Entry points: `state` (budget, trials, workers), `summarise` (the report), `spec_of`, `base_of`,
`check_fingerprint`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..storage.database import Database
from ..storage.ledger import Ledger
from ..storage.row import StudyRow
from ..storage.study import load_study
from .errors import FingerprintMismatch, SearchError
from .spec import Spec
from .stopping import worker_name

if TYPE_CHECKING:
    from .candidates import FeasibleSet

_log = logging.getLogger(__name__)


def spec_of(row: StudyRow) -> Spec:
    """The spec that a study was made with."""
    return Spec.model_validate_json(row.spec, strict=False)


def base_of(row: StudyRow) -> Path:
    """The folder of the study's spec; where it is not on this machine, the current one."""
    return Path(row.base) if Path(row.base).is_dir() else Path.cwd()


def check_fingerprint(row: StudyRow) -> None:
    """Nothing, if the model's code and the data are what the study was started with.

    Raises:
        FingerprintMismatch: They are not.
    """
    from .problem import fingerprint

    found = fingerprint(spec_of(row), base_of(row))
    if found != row.fingerprint:
        raise FingerprintMismatch(
            f"study {row.name} was made with other code or data: its fingerprint is "
            f"{row.fingerprint[:12]}, here it is {found[:12]}; bring back the model and data "
            "files it was started with, or start a study of another name"
        )


def state(database: Database, row: StudyRow) -> dict[str, Any]:
    """Budget, trials by state and workers of a study, as `status --json` gives them."""
    from .report import progress

    ledger = Ledger(database, row, worker=worker_name())
    return {
        "study": row.name,
        **progress(ledger.counts()),
        "workers": [{"worker": record.worker, "trial": record.number} for record in ledger.held()],
    }


def summarise(database: Database, name: str) -> dict[str, Any]:
    """The report of a study with the pick over all feasible candidates; see `report.summary`."""
    from .report import summary  # the surrogate with it, which a worker's parent does not need

    row = load_study(database, name)
    ledger = Ledger(database, row, worker=worker_name())
    records, counts = ledger.records(), ledger.counts()
    feasible = feasible_of(row) if counts.complete else None
    return summary(row, spec_of(row), records, counts, feasible)


def feasible_of(row: StudyRow) -> FeasibleSet | None:
    """The candidates of a study; None where its model or data are not on this machine."""
    from ..objectives.errors import ObjectiveError
    from .problem import Problem

    try:
        return Problem.load(spec_of(row), base_of(row), row.costs).feasible
    except (ObjectiveError, SearchError) as error:
        _log.debug("only trained candidates are judged: %s", error)
        return None
