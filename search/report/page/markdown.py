"""The report as Markdown: the verdict, pictures where there are files of them, words and tables.

Entry points: `markdown`, `escape_markdown`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ...printable import escape_controls
from .document import Document
from .tables import Table


def markdown(
    document: Document,
    *,
    address: Callable[[str], str] | None = None,
    tables: bool = True,
) -> str:
    """Return a report as a Markdown document.

    Args:
        document: The report.
        address: Returns where the PNG of a drawing's name is found; None leaves pictures out.
        tables: Whether it lists networks, trials and failures.
    """
    lines = [f"# {escape_markdown(document.title)}", ""]
    lines += [f"{escape_markdown(document.progress)}. {escape_markdown(document.aim)}", ""]
    lines += [f"Verdict: {escape_markdown(document.verdict_word)}", ""]
    lines += [f"**{escape_markdown(document.verdict_text)}**", ""]
    if document.widths:
        widths = " ".join(f"{name}={width}" for name, width in document.widths)
        lines += [f"{escape_markdown(document.widths_title)}: {escape_markdown(widths)}", ""]
        lines += [f"- {escape_markdown(f'{name}: {value}')}" for name, value in document.facts]
        lines += [""]
    for remark in document.remarks:
        lines += [escape_markdown(remark), ""]
    for section in document.sections:
        figures = section.figures if address is not None else ()
        listed = section.tables if tables else ()
        if not (section.sentences or figures or listed):
            continue
        lines += [f"## {escape_markdown(section.title)}", ""]
        lines += [f"- {escape_markdown(sentence)}" for sentence in section.sentences]
        lines += [""] if section.sentences else []
        for figure in figures:
            drawing = figure.drawing
            assert address is not None
            lines += [f"![{escape_markdown(drawing.alt)}]({address(drawing.name)})", ""]
            lines += [f"{escape_markdown(figure.caption)}", ""]
        for table in listed:
            lines += [escape_markdown(table.note), ""] if table.note else []
            lines += [*_table(table), ""]
    lines += [escape_markdown(" ".join(document.notes))]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    titles = [column.title for column in table.columns]
    rules = ["---:" if column.number else "---" for column in table.columns]
    return [_row(titles), f"| {' | '.join(rules)} |", *(_row(row.cells) for row in table.rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escape_markdown, cells))} |"


def escape_markdown(text: str) -> str:
    """Return a text of whatever origin as one line that Markdown shows as it is."""
    return re.sub(r"([\\`*_<|\[\]&~])", r"\\\1", escape_controls(text))
