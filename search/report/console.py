"""The console that everything for people goes through: on it text is text.

Rich takes `[/foo]` in a text for markup, and `:fire:` for a picture; a study, a column or a host
may be called so. `PlainConsole` reads neither, in tables and live displays as well, and escapes
what a terminal would obey (`printable`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from ..printable import escape_controls


class PlainConsole(Console):
    """A console without markup.

    Args:
        stderr: Whether it writes to standard error.
        width: Columns; None for the terminal's own.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as Rich lays it out, escaped before it is measured."""
        options |= {"markup": False, "emoji": False}
        return super().render_str(escape_controls(text, keep="\n"), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is written; a `Text` made elsewhere has not come by `render_str`."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=escape_controls(segment.text, keep="\n"))
