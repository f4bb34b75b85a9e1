"""Every verb against values that nobody means: a sentence, a documented code, no traceback."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.spec.spec import Spec, parse_spec

from ..conftest import CommandLine

ODD_NUMBERS = ["", "x", "nan", "inf", "1e400", "0x10", "１２", "1_000", "1" * 40, "-1", "1" * 5000]
NUMERIC_FLAGS = [
    *(("run", "s.toml", flag) for flag in ("--workers", "--threads", "--lease", "--trials")),
    ("run", "s.toml", "--seed"),
    ("run", "--data", "iris", "--epochs"),
    ("submit", "s.toml", "--trials"),
    ("submit", "s.toml", "--priority"),
    *(("resume", "s", flag) for flag in ("--trials", "--workers", "--threads", "--lease")),
    *(("worker", "s", flag) for flag in ("--threads", "--lease", "--grace", "--idle", "--parent")),
    ("status", "--events"),
    *((verb, "s", "--trial") for verb in ("pause", "continue", "cancel")),
    ("dashboard", "--port"),
    ("cost", "--build", "models.py:build", "--input", "4", "--widths", "a=2", "--batch-size"),
]
ODD_LIMITS = ["", "nan", "inf", "-5", "２M", "1e400", "0x10", "9" * 90, "0% of today", "1e9% of x"]


def assert_one_sentence(result: Any, *codes: int) -> None:
    """One line that says what is wrong; nothing on stdout."""
    assert result.code in (codes or (2,)), result.err
    assert result.out == ""
    (line,) = result.err.splitlines()
    assert line.startswith("error: ")
    assert "bug of ours" not in line
    assert len(line) < 1000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A study `s` that waits for its two trials."""
    folder = tmp_path_factory.mktemp("small")
    cli = CommandLine(folder, f"sqlite:///{folder / 'study.db'}")
    cli.write(
        "s.toml",
        "study = {name='s', trials=2}\nmodel = {family='mlp'}\nwidths = {a=[2, 4]}\n"
        "proxy = {data='iris', epochs=1}\n",
    )
    result = cli.run_in_process("submit", "s.toml")
    assert result.code == 0, result.err
    return cli


@pytest.mark.parametrize("arguments", NUMERIC_FLAGS, ids=" ".join)
def test_numbers_that_are_none(small: CommandLine, arguments: tuple[str, ...]) -> None:
    *before, flag = arguments
    for text in ODD_NUMBERS:
        if flag == "--priority" and text == "-1":
            continue  # a priority may be negative
        result = small.run_in_process(*before, f"{flag}={text}")
        assert_one_sentence(result)
        assert flag in result.err


