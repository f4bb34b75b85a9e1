"""A study's report on a terminal: its tables, the verdict, the confirmation and the diagnosis.

Entry points: `print_report`; `confirmation_table`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from ..printable import escape_controls
from .tables import print_table

if TYPE_CHECKING:
    from ..report.confirmation.confirmation import Confirmation
    from ..report.summary import StudySummary


def print_report(console: Console, summary: StudySummary) -> None:
    """Print the comparison table and the verdict of a study."""
    from ..report.answer_lines import answer_lines
    from ..report.summary import FLOPS_NOTE, comparison_table, progress_line

    titles, rows = comparison_table(summary)
    print_table(console, titles, rows, title=progress_line(summary))
    console.print(FLOPS_NOTE, style="dim")
    console.print(summary.verdict_text, style="bold", markup=False)
    for line in answer_lines(summary):
        console.print(line, markup=False)
    _print_confirmation(console, summary)
    if summary.diagnosis is not None:
        for line in summary.diagnosis.headlines():
            if line != summary.verdict_text:
                console.print(f"- {line}", markup=False)


def _print_confirmation(console: Console, summary: StudySummary) -> None:
    """Print what the confirmation showed, its table, and how far short trainings can be trusted."""
    confirmation = summary.confirmation
    if confirmation is None:
        return
    console.print()
    # A verdict that stands is printed above, as the study's.
    for line in confirmation.sentences()[int(confirmation.complete) :]:
        console.print(line, markup=False)
    console.print(confirmation_table(confirmation))
    console.print(f"validation: mean ± standard error; {confirmation.difference_unit}", style="dim")
    if summary.proxy_fidelity is not None:
        for line in summary.proxy_fidelity.sentences():
            console.print(line, markup=False)


def confirmation_table(confirmation: Confirmation) -> Table:
    """Return a confirmation's table, which fits 80 columns: only the contenders' names wrap."""
    from ..report.confirmation.confirmation import TITLES

    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, title in enumerate(TITLES):
        table.add_column(title, justify="right" if index else "left", no_wrap=bool(index))
    table.columns[0].min_width = len("recommended,")
    for row in confirmation.rows():
        table.add_row(*map(escape_controls, row))
    return table
