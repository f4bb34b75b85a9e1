"""Ctrl-C is a person's; whatever else user code raises is its own."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest
from widthwise.objectives.errors import ModelError, as_exception
from widthwise.objectives.interrupt import note_interrupts, raise_if_interrupt


class OwnEnding(BaseException):
    """A user's own exception that is no Exception."""


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        GeneratorExit(),
        SystemExit(0),
        OwnEnding("stop"),
        ValueError("bad"),
        pytest.param(KeyboardInterrupt(), id="KeyboardInterrupt that no signal caused"),
    ],
    ids=repr,
)
def test_what_user_code_raises_is_an_exception(error: BaseException) -> None:
    with note_interrupts():
        raise_if_interrupt(error)
        described = as_exception(error)
    if isinstance(error, Exception):
        assert described is error
    else:
        assert isinstance(described, ModelError)
        assert described.__cause__ is error
        assert "let it raise an exception instead" in str(described)


def test_a_noted_ctrl_c_goes_through() -> None:
    with note_interrupts():
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt) as again:
            raise_if_interrupt(caught.value)
        assert again.value is caught.value
        with pytest.raises(KeyboardInterrupt):
            as_exception(caught.value)
        raise_if_interrupt(asyncio.CancelledError())
    with note_interrupts():
        raise_if_interrupt(caught.value)  # the signal of an earlier command is none of this one's


def test_where_nobody_notes_signals_each_keyboard_interrupt_counts() -> None:
    with pytest.raises(KeyboardInterrupt):
        raise_if_interrupt(KeyboardInterrupt())


def test_where_ctrl_c_is_ignored_no_keyboard_interrupt_is_a_persons() -> None:
    """As in a job that a script started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with note_interrupts():
            signal.raise_signal(signal.SIGINT)
            raise_if_interrupt(KeyboardInterrupt())
            assert isinstance(as_exception(KeyboardInterrupt()), ModelError)
    finally:
        signal.signal(signal.SIGINT, before)


def test_pythons_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with note_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


IGNORING = """
import signal
from widthwise.objectives.interrupt import ignore_interrupts, raise_if_interrupt
ignore_interrupts()
for signum in (signal.SIGINT, signal.SIGTERM):
    signal.raise_signal(signum)
signal.signal(signal.SIGINT, signal.default_int_handler)  # as user code may
raise_if_interrupt(KeyboardInterrupt())
print("goes on")
"""


def test_a_process_that_ignores_signals_takes_no_interrupt_for_a_persons() -> None:
    done = subprocess.run([sys.executable, "-c", IGNORING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", "")
