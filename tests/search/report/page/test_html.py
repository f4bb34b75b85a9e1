"""The page: one file that asks for nothing, whatever the names in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from widthwise.search.report.figures.figures import draw_figures
from widthwise.search.report.page.document import compose
from widthwise.search.report.page.html import html
from widthwise.tests.search.report.made_study import make_study

STUDY = "x[/foo] <script>alert(1)</script> {{ 7 * 7 }}"
WIDTHS = ("\"'><script>alert(2)</script>", "</svg></style><img/src>")
ERROR = "ValueError: <b>\x1b[31m\u202e"


class _Page(HTMLParser):
    """Tags, attributes, ids and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def text() -> str:
    study = make_study(8, name=STUDY, names=WIDTHS, failed=1, error=ERROR)
    return html(compose(study, draw_figures(study)))


@pytest.fixture(scope="module")
def page(text: str) -> _Page:
    return _Page(text)


def test_there_is_no_script_and_nothing_to_fetch(page: _Page) -> None:
    assert not {"script", "img", "iframe", "object", "embed"} & {*page.tags}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    addresses = [
        value for name, value in page.attributes if name in ("src", "href", "xlink:href", "action")
    ]
    assert {address[0] for address in addresses if not address.startswith("data:")} <= {"#"}
    assert any(value.startswith("default-src 'none'") for _, value in page.attributes)


def test_names_are_shown_as_they_are(page: _Page) -> None:
    assert {STUDY, *WIDTHS, "ValueError: <b>\\x1b[31m\\u202e"} <= {*page.texts}


def test_ids_are_unique(page: _Page) -> None:
    ids = [value for name, value in page.attributes if name == "id"]
    assert len({*ids}) == len(ids)


def test_every_figure_has_words_for_who_does_not_see_it(page: _Page) -> None:
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert len([label for label in labels if label]) >= page.tags.count("figure")


def test_the_verdict_stands_before_every_picture(text: str) -> None:
    assert text.index('id="verdict"') < text.index("<svg")


def test_both_themes_have_every_colour(text: str) -> None:
    used = {*re.findall(r"var\(--([a-z0-9]+)", text)}
    first, dark = text.split("prefers-color-scheme: dark", 1)
    for name in used - {"least", "card", "page", "good", "shadow"}:
        assert f"--{name}:" in first
        assert f"--{name}:" in dark
