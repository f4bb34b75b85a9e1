"""Read-only: a dashboard that changes nothing, and does not look as if it did.

`read_only` refuses every request that is not a GET. `add_style` puts a style sheet into each page;
with `NO_EDITING` its buttons that create, rename, edit and delete are not there. They are found by
the names of their icons, which Material UI writes into every release's pages, and by their labels;
a test in a real browser tells when a release calls them otherwise. Whatever a page shows, what it
sends is refused all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .host_check import refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_EDITING_ICONS = (
    "AddBoxIcon",
    "DeleteIcon",
    "DriveFileRenameOutlineIcon",
    "EditIcon",
)
_EDITING_LABELS = ("rename study", "delete study", "create study", "delete artifact")


def _hide(selectors: Iterable[str]) -> str:
    # A rule of its own for each: a browser drops a whole rule for one selector it cannot read.
    return "".join(f"{selector}{{display:none!important}}" for selector in selectors)


NO_UPLOADS = _hide(
    [
        '.MuiCard-root:has(svg[data-testid="UploadFileIcon"]):not(:has(.MuiCard-root))',
        'button[aria-label="delete artifact"]',
    ]
)
"""Style: no card to upload files with: there is no place that would keep them."""

NO_EDITING = _hide(
    [
        *(f'button:has(svg[data-testid="{icon}"])' for icon in _EDITING_ICONS),
        *(f'button[aria-label="{label}"]' for label in _EDITING_LABELS),
    ]
)
"""Style: no button that changes a study."""


def read_only(application: WSGIApplication) -> WSGIApplication:
    """Return an application that answers GET as the given one and refuses any other method."""

    def refuse_changes(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            return application(environ, start_response)
        return refuse(
            start_response,
            "403 Forbidden",
            "This dashboard only reads; start it with --writable to change things.",
        )

    return refuse_changes


def add_style(application: WSGIApplication, style: str) -> WSGIApplication:
    """Return an application whose pages have a style sheet of ours in their heads.

    Args:
        application: Answers.
        style: Rules.
    """
    element = f"<style>{style}</style>".encode()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith("/dashboard"):
            return application(environ, start_response)
        # A page that the browser has already would not have the style.
        environ = {key: value for key, value in environ.items() if key not in _CONDITIONS}
        started: list[Any] = []

        def note_start(status: str, headers: Any, exc_info: Any = None) -> Any:
            started[:] = [status, list(headers), exc_info]
            return lambda _data: None

        parts = application(environ, note_start)
        try:
            body = b"".join(parts)
        finally:
            # PEP 3333: whoever reads an answer closes it; a file is behind some of them.
            getattr(parts, "close", lambda: None)()
        status, headers, exc_info = started
        kinds = {name.lower(): value for name, value in headers}
        if kinds.get("content-type", "").startswith("text/html"):
            body = body.replace(b"</head>", element + b"</head>", 1)
            dropped = ("content-length", "last-modified", "etag")
            headers = [pair for pair in headers if pair[0].lower() not in dropped]
            headers.append(("Content-Length", str(len(body))))
        start_response(status, headers, exc_info)
        return [body]

    return answer


_CONDITIONS = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "HTTP_RANGE")
