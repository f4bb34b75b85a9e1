"""What a terminal would obey, or nobody sees, is escaped where shown and found in names."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from widthwise.search.printable import escape_controls, find_control, redact_urls

CONTROLS = {
    "escape": "\x1b",
    "bell": "\x07",
    "line end": "\n",
    "carriage return": "\r",
    "delete": "\x7f",
    "C1 introducer": "\x9b",
    "next line": "\x85",
    "right to left": "\u202e",
    "left to right": "\u202d",
    "isolate": "\u2066",
    "end of isolate": "\u2069",
    "zero width": "\u200b",
    "joiner": "\u200d",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "line separator": "\u2028",
    "Arabic letter mark": "\u061c",
    "tag": "\U000e0041",
    "filler": "\u3164",
    "half of a pair": "\udc9b",
}


@pytest.mark.parametrize("letter", CONTROLS.values(), ids=CONTROLS)
def test_a_control_character_is_escaped_and_found(letter):
    text = f"a{letter}b"
    escaped = escape_controls(text)
    assert letter not in escaped
    assert escaped.isprintable()
    assert (escaped[:2], escaped[-1]) == ("a\\", "b")
    assert find_control(text) == f"U+{ord(letter):04X}"


@pytest.mark.parametrize(
    "text", ["größe ≤ 3", "[/foo] :fire:", "日本語", "عربي", "c:\\x1b", "naïve · 100 %", "e\u0301"]
)
def test_what_people_write_stays(text):
    assert escape_controls(text) == text
    assert find_control(text) is None


@example(text="\x1b[31m\u202e")
@given(text=st.text(st.characters()))
def test_nothing_that_a_terminal_obeys_is_left(text):
    escaped = escape_controls(text, keep="\n")
    categories = {unicodedata.category(letter) for letter in escaped if letter != "\n"}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert escape_controls(escaped, keep="\n") == escaped
    assert escaped.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no postgresql://me:hunter2@host/db here", "no postgresql://me:***@host/db here"),
        ("postgres+x://me:hun@ter2@host/db", "postgres+x://me:***@host/db"),
        ("redis://:hunter2@host", "redis://:***@host"),
        ("a://b:c@d, postgresql://me:hunter2@host", "a://b:***@d, postgresql://me:***@host"),
        ("postgresql://me:***@host/db", "postgresql://me:***@host/db"),
        ("sqlite:///x@y.db", "sqlite:///x@y.db"),
        ("http://host:80/a@b c", "http://host:***@b c"),
        ("a: b@c", "a: b@c"),
    ],
)
def test_passwords_of_urls_are_taken_out_of_any_text(text, expected):
    assert redact_urls(text) == expected
