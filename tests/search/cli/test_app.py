"""The edge of the command line: Ctrl-C at any moment, and output that cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

INTERRUPTED_IMPORT = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv = ["widthwise", *{arguments!r}]
from widthwise.search.cli.app import main
main()
"""


def run_python(code: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **options,
    )


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        pytest.param("widthwise.search.cli.verbs", ["status"], id="the verbs"),
        pytest.param("typer", ["status"], id="the parser"),
        pytest.param("numpy", ["--version"], id="numpy"),
        pytest.param("sqlalchemy.engine", ["status"], id="the database"),
        pytest.param("psycopg", ["status"], id="a driver, within a verb"),
        pytest.param("torch", ["check", "s.toml"], id="torch, within a verb"),
        pytest.param("torch._C", ["check", "s.toml"], id="in the midst of torch"),
    ],
)
def test_ctrl_c_in_an_import_is_a_word_and_130(
    tmp_path: Path, module: str, arguments: list[str]
) -> None:
    (tmp_path / "s.toml").write_text(
        "study = {name='s'}\nmodel = {family='mlp'}\nwidths = {a=[2, 4]}\nproxy = {data='iris'}\n"
    )
    done = run_python(INTERRUPTED_IMPORT.format(module=module, arguments=arguments), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_that_a_library_turns_into_an_error_is_no_bug_of_ours(tmp_path: Path) -> None:
    (tmp_path / "rude.py").write_text(
        "import os, signal\n"
        "def build(widths):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        while True: pass\n"
        "    except KeyboardInterrupt:\n"
        "        raise RuntimeError('a kernel failed') from None\n"
    )
    (tmp_path / "calls.py").write_text(
        "import sys\n"
        "from widthwise.search.cli import verbs\n"
        "def run():\n"
        "    import rude\n"
        "    rude.build({})\n"
        "verbs.run_command = run\n"
        "from widthwise.search.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "calls.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_the_real_command_is_interrupted_while_it_starts(cli: Any) -> None:
    running = cli.start("worker", "--idle", "60")
    # The first library that its imports map into memory.
    while "_multiarray_umath" not in Path(f"/proc/{running.pid}/maps").read_text():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=100)
    assert (running.returncode, out, err) == (130, "", "interrupted\n")


def test_a_job_in_the_background_that_ignores_ctrl_c_goes_on(tmp_path: Path) -> None:
    code = INTERRUPTED_IMPORT.format(module="typer", arguments=["--version"])
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + code
    done = run_python(ignoring, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("widthwise ")


def shell(cli: Any, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `widthwise` is the real command."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail\n{line}"],
        cwd=cli.folder,
        env={
            **cli.environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_whoever_reads_may_go_away(iris_cli: Any) -> None:
    """A pipe whose reader has gone: no traceback, and the command's own exit code."""
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (["report", "iris", "--json"], ["status"], ["run", "--help"]):
        done = subprocess.run(
            [Path(sys.executable).with_name("widthwise"), *arguments],
            cwd=iris_cli.folder,
            env=iris_cli.environment,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", ["status", "report iris --json"])
def test_a_full_disk_is_said(iris_cli: Any, arguments: str) -> None:
    done = shell(iris_cli, f"widthwise {arguments} > /dev/full")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: stdout took no more (No space left on device)")


def test_messages_that_cannot_be_written_change_no_exit_code(iris_cli: Any) -> None:
    assert shell(iris_cli, "widthwise status nobody 2> /dev/full").returncode == 2
    assert shell(iris_cli, "widthwise status 2> /dev/full").returncode == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_are_taken_for_the_null_device(iris_cli: Any, closed: str) -> None:
    done = shell(iris_cli, f"widthwise status {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert shell(iris_cli, f"widthwise status nobody {closed}").returncode == 2


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"PYTHONIOENCODING": "ascii"}, id="ascii"),
        pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, id="locale C"),
    ],
)
def test_what_the_encoding_lacks_is_written_in_ascii(
    iris_cli: Any, environment: dict[str, str]
) -> None:
    done = shell(iris_cli, "widthwise report iris && widthwise best iris", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "<= 400" in done.stdout
    wrong = shell(iris_cli, "widthwise status größe", **environment)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    "environment",
    [{"COLUMNS": "20"}, {"COLUMNS": "1"}, {"COLUMNS": "0"}, {"COLUMNS": "many"}, {"NO_COLOR": "1"}],
    ids=str,
)
@pytest.mark.parametrize("arguments", [["status"], ["report", "iris"], ["best", "iris"], ["-h"]])
def test_any_terminal_will_do(
    iris_cli: Any,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    environment: dict[str, str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = iris_cli.run_in_process(*arguments)
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nosuch"], ["nosuch", "`widthwise --help`"]),
        (["run", "--nosuch"], ["--nosuch", "`widthwise run --help`"]),
        (["status", "-x"], ["-x", "behind --", "`widthwise status --help`"]),
        (["pause"], ["NAME", "`widthwise pause --help`"]),
        (["pause", "a", "b"], ["b", "`widthwise pause --help`"]),
        (["db", "nosuch"], ["nosuch", "`widthwise db --help`"]),
        (["status", "--events"], ["--events", "argument"]),
        (["run", "s.toml", "--debug"], ["--debug"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_command_line_is_one_sentence(
    cli: Any, arguments: list[str], parts: list[str]
) -> None:
    result = cli.run_in_process(*arguments)
    assert (result.code, result.out) == (2, "")
    (line,) = result.err.splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line
