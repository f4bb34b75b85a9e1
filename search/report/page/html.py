"""The report as one HTML file: no script, nothing to fetch, light and dark, for a phone as well.

Every text is escaped by the template engine, for names are as users gave them; and the page's own
policy forbids scripts and requests, whatever stood in it. Entry point: `html`.
"""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ...printable import escape_controls
from ..figures.style.palette import css_variables
from .document import Document

SHOWN_SENTENCES = 6
"""Sentences of a section that are seen at once; the others are behind a click."""


def html(document: Document) -> str:
    """Return the whole file."""
    folder = files(__package__)
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        keep_trailing_newline=True,
    )
    template = environment.from_string(folder.joinpath("report.html.jinja").read_text("utf-8"))
    return template.render(
        report=document,
        shown=SHOWN_SENTENCES,
        style=Markup(folder.joinpath("report.css").read_text("utf-8")),  # noqa: S704 - our own
        light=css_variables(dark=False),
        dark=css_variables(dark=True),
    )


def _shown(value: object) -> object:
    """Return what a page shows of a value: controls in a text are escaped, as everywhere."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_controls(value)
    return value
