"""Names full of markup and control characters, wherever one can come from, at every verb.

What is shown must show them as they are, markup read by nobody and controls escaped; what a program
reads must hold them unchanged.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.projection.dashboard import DashboardServer
from widthwise.storage.study.study import load_study
from widthwise.storage.study.workers import WorkerActivity, WorkerRegistration
from widthwise.tests.search.conftest import CommandLine

STUDY = "x[/foo] [bold]:fire: a|b `c`"
WIDTH = "[/h]|[bold]:fire:"
COLUMN = "[/c]\x1b[31m\u202e"
CLASS = "[/yes]\x1b]0;title\x07\u2066"
ERROR = "[/boom]\x1b[2J\u202e"
HOST = "host[/bar]\x1b[31m\u202e:7"

SPEC = f"""
study = {{ name = {json.dumps(STUDY)}, trials = 3 }}
model = {{ build = "[m]odel.py:build" }}
limits = {{ parameters = "50% of [ref]" }}
references = {{ "[ref]" = {{ {json.dumps(WIDTH)} = 16 }} }}
widths = {{ {json.dumps(WIDTH)} = {{ low = 2, high = 8 }} }}
proxy = {{ data = "[d]ata.csv", target = "label", epochs = 1, engine = "plain", at_once = 1, \
parametrisation = "standard" }}
"""
MODEL = f"""
import sys
from torch import nn

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x):
        if self.training and self.width > 6 and "widthwise.search.worker.trainer" in sys.orig_argv:
            raise RuntimeError({ERROR!r})
        return self.layers(x)

def build(widths):
    return Net(widths[{WIDTH!r}])
"""


def write_files(folder: Path) -> None:
    (folder / "own.toml").write_text(SPEC)
    (folder / "[m]odel.py").write_text(MODEL)
    rows = [f"1,{row % 7},{row % 5},{CLASS if row % 7 > 3 else 'no'}" for row in range(120)]
    (folder / "[d]ata.csv").write_text("\n".join([f"{COLUMN},a,[b]two,label", *rows]) + "\n")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A folder with such a study, run; one of its workers has a hostile host, too."""
    folder = tmp_path_factory.mktemp("hostile")
    cli = CommandLine(folder, f"sqlite:///{folder / 'study.db'}")
    write_files(folder)
    result = cli("run", "own.toml")
    assert result.code == 0, result.err
    (folder / "run.out").write_text(result.out + result.err)
    with Database.open(resolve_url(cli.storage, {})) as database:
        registration = WorkerRegistration(database, name=HOST, beat_seconds=3600)
        registration.register(
            study=load_study(database, STUDY), activity=WorkerActivity.WAITING, device=HOST
        )
    return cli


def assert_shown(text: str, *names: str) -> None:
    """Nothing is in a text that a terminal obeys; these names are, as people read them."""
    controls = {letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Cs")}
    assert controls <= {"\n"}, text
    unwrapped = "".join(text.split())
    for name in names:
        escaped = name.encode("unicode_escape").decode()
        assert "".join(escaped.split()) in unwrapped, (name, text)


def test_a_run_shows_them(hostile: Any) -> None:
    assert_shown((hostile.folder / "run.out").read_text(), STUDY, WIDTH, COLUMN, CLASS, ERROR)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["status"], [STUDY, HOST]),
        (["status", STUDY, "--events", "50"], [STUDY, ERROR]),
        (["status", "--workers"], [HOST]),
        (["best", STUDY], [WIDTH]),
        (["check", "own.toml"], [WIDTH, COLUMN, CLASS]),
        (["cost", "own.toml"], [WIDTH]),
        (["cost", "own.toml", "--widths", f"{WIDTH}=4", "--by-module"], []),
        (["cost", "own.toml", "--candidates", "candidates.json"], [WIDTH]),
        (["submit", "own.toml"], [STUDY]),
        (["dashboard", STUDY, "--port", "0"], []),
        (["db", "upgrade"], []),
    ],
    ids=lambda value: " ".join(value[:1]) if isinstance(value, list) else None,
)
def test_every_verb_shows_them_and_ends_well(
    arguments: list[str], names: list[str], hostile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DashboardServer, "serve_forever", lambda _server: None)
    (hostile.folder / "candidates.json").write_text(json.dumps([{WIDTH: 4}]))
    ran = hostile.run_in_process(*arguments)
    assert ran.code == 0, ran.err
    assert_shown(ran.out + ran.err, *names)


