"""The result of a search from Python: widths, table, report, verdict and the network itself.

Entry points: `SearchResult`, which `search` returns; `StudyReport`, which a notebook shows.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ..errors import SpecError
from ..report.evidence import StudyEvidence
from ..report.figures.view import StudyView
from ..report.page.document import Document, compose
from ..report.page.markdown import markdown
from ..report.summary import StudySummary, build_summary
from .trials_table import trials_table

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

_FRAME_HEIGHT = 600
"""Pixels of the report in a notebook; it scrolls within."""


@final
class StudyReport:
    """A study's report: text where it is printed, a page with figures in a notebook.

    Args:
        evidence: Of the study.
        summary: What it has found.
    """

    def __init__(self, evidence: StudyEvidence, summary: StudySummary) -> None:
        self._evidence, self._summary = evidence, summary

    def __str__(self) -> str:
        return markdown(self._document)

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from ..report.page.write import make_report

        page = make_report(self._evidence).files["report.html"].decode()
        # In a frame of its own: the page's styles are for a page.
        return (
            f'<iframe srcdoc="{html.escape(page)}" width="100%" height="{_FRAME_HEIGHT}" '
            'style="border: 0" title="Widthwise report"></iframe>'
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write `report.html`, `report.md`, `report.json` and the figures; return the files.

        Raises:
            SpecError: The folder or a file cannot be written.
        """
        from ..report.page.write import write_report

        return write_report(self._evidence, Path(folder))

    @cached_property
    def _document(self) -> Document:
        return compose(StudyView(evidence=self._evidence, summary=self._summary), [])


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """What a search has found.

    Attributes:
        study: Name of the study.
        storage: URL of its database; a temporary file's, which goes with this result, where none
            was given.
        complete: Whether the search, and its confirmation, came to its end; False after Ctrl-C.
        command: How the command line goes on with the study; None where it cannot, since the
            functions or the data are known to this program alone, or the database is temporary.
        evidence: All that was read of the study.
        model_changes: Keys of the spec, with dots, that the training of `model` has otherwise.
        model_seed: Its seed.
        threads: CPU threads of each training.
    """

    study: str
    storage: str
    complete: bool
    command: str | None
    evidence: StudyEvidence = field(repr=False)
    model_changes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    model_seed: int = field(default=0, repr=False)
    threads: int = field(default=1, repr=False)
    _trained: dict[str, nn.Module] = field(default_factory=dict, repr=False)

    @cached_property
    def summary(self) -> StudySummary:
        """All that the study has found, as its parts."""
        return build_summary(self.evidence)

    @property
    def widths(self) -> dict[str, int]:
        """The widths to take.

        Raises:
            SpecError: No trial is complete yet.
        """
        taken = self.summary.recommended
        if taken is None:
            raise SpecError(
                f"{self.study}: no trial is complete yet, so that there are no widths to take; "
                "`.table` shows what came of the trials"
            )
        return {name: int(taken.widths[name]) for name in self._width_names}

    @property
    def verdict(self) -> str:
        """What the study has come to, in a word, such as "gain" or "no gain"."""
        return str(self.summary.verdict)

    @property
    def verdict_text(self) -> str:
        """The verdict in a sentence, with its numbers."""
        return self.summary.verdict_text

    @property
    def table(self) -> pd.DataFrame:
        """All trials: widths, metric, costs, origin, outcome; a row each, by number."""
        return trials_table(self.evidence.records, self._width_names, self.evidence.spec.metric)

    @property
    def report(self) -> StudyReport:
        """The report: it prints as text, and shows as a page with figures in a notebook."""
        return StudyReport(self.evidence, self.summary)

    def to_json(self) -> dict[str, Any]:
        """Return what `widthwise report --json` writes."""
        return self.summary.to_json()

    def model(self, *, trained: bool = True) -> nn.Module:
        """Return the recommended network on the CPU, in eval mode.

        A study keeps no weights: the network is trained when it is first asked for, on the training
        rows, as in the confirmation, or as in the search where there was none; the weights are
        those of its best epoch on the validation rows. It takes inputs as the trainings did
        (standardised, where Widthwise standardised them).

        Args:
            trained: Whether to train it; else its weights are the initial ones.

        Raises:
            SearchError: No trial is complete yet, or the training failed.
        """
        from .trained_model import train_network, untrained_network

        widths, problem = self.widths, self.evidence.problem
        assert problem is not None, "the program that searched has the model"
        if not trained:
            return untrained_network(problem, widths, self.model_seed)
        if "model" not in self._trained:
            self._trained["model"] = train_network(
                problem, widths, self.model_seed, self.model_changes, threads=self.threads
            )
        return deepcopy(self._trained["model"])

    def __str__(self) -> str:
        lines = [f"study {self.study}: {self.verdict_text}"]
        if self.summary.recommended is not None:
            lines += [" ".join(f"{name}={width}" for name, width in self.widths.items())]
        if not self.complete:
            lines += ["interrupted: the same call goes on, given this name and storage"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()

    @property
    def _width_names(self) -> tuple[str, ...]:
        return self.evidence.space.names
