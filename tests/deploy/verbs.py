"""The command line's own view of a command, so that what a manifest runs is known to exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer.main
from widthwise.search.cli.verbs import app


def parse_command_line(arguments: Sequence[str]) -> dict[str, Any]:
    """The options that a command line comes to; raises where it has a verb or flag too many."""
    command: Any = typer.main.get_command(app)
    remaining = list(arguments)
    assert remaining.pop(0) == "widthwise"
    while hasattr(command, "commands"):
        name = remaining.pop(0)
        command = command.commands[name]
    options: dict[str, Any] = command.make_context(command.name, remaining).params
    return options


def default_grace() -> float:
    """Seconds that a worker takes to stop unless told otherwise."""
    return float(parse_command_line(["widthwise", "worker"])["grace_seconds"])
