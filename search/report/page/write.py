"""Writing: a report as files in a folder. Entry point: `write_report`."""

from __future__ import annotations

import json
from pathlib import Path

from ...errors import SpecError
from ..evidence import StudyEvidence
from ..figures.figures import draw_figures
from ..figures.view import make_view
from ..summary import build_summary
from .document import compose
from .html import html
from .markdown import markdown


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
    summary = build_summary(evidence)
    study = make_view(evidence, summary)
    groups = draw_figures(study)
    document = compose(study, groups)
    contents = {
        "report.html": html(document).encode(),
        "report.md": markdown(document, pictures=True).encode(),
        "report.json": (json.dumps(summary.to_json(), indent=2, allow_nan=False) + "\n").encode(),
    }
    for group in groups:
        for figure in group.figures:
            contents[f"{figure.drawing.name}.png"] = figure.drawing.png
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
