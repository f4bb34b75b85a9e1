"""Bad input gets one clear sentence and its documented exit code; nothing is half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MODELS = """
import torch
from torch import nn

def fine(widths):
    return nn.Sequential(nn.Linear(4, widths["a"]), nn.ReLU(), nn.Linear(widths["a"], 3))

def raises(widths):
    raise KeyError("hidden")

def exits(widths):
    raise SystemExit(0)

def ignores(widths):
    return nn.Linear(4, 3)

def nothing(widths):
    print("a model, I promise")

def none_metric(output, target):
    output.argmax(1)
none_metric.direction = "maximize"

number = 7
"""

SPEC = """
study = {{ name = "s", trials = 2 }}
model = {{ {model} }}
widths = {{ a = {{ low = 2, high = 8 }} }}
limits = {{ {limits} }}
proxy = {{ {proxy} }}
"""


def spec(
    model: str = 'build = "models.py:fine"',
    limits: str = "",
    proxy: str = 'data = "iris", epochs = 1',
) -> str:
    return SPEC.format(model=model, limits=limits, proxy=proxy)


def assert_refused(result: Any, code: int, *phrases: str) -> None:
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.err
    for phrase in phrases:
        assert phrase in errors[0]


@pytest.mark.parametrize(
    ("text", "code", "parts"),
    [
        pytest.param(
            spec(model='build = "modles.py:fine"'), 2, ["modles.py"], id="module not found"
        ),
        pytest.param(
            spec(model='build = "models.py:fien"'), 2, ["fien", "fine"], id="function not found"
        ),
        pytest.param(
            spec(model='build = "models.py:raises"'), 2, ["raises", "KeyError"], id="builder raises"
        ),
        pytest.param(
            spec(model='build = "models.py:exits"'), 2, ["exits", "SystemExit"], id="builder exits"
        ),
        pytest.param(
            spec(model='build = "models.py:ignores"'), 2, ["ignores", "'a'"], id="widths ignored"
        ),
        pytest.param(
            spec(model='build = "models.py:nothing"'), 2, ["None", "nn.Module"], id="no module"
        ),
        pytest.param(spec(model='build = "models.py:number"'), 2, ["number"], id="not a function"),
        pytest.param(
            spec(proxy='data = "iris", metric = "models.py:none_metric"'),
            2,
            ["none_metric", "None"],
            id="metric not returned",
        ),
        pytest.param(
            spec(proxy='data = "iriss"'), 2, ["s.toml: proxy.data", "iris"], id="unknown data"
        ),
        pytest.param(
            spec(limits="parameters = 18"),
            3,
            ["no candidate", "a=2", 'parameters = "'],
            id="limit that nothing meets",
        ),
        pytest.param(
            spec(proxy='data = "iris", device = "cuda"'), 2, ["cuda"], id="no such device"
        ),
    ],
)
def test_a_spec_that_does_not_work(cli: Any, text: str, code: int, parts: list[str]) -> None:
    cli.write("models.py", MODELS)
    cli.write("s.toml", text)
    assert_refused(cli.run_in_process("run", "s.toml"), code, *parts)
    assert not (cli.folder / "study.db").exists()


HOSTILE = """
import asyncio, sys
import torch
from torch import nn

def data():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()

def data_exits():
    sys.exit(0)

def data_without_memory():
    raise MemoryError

def fine(widths):
    return nn.Linear(4, widths["a"])

def exits(*_):
    sys.exit(3)

def cancels(*_):
    raise asyncio.CancelledError