def test_a_report_shows_them_and_its_tables_keep_their_columns(hostile: Any) -> None:
    ran = hostile.run_in_process("report", STUDY)
    assert ran.code == 0, ran.err
    assert_shown(ran.out)
    plain = ran.out.replace("\\|", "").splitlines()
    tables = [line for line in plain if line.startswith("|")]
    assert {line.count("|") for line in tables[:4]} == {tables[0].count("|")}
    markdown = ran.out.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
    assert_shown(markdown, STUDY, WIDTH, ERROR)
    written = hostile.run_in_process("report", STUDY, "--output", "report.md")
    assert written.code == 0
    assert (hostile.folder / "report.md").read_text() == ran.out


def test_json_holds_them_as_they_are(hostile: Any) -> None:
    def read(*arguments: str) -> Any:
        ran = hostile.run_in_process(*arguments, "--json")
        assert ran.code == 0, ran.err
        return ran.json

    assert read("status", STUDY)["study"] == STUDY
    assert read("status", "--workers")[0]["device"] == HOST
    report = read("report", STUDY)
    assert report["study"] == STUDY
    assert {*report["best"]["widths"]} == {WIDTH}
    assert report["failures"][0]["reason"].endswith(ERROR)
    notes = read("check", "own.toml")["notes"]
    assert any(COLUMN in note for note in notes)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["status", f"nope{ERROR}"], [f"nope{ERROR}", STUDY]),
        (["pause", STUDY], [STUDY]),
        (["continue", STUDY], [STUDY]),
        (["cancel", STUDY], [STUDY]),
        (["check", f"nope{ERROR}.toml"], [f"nope{ERROR}.toml"]),
        (["cost", "own.toml", "--widths", f"a{ERROR}"], [f"a{ERROR}"]),
        (["run", "--data", f"nope{ERROR}.csv", "--target", "label"], [f"nope{ERROR}.csv"]),
        (["run", "--data", "[d]ata.csv", "--target", f"x{ERROR}"], [f"x{ERROR}", COLUMN]),
        ([f"verb{ERROR}"], []),
        (["status", f"--flag{ERROR}"], []),
        (["status", "--events", ERROR], []),
        (["status", "a", ERROR], []),
        (["status", "--storage", f"nope{ERROR}"], []),
        (["status", "--storage", f"sqlite:///{STUDY}/x.db"], []),
    ],
    ids=lambda value: " ".join(value[:1]) if isinstance(value, list) else None,
)
def test_a_refusal_shows_them_in_one_sentence(
    arguments: list[str], names: list[str], hostile: Any
) -> None:
    ran = hostile.run_in_process(*arguments)
    assert ran.code in (2, 69), ran.err
    assert ran.err.count("error: ") == 1
    assert "Traceback" not in ran.err
    assert_shown(ran.out + ran.err, *names)


@pytest.mark.parametrize(
    "letter",
    ["\x1b", "\x00", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u2028"],
    ids=lambda letter: f"U+{ord(letter):04X}",
)
@pytest.mark.parametrize("kind", ["study", "width", "reference", "flag"])
def test_a_control_character_in_a_name_is_refused(kind: str, letter: str, cli: Any) -> None:
    names = {"study": "s", "width": "a", "reference": "r", "flag": "s"}
    names[kind] += f"{letter}z"
    cli.write(
        "own.toml",
        f"""
study = {{ name = {json.dumps(names["study"])}, trials = 1 }}
model = {{ family = "mlp" }}
widths = {{ {json.dumps(names["width"])} = {{ low = 2, high = 8 }} }}
references = {{ {json.dumps(names["reference"])} = {{ {json.dumps(names["width"])} = 4 }} }}
proxy = {{ data = "iris", epochs = 1 }}
""".replace("\x7f", "\\u007f"),
    )
    flags = ["--name", names["flag"]] if kind == "flag" and letter != "\x00" else []
    if kind == "flag" and not flags:
        return  # no command line can hold a zero byte
    ran = cli.run_in_process("submit" if flags else "check", "own.toml", *flags)
    assert ran.code == 2, ran.out
    assert_shown(ran.err)
    assert f"U+{ord(letter):04X}" in ran.err
    assert "Traceback" not in ran.err
    assert not (cli.folder / "study.db").exists()
