"""Child processes see no secret where others could, and none of the current folder's files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from widthwise.search.worker.child_process import child_command
from widthwise.storage.database.database import resolve_url

SECRET = "Xylophon77"
URL = f"postgresql://me:{SECRET}@host/db?sslpassword={SECRET}&options=-c%20a.b%3D{SECRET}"

SHADOWED = (
    *("queue", "random", "typing", "secrets", "token", "json", "logging", "sitecustomize"),
    *("optuna", "torch", "numpy", "pandas", "sqlalchemy", "psycopg", "rich", "typer", "sklearn"),
    "widthwise",
)
"""Of the standard library, of dependencies, and our own name."""

PROBE = """
import json, os, sys
from pathlib import Path
from widthwise.storage.database.url import resolve_url
texts = {name: Path("/proc/self", name).read_bytes().decode() for name in ("cmdline", "environ")}
print(json.dumps([texts, sys.path, resolve_url().render_as_string(hide_password=False)]))
"""


def write_shadows(folder: Path, names: tuple[str, ...] = SHADOWED) -> Path:
    """Write a file for each name that, if it is ever run, says so; returns where."""
    marker = folder / "executed"
    for name in names:
        line = f"open({str(marker)!r}, 'a').write('{name} in ' + str(__name__) + chr(10))\n"
        (folder / f"{name}.py").write_text(line)
    return marker


def executed(marker: Path) -> list[str]:
    return marker.read_text().splitlines() if marker.exists() else []


@pytest.mark.parametrize("variable", ["WIDTHWISE_STORAGE", "OPTUNA_STORAGE"])
def test_a_child_has_every_secret_and_shows_none(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WIDTHWISE_STORAGE", "OPTUNA_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, URL)
    url = resolve_url()
    assert url.password == SECRET
    marker = write_shadows(tmp_path)
    # A module that anybody has, to see what a child of ours sees.
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "probe.py").write_text(PROBE)
    path = {"PYTHONPATH": str(tmp_path / "installed")}
    with child_command("probe", ["word"], url, environment=path) as command:
        done = subprocess.run(
            command.arguments,
            cwd=tmp_path,
            env=command.environment,
            pass_fds=command.inherited_fds,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    texts, path_entries, seen_url = json.loads(done.stdout)
    assert "word" in texts["cmdline"]
    assert SECRET not in texts["cmdline"] + texts["environ"]
    assert resolve_url(seen_url, {}) == url
    assert not {"", ".", str(tmp_path)} & set(path_entries)
    assert executed(marker) == []


def test_secrets_of_files_that_a_user_named_are_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, text in (("PASSWORD", SECRET), ("OPTIONS", f"sslpassword={SECRET}")):
        (tmp_path / variable).write_text(text)
        monkeypatch.setenv(f"WIDTHWISE_STORAGE_{variable}_FILE", str(tmp_path / variable))
    url = resolve_url("postgresql://me@host/db")
    with child_command("probe", [], url) as command:
        # What they hold is in the files that the child inherits, whatever becomes of the user's.
        assert str(tmp_path) not in str(
            {key: value for key, value in command.environment.items() if "STORAGE" in key}
        )
        assert len(command.inherited_fds) == 2
        assert resolve_url(None, command.environment) == url


@pytest.mark.parametrize("arguments", [["--version"], ["status"]], ids=lambda words: words[0])
def test_the_command_line_as_a_module_takes_nothing_from_the_current_folder(
    arguments: list[str], tmp_path: Path
) -> None:
    """By hand, without `-P`: only what Python itself imports before us is out of our hands."""
    marker = write_shadows(tmp_path, ("optuna", "torch", "queue", "random", "pandas", "rich"))
    (tmp_path / "secret").write_text(SECRET)
    done = subprocess.run(
        [sys.executable, "-m", "widthwise.search.cli.app", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    assert executed(marker) == []


SPEC = """
study = { name = "own", trials = 2 }
model = { build = "queue_model.py:build" }
widths = { a = { low = 2, high = 32 } }
proxy = { data = "my_data:load", epochs = 1, engine = "plain", parametrisation = "standard" }
"""
MODEL = """
import queue, random
from torch import nn
from layers import hidden           # a neighbour of this file

def build(widths):
    assert queue.Queue and random.random() < 1
    return nn.Sequential(hidden(widths["a"]), nn.ReLU(), nn.Linear(widths["a"], 3))
"""
LAYERS = """
from torch import nn

def hidden(width):
    return nn.Linear(4, width)
"""
DATA = """
import secrets, torch

def load():
    assert secrets.token_hex
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, :3].argmax(1)
    return x[:48], y[:48], x[48:72], y[48:72], x[72:], y[72:]
"""


@pytest.mark.slow
def test_a_whole_run_takes_the_users_own_modules_and_no_others(cli: Any) -> None:
    marker = write_shadows(cli.folder)
    for name, text in {
        "own.toml": SPEC,
        "queue_model.py": MODEL,
        "layers.py": LAYERS,
        "my_data.py": DATA,
    }.items():
        cli.write(name, text)
    result = cli("run", "own.toml", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["trials"]["complete"] == 2
    assert executed(marker) == []