@pytest.mark.parametrize("flag", ["--max-flops", "--max-parameters", "--max-train-memory"])
def test_limits_that_are_none(small: CommandLine, flag: str) -> None:
    for text in ODD_LIMITS:
        assert_one_sentence(small.run_in_process("run", "s.toml", f"{flag}={text}"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("cost", "--build", "models.py:build", "--input", "9" * 30, "--widths", "a=2"),
        ("cost", "--build", "models.py:build", "--input", "４", "--widths", "a=2"),
        ("cost", "--build", "models.py:build", "--input", "4", "--widths", "a=" + "9" * 30),
        ("cost", "--build", "models.py:build", "--input", "4", "--widths", "a=２"),
        ("cost", "--build", "models.py:build", "--input", "4", "--candidates", "huge.json"),
        ("cost", "--build", "models.py:build", "--input", "4", "--candidates", "deep.json"),
        ("resume", "s", "--trials", "99999999"),
        ("resume", "s", "--trials", "+99999999"),
        ("resume", "s", "--trials", "10000001"),
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_numbers_beyond_all_measure(small: CommandLine, arguments: tuple[str, ...]) -> None:
    small.write("models.py", "from torch import nn\ndef build(w): return nn.Linear(4, w['a'])\n")
    small.write("huge.json", '[{"a": ' + "9" * 40 + "}]")
    small.write("deep.json", "[" * 100_000)
    assert_one_sentence(small.run_in_process(*arguments))


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:-1", "cuda:１", "CUDA", "", "cuda:9999"])
@pytest.mark.parametrize("arguments", [("run", "s.toml"), ("worker", "s"), ("resume", "s")])
def test_devices_that_are_none(small: CommandLine, arguments: tuple[str, ...], device: str) -> None:
    result = small.run_in_process(*arguments, f"--device={device}")
    assert_one_sentence(result)
    assert '--device: found "' in result.err
    assert '"cuda:1" (a GPU by its number)' in result.err


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
def test_devices_that_are_not_there(small: CommandLine, device: str) -> None:
    result = small.run_in_process("run", "s.toml", "--device", device, "--name", "elsewhere")
    assert_one_sentence(result)
    assert "is not there; this machine has cpu" in result.err


# --- the spec file --------------------------------------------------------------------------------

SECTIONS: dict[str, dict[str, Any]] = {
    "study": {"name": "s", "trials": 4},
    "model": {"family": "mlp"},
    "widths": {"a": {"low": 2, "high": 8, "step": 2}},
    "limits": {},
    "proxy": {"data": "iris"},
}
NUMERIC_KEYS = [
    *("study.trials", "study.seed", "study.target", "model.dropout"),
    *("widths.a.low", "widths.a.high", "widths.a.step", "widths.a.choices", "widths.a"),
    *("limits.flops", "limits.parameters", "limits.train_memory", "limits.latency"),
    *("limits.file_size", "references.today.a"),
    *("proxy.epochs", "proxy.batch_size", "proxy.patience", "proxy.learning_rate"),
    *("proxy.weight_decay", "proxy.replicas", "proxy.folds", "proxy.accumulate"),
    *("proxy.halving", "proxy.halving.eta", "proxy.halving.first", "proxy.at_once"),
    *("proxy.rate_factors", "proxy.target", "proxy.device"),
]
ODD_VALUES = [
    *(10**23, -(10**23), 10**5000, -1, 0, 2.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), True, "12", "１２", "1_000", "0x10", None, [], {}, [10**30]),
]


def with_value(path: str, value: Any) -> dict[str, Any]:
    sections: dict[str, Any] = json.loads(json.dumps(SECTIONS))
    *parents, key = path.split(".")
    table = sections
    for parent in parents:
        table = table.setdefault(parent, {})
    table[key] = value
    return sections


@pytest.mark.parametrize("path", NUMERIC_KEYS)
def test_numbers_of_a_spec_are_right_or_refused_in_a_line(path: str) -> None:
    for value in ODD_VALUES:
        message = refusal(with_value(path, value))
        assert all(line.startswith("s.toml: ") for line in message.splitlines())
        assert len(message) < 600


def refusal(sections: dict[str, Any]) -> str:
    """What is wrong with a spec; empty if nothing, and then it can be stored and read again."""
    try:
        spec = parse_spec(sections, source="s.toml")
    except SpecError as error:
        return str(error)
    assert Spec.model_validate_json(spec.to_json(), strict=False) == spec
    return ""


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("proxy = {data='iris', epochs=" + "9" * 23 + "}", "proxy.epochs"),
        ("proxy = {data='iris', epochs=" + "9" * 5000 + "}", "a number is too long"),
        (
            "proxy = {data='iris', epochs=0x" + "f" * 5000 + "}",
            "proxy.epochs: found a whole number",
        ),
        ("proxy = {data='iris', epochs=1e400}", "proxy.epochs: found inf"),
        ("proxy = {data='iris', epochs=-0}", "proxy.epochs: found 0"),
        ("proxy = {data='iris', learning_rate=nan}", "proxy.learning_rate: found nan"),
        ("proxy = {data='iris', epochs='12'}", "proxy.epochs"),
        ("proxy = {data=" + "[" * 50_000, "too deep"),
    ],
    ids=lambda text: text[:40],
)
def test_numbers_of_a_spec_file(cli: Any, line: str, part: str) -> None:
    head = "study = {name='s'}\nmodel = {family='mlp'}\nwidths = {a=[2, 4]}\n"
    cli.write("s.toml", head + line + "\n")
    for verb in ("run", "submit", "check"):
        result = cli.run_in_process(verb, "s.toml")
        assert_one_sentence(result)
        assert part in result.err
    assert not (cli.folder / "study.db").exists()


# --- what the database holds ----------------------------------------------------------------------

