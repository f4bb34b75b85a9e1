"""Commands as messages show them, read again by the shell and by the program itself."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from widthwise.search.command import format_command
from widthwise.tests.deploy.verbs import parse_command_line

NAMES = ["iris", "my study/1", "it's", 'say "hi"', "-x", "--json", "$HOME", "a;b", "größe", "`id`"]


@pytest.mark.parametrize("name", NAMES)
def test_a_command_reaches_the_program_as_it_was_meant(name: str) -> None:
    text = format_command("resume", name, options=["--trials", "+20"])
    parsed = parse_command_line(shlex.split(text))
    assert (parsed["name"], parsed["trials"]) == (name, "+20")


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_takes_a_command_apart_as_it_was_put_together(name: str) -> None:
    command = format_command("status", name, program="printf '%s\\n'")
    quoted = command.replace(shlex.quote("printf '%s\\n'"), "printf '%s\\n'")
    done = subprocess.run(["bash", "-c", quoted], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == name


def test_what_needs_no_quotes_has_none() -> None:
    assert format_command("resume", "iris", options=["--trials", "+20"]) == (
        "widthwise resume iris --trials +20"
    )
