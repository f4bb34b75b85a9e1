"""Commands as messages show them: quoted, so that they can be copied into a shell as they stand.

Entry point: `format_command`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def format_command(
    verb: str, *operands: object, options: Sequence[str] = (), program: str = "widthwise"
) -> str:
    """Return a command line of ours.

    Args:
        verb: Such as "resume".
        operands: Names of studies, or files.
        options: Flags and their values.
        program: What is called.

    Example:
        `format_command("resume", "my study", options=["--trials", "+20"])` is
        `widthwise resume 'my study' --trials +20`; of a name that begins with a dash it is
        `widthwise resume --trials +20 -- -name`.
    """
    words = [str(operand) for operand in operands]
    if any(word.startswith("-") for word in words):
        return shlex.join([program, verb, *options, "--", *words])
    return shlex.join([program, verb, *words, *options])
