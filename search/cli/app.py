"""The edge of the command line: where the process begins, and where every error becomes a sentence.

`main` imports nothing but Python's own foundations before Ctrl-C is heard: pressed while the
program is being imported it ends it with one word and exit code 130. Only then come the verbs.

Output that cannot be written ends nothing: stderr is for people, and a search goes on without
them; that stdout took no more is said once at the end, unless whoever read it just went away.
What an encoding lacks is written in ASCII.

Entry point: `main`.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # `python -m` puts the current folder first, whose files would stand for the libraries below.
    sys.path.pop(0)

import codecs
import errno
import os
import signal
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from types import FrameType

_INTERRUPTED = 130
_BAD_INPUT = 2
_ENCODING_ERRORS = "widthwise-ascii"
_ASCII = {
    "≤": "<=",
    "≥": ">=",
    "×": "x",
    "±": "+-",
    "–": "-",
    "—": "-",
    "…": "...",
    "“": '"',
    "”": '"',
    "★": "*",
    "²": "^2",
}

_interrupted = False


def main() -> None:
    """Run a command and exit with its documented code."""
    _open_closed_streams()
    _hear_ctrl_c()
    codecs.register_error(_ENCODING_ERRORS, _write_in_ascii)
    # pytest's and the shell's streams alike; whoever replaced them gets them back.
    plain_streams = sys.stdout, sys.stderr
    out, err = _Stream(sys.stdout), _Stream(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        code = _run_command()
        for stream in (out, err):
            stream.flush()
        if out.failure is not None and out.failure.errno != errno.EPIPE and not code:
            code = _end(
                f"stdout took no more ({out.failure.strerror}), so what was to be shown is lost, "
                "and nothing else; make room and ask again: `widthwise report` shows a study's "
                "results at any time",
                _BAD_INPUT,
            )
            err.flush()
    finally:
        # What is left are the interpreter's own last steps, which Ctrl-C would only litter.
        if signal.getsignal(signal.SIGINT) is _on_interrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout, sys.stderr = plain_streams
    raise SystemExit(code)


def _run_command() -> int:
    """Run the command of `sys.argv`; return its exit code, every error said."""
    try:
        from .verbs import run_command

        code = run_command()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BaseException as error:
        if not _interrupted:
            return _end_with_error(error)
        code = _INTERRUPTED  # some libraries turn an interruption into an error of their own
    return _end("interrupted", code) if code == _INTERRUPTED else code


def _end_with_error(error: BaseException) -> int:
    """Write what went wrong, unless it is a verb's own end; return the exit code."""
    from ...objectives.errors import describe_error
    from ...objectives.user_code import raised_by_user_code
    from ..errors import ExitCode, exit_code_of

    is_exit = isinstance(error, SystemExit)
    if isinstance(error, SystemExit) and not raised_by_user_code(error):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if os.environ.get("WIDTHWISE_DEBUG"):
        import logging

        logging.getLogger(__name__).exception("traceback of the error")
    if is_exit or not isinstance(error, Exception):
        message = f"your code raised {describe_error(error)}; let it raise an Exception instead"
        return _end(message, ExitCode.BAD_INPUT)
    exit_code = exit_code_of(error)
    if exit_code is None:
        message = f"{type(error).__name__}: {error} (a bug of ours; --debug shows where)"
        return _end(message, ExitCode.BUG)
    return _end(str(error), exit_code)


def _end(message: str, code: int) -> int:
    """Write a last message; return the exit code."""
    from ..printable import escape_controls, redact_urls

    # To be done, drained or interrupted is no error.
    prefix = "" if code in (0, 75, _INTERRUPTED) else "error: "
    for line in filter(None, message.split("\n")):
        sys.stderr.write(f"{prefix}{escape_controls(redact_urls(line))}\n")
    return int(code)


def _open_closed_streams() -> None:
    """Open what the shell closed (`>&-`), lest the next file, a database say, take its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _hear_ctrl_c() -> None:
    global _interrupted
    _interrupted = False
    # One that is ignored stays so: a job in the background, say.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)


def _on_interrupt(_signum: int, frame: FrameType | None) -> None:
    """Interrupt; at once where a module is being imported.

    Within an import an exception may end up anywhere: written as a traceback, swallowed, or turned
    into another one. Nothing is half done there that a database would not undo.
    """
    global _interrupted
    _interrupted = True
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"interrupted\n")
            os._exit(_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def _write_in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks by ASCII: `≤` by `<=`, any other by its escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    escaped = (
        _ASCII.get(letter) or letter.encode("ascii", "backslashreplace").decode("ascii")
        for letter in text
    )
    return "".join(escaped), error.end


@final
class _Stream:
    """A text stream whose writes never raise; the first failure is kept.

    Attributes:
        failure: Why it takes no more; None while it does.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure: OSError | None = None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ENCODING_ERRORS)

    def write(self, text: str) -> int:
        """Write text, unless a write has failed before."""
        if self.failure is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Write out what is buffered."""
        if self.failure is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = error
        # The buffer's rest goes nowhere, also when the interpreter flushes it at its end.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


if __name__ == "__main__":
    main()
