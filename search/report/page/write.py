"""Writing: a report as files in a folder. Entry points: `write_report`, `make_report`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import SpecError
from ..evidence import StudyEvidence
from ..figures.figures import draw_figures
from ..figures.view import StudyView
from ..summary import build_summary
from .document import Document, compose
from .html import html
from .markdown import markdown


@dataclass(frozen=True, kw_only=True)
class Report:
    """A study's report, ready to be written.

    Attributes:
        document: What stands in it.
        files: Contents by file name, the page first.
    """

    document: Document
    files: Mapping[str, bytes]


def make_report(evidence: StudyEvidence) -> Report:
    """Draw a study and put its report together.

    Args:
        evidence: Of the study.
    """
    summary = build_summary(evidence)
    study = StudyView(evidence=evidence, summary=summary)
    groups = draw_figures(study)
    document = compose(study, groups)
    as_json = json.dumps(summary.to_json(), indent=2, allow_nan=False) + "\n"
    files = {
        "report.html": html(document).encode(),
        "report.md": markdown(document, address=lambda name: f"{name}.png").encode(),
        "report.json": as_json.encode(),
    }
    for group in groups:
        for figure in group.figures:
            files[f"{figure.drawing.name}.png"] = figure.drawing.png
    return Report(document=document, files=files)


def write_report(evidence: StudyEvidence, folder: Path) -> list[Path]:
    """Write `report.html`, `report.md`, `report.json` and a PNG for each figure.

    Args:
        evidence: Of the study.
        folder: Where to; it is made if it is not there. Other files in it stay.

    Returns:
        The files, the page first.

    Raises:
        SpecError: The folder or a file cannot be written.
    """
    contents = make_report(evidence).files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise SpecError(
            f"--out: {error.filename or folder} cannot be written ({error.strerror}); give a "
            "folder that you may write to"
        ) from error
    return [folder / name for name in contents]
