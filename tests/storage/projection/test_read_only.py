"""Read-only: what is refused, and what is not to be seen."""

from __future__ import annotations

from wsgiref.util import setup_testing_defaults

import pytest
from widthwise.storage.projection.read_only import NO_EDITING, add_style, read_only

METHODS = ("POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
PAGE = b"<html><head><title>x</title></head><body></body></html>"


def ask(application, path, method="GET", **more):
    """One request to a WSGI application: its status line, headers and body."""
    answer = []

    def start_response(status, headers, _error=None):
        answer[:] = [status, dict(headers)]

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, **more}
    setup_testing_defaults(environ)
    body = b"".join(application(environ, start_response))
    return (*answer, body)


@pytest.mark.parametrize("method", METHODS)
def test_whatever_is_not_get_is_refused(method):
    reached = []

    def dashboard(environ, start_response):
        reached.append(environ["REQUEST_METHOD"])
        start_response("200 OK", [])
        return [b""]

    assert ask(read_only(dashboard), "/api/studies/1", method)[0] == "403 Forbidden"
    assert reached == []
    assert ask(read_only(dashboard), "/api/studies/1")[0] == "200 OK"


def page(environ, start_response):
    if "HTTP_IF_MODIFIED_SINCE" in environ:
        start_response("304 Not Modified", [])
        return []
    headers = [
        ("Content-Type", environ.get("as_type", "text/html; charset=UTF-8")),
        ("Content-Length", str(len(PAGE))),
        ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ]
    start_response("200 OK", headers)
    return [PAGE[:20], PAGE[20:]]


def test_a_page_has_the_style_in_its_head():
    status, headers, body = ask(add_style(page, "b{color:red}"), "/dashboard/studies/1")
    assert status == "200 OK"
    assert body == PAGE.replace(b"</head>", b"<style>b{color:red}</style></head>")
    assert headers["Content-Length"] == str(len(body))
    assert "Last-Modified" not in headers, "or a browser would keep a page of another style"


def test_a_page_that_the_browser_has_is_sent_all_the_same():
    status, _, body = ask(
        add_style(page, NO_EDITING), "/dashboard/", HTTP_IF_MODIFIED_SINCE="yesterday"
    )
    assert status == "200 OK"
    assert NO_EDITING.encode() in body


def test_the_answer_is_closed_once_it_is_read():
    class Answer(list):
        closed = False

        def close(self):
            self.closed = True

    parts = Answer([PAGE])

    def from_a_file(_environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        return parts

    ask(add_style(from_a_file, "b{}"), "/dashboard/")
    assert parts.closed


def test_what_is_no_page_stays_as_it_is():
    assert ask(add_style(page, "b{}"), "/dashboard/x", as_type="image/png")[2] == PAGE
    assert ask(add_style(page, "b{}"), "/static/bundle.js")[2] == PAGE
