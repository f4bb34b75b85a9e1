"""Text from outside, made safe to show: what a terminal obeys, or nobody sees, is escaped.

Names of studies and widths, columns and classes of a data file, paths, host names and messages of
exceptions come from files, databases and other people. A control character in them moves the cursor
or writes over what stands there, and a bidirectional one shows a name backwards.

Entry points: `escape_controls` for whatever is shown, `find_control` for names, which are refused
instead; `redact_urls` takes passwords out of URLs that stand where nobody expected one.
"""

from __future__ import annotations

import re
import unicodedata

# Control (C0, C1), format (bidirectional, zero-width), surrogate, line and paragraph separator.
_CONTROL_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Letters and marks by category, and yet invisible: fillers and joiners.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")

_URL_PASSWORD = re.compile(r"(?P<start>[A-Za-z][\w+]*://[^\s/:@]*):(?!\*\*\*@)\S*@")


def escape_controls(text: str, *, keep: str = "") -> str:
    r"""Return a text with every control or invisible character as Python writes it: `\x1b`.

    Args:
        text: Of whatever origin.
        keep: Characters that stay, such as the line ends of a text of several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode()
        if _is_control(letter) and letter not in keep
        else letter
        for letter in text
    )


def find_control(name: str) -> str | None:
    """Return the first control or invisible character of a name, such as "U+202E"; None if none."""
    return next((f"U+{ord(letter):04X}" for letter in name if _is_control(letter)), None)


def redact_urls(text: str) -> str:
    """Return a text with `***` for the password of every URL in it."""
    return _URL_PASSWORD.sub(r"\g<start>:***@", text)


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) in _CONTROL_CATEGORIES or letter in _INVISIBLE


def shortened(text: str, most: int) -> str:
    """Return a text of whatever origin, escaped, in so many letters at most."""
    text = escape_controls(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
