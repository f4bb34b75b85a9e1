"""The report as Markdown."""

from __future__ import annotations

from markdown_it import MarkdownIt
from widthwise.search.report.figures.figures import draw_figures
from widthwise.search.report.page.document import compose
from widthwise.search.report.page.markdown import escape_markdown, markdown
from widthwise.tests.search.report.made_study import make_study

HOSTILE = "[/h]|**b**`c`<i>_d_![x](y)"


def test_the_verdict_comes_first_then_the_answer() -> None:
    text = markdown(compose(make_study(), []))
    lines = [line for line in text.splitlines() if line]
    assert lines[0] == "# digits"
    assert lines[1].startswith("20 complete, of a budget of 20. Looked for the best")
    assert lines[2].startswith("Verdict: ")
    assert lines[3].startswith("**")
    assert lines[4].startswith("The likeliest widths so far (recommended): hidden1=")


def test_pictures_are_linked_only_where_they_are() -> None:
    study = make_study(6)
    document = compose(study, draw_figures(study))
    assert "](history.png)" in markdown(document, address=lambda name: f"{name}.png")
    assert "](" not in markdown(document)


def test_hostile_text_is_text() -> None:
    rendered = MarkdownIt("commonmark").render(escape_markdown(HOSTILE))
    assert rendered == f"<p>{HOSTILE.replace('<', '&lt;').replace('>', '&gt;')}</p>\n"


def test_hostile_names_do_not_break_tables() -> None:
    rendered = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(markdown(compose(make_study(6, names=(HOSTILE, "b"), name=HOSTILE), [])))
    )
    assert "<i>" not in rendered
    assert "<img" not in rendered
    assert rendered.count("<table>") == 2
