"""On our console text is text: in lines, tables, titles and live displays."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text
from widthwise.search.report.console import PlainConsole

HOSTILE = ["x[/foo]", "[bold]b[/bold]", "[link=http://evil.example]l", "[/", "\\[/x]", ":fire:"]
OBEYED = ["\x1b[31mred", "a\u202eb", "a\rb", "\x9b2J", "a\x07b", "\u2067x", "a\u200bb"]


def shown(renderable: object) -> str:
    out = StringIO()
    with redirect_stdout(out):
        PlainConsole(width=100).print(renderable)
    return out.getvalue()


def table_of(cell: str | Text) -> Table:
    table = Table(title=cell, caption=cell)
    table.add_column(cell)
    table.add_row(cell)
    return table


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_is_shown_as_it_is_written(text: str) -> None:
    assert shown(text) == f"{text}\n"
    assert shown(table_of(text)).count(text) == 4
    out = StringIO()
    with redirect_stdout(out), Live(table_of(text), console=PlainConsole(width=100)):
        pass
    assert text in out.getvalue()


@pytest.mark.parametrize("text", OBEYED, ids=ascii)
def test_what_a_terminal_obeys_is_escaped(text: str) -> None:
    escaped = text.encode("unicode_escape").decode()
    assert shown(text) == f"{escaped}\n"
    table = shown(table_of(text))
    assert table.count(escaped) == 4
    lines = table.splitlines()
    assert len({len(line) for line in lines if set(line) & set("┃│")}) == 1  # the borders stand
    # A Text of its own may hold what it likes, too: Rich takes out some of it, we the rest.
    assert all(letter.isprintable() or letter == "\n" for letter in shown(Text(text)))


def test_lines_of_a_text_stay_lines() -> None:
    assert shown("one\ntwo") == "one\ntwo\n"


def test_a_terminal_gets_styles_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    out = StringIO()
    with redirect_stdout(out):
        PlainConsole(width=100).print("bold", style="bold")
    assert out.getvalue() == "\x1b[1mbold\x1b[0m\n"