exits.direction = cancels.direction = "maximize"
"""


HOSTILE_PROXIES = [
    ('data = "h.py:data_exits"', "proxy.data: h.py:data_exits raised SystemExit: 0"),
    ('data = "h.py:data_without_memory"', "MemoryError (at h.py line"),
    ('data = "h.py:data", loss = "h.py:exits"', "raised SystemExit: 3"),
    ('data = "h.py:data", loss = "h.py:cancels"', "raised CancelledError"),
    ('data = "h.py:data", metric = "h.py:exits"', "metric h.py:exits raised SystemExit: 3"),
]


@pytest.mark.parametrize(
    ("command", "proxy", "says"),
    [
        *(("run", *hostile) for hostile in HOSTILE_PROXIES),
        *(("cost", *hostile) for hostile in HOSTILE_PROXIES[:-1]),  # costs need no metric
        ("check", *HOSTILE_PROXIES[0]),
        ("check", *HOSTILE_PROXIES[-1]),
        ("submit", *HOSTILE_PROXIES[0]),
        ("submit", *HOSTILE_PROXIES[2]),
    ],
)
def test_user_code_that_ends_the_program_is_refused(
    cli: Any, command: str, proxy: str, says: str
) -> None:
    cli.write("h.py", HOSTILE)
    cli.write("s.toml", spec(model='build = "h.py:fine"', proxy=proxy))
    assert_refused(cli.run_in_process(command, "s.toml"), 2, says)
    assert not (cli.folder / "study.db").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import sys; sys.exit(0)\n", "SystemExit: 0"),
        ("import asyncio\nraise asyncio.CancelledError\n", "CancelledError"),
        ("from torch import nn\ndef costs(w): raise SystemExit(0)\n", "raised SystemExit: 0"),
    ],
    ids=["exit at import", "cancelled at import", "cost function"],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_file_that_ends_the_program_is_refused(
    cli: Any, command: str, text: str, says: str
) -> None:
    cli.write("h.py", HOSTILE)
    cli.write("c.py", text)
    model = 'build = "h.py:fine", costs = "c.py:costs"'
    cli.write("s.toml", spec(model=model, limits="parameters = 40", proxy='data = "h.py:data"'))
    assert_refused(cli.run_in_process(command, "s.toml"), 2, says)


def test_a_builder_that_ends_the_program_is_refused_by_cost(cli: Any) -> None:
    cli.write("h.py", HOSTILE)
    arguments = ("--build", "h.py:exits", "--input", "4", "--widths", "a=2")
    assert_refused(cli.run_in_process("cost", *arguments), 2, "the builder raised SystemExit: 3")


def test_every_line_of_a_broken_spec_is_said(cli: Any) -> None:
    cli.write("s.toml", spec(limits='flops = "2 MiB", parms = 3'))
    result = cli.run_in_process("run", "s.toml")
    assert result.code == 2
    assert "error: s.toml: limits.flops" in result.err
    assert "error: s.toml: limits.parms: unknown key" in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["run"], 2, ["spec file or --data"]),
        (["run", "none.toml"], 2, ["none.toml", "no such file", "init"]),
        (["run", "--data", "none.csv", "--target", "y"], 2, ["none.csv"]),
        (["run", "--data", "table.csv", "--target", "lable"], 2, ["lable", "label"]),
        (["run", "--data", "table.csv", "--target", "label", "--max-flops", "2MB"], 2, ["2MB"]),
        (["status", "nobody", "--storage", "sqlite:///none.db"], 69, ["none.db"]),
        (["status", "--storage", "nonsense"], 2, ["--storage", "sqlite:///FILE"]),
        (["status", "--storage", "mysql://host/db"], 2, ["mysql", "postgresql"]),
        (["status", "--storage", "sqlite:///table.csv"], 69, ["table.csv"]),
        (
            ["cost", "--build", "models.py:fine", "--input", "4", "--widths", "a"],
            2,
            ['found "a"', "hidden1=64"],
        ),
        (["cost", "--build", "models.py:fine", "--input", "four", "--widths", "a=2"], 2, ["four"]),
        (["cost", "--build", "models.py:fine", "--input", "5", "--widths", "a=2"], 2, ["5"]),
        (["cost", "--build", "models.py:fine", "--input", "4"], 2, ["KeyError"]),
        (["cost", "--build", "models.py", "--input", "4"], 2, ["models.py", ":"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_flags_that_do_not_work(
    cli: Any, arguments: list[str], code: int, parts: list[str]
) -> None:
    cli.write("models.py", MODELS)
    cli.write("table.csv", "x,label\n" + "".join(f"{i},{i % 2}\n" for i in range(40)))
    assert_refused(cli.run_in_process(*arguments), code, *parts)
    assert not (cli.folder / "none.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["status", "nobody"], 2, ["nobody", "iris"]),
        (["best", "nobody"], 2, ["nobody", "iris"]),
        (["resume", "nobody"], 2, ["nobody", "iris"]),
        (["worker", "nobody"], 2, ["nobody", "iris"]),
        (["resume", "iris", "--trials", "many"], 2, ["many", "+20"]),
        (["resume", "iris", "--trials", "3"], 2, ["3", "8"]),
        (["report", "iris", "--output", "no/such/folder.md"], 2, ["folder.md"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_study_that_is_not_so(
    iris_cli: Any, arguments: list[str], code: int, parts: list[str]
) -> None:
    assert_refused(iris_cli.run_in_process(*arguments), code, *parts)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://anna:s3cr3t-pw@127.0.0.1:1/studies",
        "postgresql://anna:s3cr3t-pw@no-such-host.invalid/studies",
    ],
    ids=["refused", "unknown host"],
)
def test_a_database_that_is_not_there_keeps_the_password(cli: Any, url: str) -> None:
    cli.write("models.py", MODELS)
    cli.write("s.toml", spec())
    for arguments in (("status",), ("run", "s.toml")):
        result = cli(*arguments, "--storage", url, WIDTHWISE_DEBUG="")
        assert_refused(result, 69, "anna", "***")
        assert "s3cr3t-pw" not in result.err + result.out
    # Nor does the traceback show it.
    assert "s3cr3t-pw" not in cli("--debug", "status", "--storage", url).err


def test_a_password_leaves_the_command_line_at_once(
    cli: Any, postgresql_server: Any, postgresql_url: str
) -> None:
    """While a command runs with a password in its URL, no process shows it."""
    postgresql_server.require_password("anna", "s3cr3t-pw")
    database = postgresql_url.partition("@/")[2].partition("?")[0]
    postgresql_server.execute(f"ALTER DATABASE {database} OWNER TO anna")
    url = f"postgresql://anna:s3cr3t-pw@/{database}?host={postgresql_server.socket}"
    cli.write("models.py", MODELS)
    cli.write("s.toml", spec())
    running = cli.start("run", "s.toml", "--workers", "2", "--storage", url)
    observed = set()
    while running.poll() is None:
        for command_line in command_lines(running.pid):
            observed.add(command_line)
    _, err = running.communicate()
    assert running.returncode == 0, err
    workers = [command_line for command_line in observed if "\0worker\0" in command_line]
    assert workers
    # Only the shell's own first instant, before our program runs at all, may show it.
    assert not [
        command_line
        for command_line in observed
        if "s3cr3t-pw" in command_line and "--parent" in command_line
    ]
    last = [
        command_line
        for command_line in observed
        if "\0run\0" in command_line and "-m\0widthwise" in command_line
    ]
    assert last
    assert not any("s3cr3t-pw" in command_line for command_line in last + workers)


def command_lines(root: int) -> list[str]:
    """Command lines and environments of a process and its children, as `ps e` shows them."""
    import psutil

    collected = []
    try:
        for process in (psutil.Process(root), *psutil.Process(root).children(recursive=True)):
            line = Path(f"/proc/{process.pid}/cmdline").read_text()
            environment = Path(f"/proc/{process.pid}/environ").read_text()
            collected.append(f"{line}\n{environment}")
    except (psutil.NoSuchProcess, OSError):
        pass
    return collected


def test_an_engine_that_cannot_train_the_model_is_refused_before_there_is_a_study(cli: Any) -> None:
    cli.write(
        "dense.toml",
        "study = {name='dense', trials=2}\nmodel = {family='cnn'}\nwidths = {a = [2, 4]}\n"
        "proxy = {data='digits', epochs=1, engine='dense'}\n",
    )
    result = cli.run_in_process("run", "dense.toml")
    assert result.code == 2
    assert "engine 'dense' cannot train this model" in result.err
    assert cli.run_in_process("status", "dense").code != 0
