"""How a data file is to be read, where the user says it.

Entry point: `ReadOptions`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What the user says of a data file; the rest is recognised.

    Attributes:
        missing: Words that stand for a missing value in any column, besides the empty field.
        encoding: Name of the text encoding, as Python knows it; None to recognise it.
        separator: What stands between two fields: one character, `tab`, or `space` for any number
            of blanks; None to recognise it.
        header: Whether the first row holds the column names; None to recognise it.
    """

    missing: tuple[str, ...] = ()
    encoding: str | None = None
    separator: str | None = None
    header: bool | None = None


DEFAULT_OPTIONS = ReadOptions()