DAMAGES = {
    "cut off": lambda text: text[: len(text) // 2],
    "no JSON": lambda _: "�",
    "empty": lambda _: "",
    "a list": lambda _: "[]",
    "null": lambda _: "null",
    "a key of a newer release": lambda text: text.replace('"proxy":{', '"proxy":{"warp":9,'),
    "a section of a newer release": lambda text: text[:-1] + ',"fleet":{"size":3}}',
    "another type": lambda text: text.replace('"epochs":1', '"epochs":"one"'),
    "a section less": lambda text: json.dumps({**json.loads(text), "proxy": None}),
    "brackets": lambda _: "[" * 100_000,
}
READING_VERBS = [
    ("best", "s"),
    ("report", "s"),
    ("report", "s", "--json"),
    ("run", "s.toml"),
    ("submit", "s.toml"),
    ("resume", "s"),
    ("resume", "s", "--trials", "+2"),
    ("worker", "s"),
]
OTHER_VERBS = [
    ("status",),
    ("status", "s", "--json", "--events", "5"),
    ("pause", "s"),
    ("continue", "s"),
    ("cancel", "s", "--trial", "1"),
    ("db", "upgrade"),
]


@contextmanager
def damaged(cli: CommandLine, damage: Any) -> Iterator[None]:
    path = cli.folder / "study.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        (text,) = connection.execute("select spec from widthwise_study").fetchone()
        connection.execute("update widthwise_study set spec = ?", [damage(text)])
    yield
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update widthwise_study set spec = ?", [text])


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_stored_spec_that_does_not_parse(small: CommandLine, damage: Any) -> None:
    with damaged(small, damage):
        for arguments in READING_VERBS:
            result = small.run_in_process(*arguments)
            assert_one_sentence(result, 5)
            assert "study s cannot be read" in result.err
        for arguments in OTHER_VERBS:
            result = small.run_in_process(*arguments)
            assert (result.code, result.err) == (0, "")


def test_a_worker_of_the_pool_sets_such_a_study_aside(small: CommandLine) -> None:
    with damaged(small, DAMAGES["cut off"]):
        result = small.run_in_process("worker", "--idle", "0.1")
    assert result.code == 0, result.err
    assert "study s is set aside here: the spec that the database holds" in result.err
    assert "Traceback" not in result.err


# --- names and files ------------------------------------------------------------------------------

NAMED_VERBS = [
    ("status",),
    ("best",),
    ("report",),
    ("resume",),
    ("worker",),
    ("pause",),
    ("continue",),
    ("cancel",),
    ("dashboard",),
]


@pytest.mark.parametrize("verb", NAMED_VERBS, ids=" ".join)
@pytest.mark.parametrize("name", ["nobody", " ", "", "-x", "../s", "s\ns", "[/b]", "x" * 5000, "S"])
def test_names_of_no_study(small: CommandLine, verb: tuple[str, ...], name: str) -> None:
    result = small.run_in_process(*verb, "--", name)
    assert result.code == 2, result.err
    assert result.err.startswith("error: ")
    assert "Traceback" not in result.err
    assert "bug of ours" not in result.err


@pytest.mark.parametrize("verb", ["run", "submit", "check", "cost"])
def test_spec_files_that_are_none(small: CommandLine, verb: str, tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.toml").write_text("")
    for name in ("bytes.toml", "empty.toml", "none.toml", ".", "x" * 300):
        result = small.run_in_process(verb, tmp_path / name)
        assert result.code == 2, result.err
        assert all(line.startswith("error: ") for line in result.err.splitlines())


# --- the course of a study ------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["pause", "continue", "cancel"])
def test_a_finished_study_has_no_course_to_change(iris_cli: CommandLine, verb: str) -> None:
    for _ in range(2):
        result = iris_cli.run_in_process(verb, "iris")
        assert_one_sentence(result)
        assert "study iris is finished, all its 8 trials are done" in result.err
        assert f"nothing to {verb}; `widthwise resume iris --trials +20`" in result.err
    assert iris_cli.run_in_process("status", "iris", "--json").json["status"] == "open"
    assert_one_sentence(iris_cli.run_in_process(verb, "iris", "--trial", "3"))
    assert_one_sentence(iris_cli.run_in_process(verb, "iris", "--trial", "8"))


def test_what_is_so_already_is_said(small: CommandLine) -> None:
    sentences = [
        (("pause", "s"), "s is paused: its workers stop"),
        (("pause", "s"), "s is paused already"),
        (("cancel", "s"), "s is cancelled: its workers end"),
        (("cancel", "s"), "s was cancelled already"),
        (("continue", "s"), "s was cancelled and is open again"),
        (("continue", "s"), "s was open already"),
        (("continue", "s", "--trial", "0"), "trial 0 of s was not paused"),
        (("pause", "s", "--trial", "0"), "trial 0 of s is paused;"),
        (("pause", "s", "--trial", "0"), "trial 0 of s is paused already"),
        (("continue", "s", "--trial", "0"), "trial 0 of s may be claimed again"),
    ]
    for arguments, sentence in sentences:
        result = small.run_in_process(*arguments)
        assert (result.code, result.err) == (0, "")
        assert result.out.startswith(sentence)
