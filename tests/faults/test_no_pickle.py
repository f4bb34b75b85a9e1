"""No pickle is read: not from the database, not from a checkpoint, not between processes."""

from __future__ import annotations

import ast
import json
import signal
import struct
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import widthwise

from . import small
from .command import CommandStudy
from .guards import no_pickle

pytestmark = [pytest.mark.promise("no pickle, no leak")]

ROOT = Path(widthwise.__file__).parent
ROOMS = ("search", "objectives", "storage")
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


@pytest.fixture
def tried(tmp_path):
    """The file that names whoever tried to read a pickle."""
    return tmp_path / "pickles"


READS = (
    "pickle.loads(pickle.dumps(1))",
    "pickle.load(io.BytesIO(pickle.dumps(1)))",
    "pickle.Unpickler(io.BytesIO(b'')).load()",
    "torch.load(io.BytesIO(), weights_only=False)",
)
GUARDED = """
import io, pickle, torch
for read in {reads}:
    try:
        eval(read)
    except AssertionError as error:
        print(error)
"""


def test_the_guard_does_what_it_says(tried):
    arguments = [sys.executable, "-c", GUARDED.format(reads=READS)]
    out = subprocess.run(arguments, env=no_pickle(tried), capture_output=True, text=True).stdout
    assert out.splitlines() == ["a pickle was read"] * len(READS)
    assert tried.exists()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_study_that_goes_on_from_a_checkpoint_reads_none(database_url, tmp_path, tried, counts):
    study = CommandStudy(tmp_path, "small", database_url)
    study.environment |= {
        **no_pickle(tried),
        "WIDTHWISE_CHECKPOINTS": str(tmp_path / "checkpoints"),
        "WIDTHWISE_CHECKPOINT_SECONDS": "0",
    }
    study.submit(small.write(tmp_path, trials=2, epochs=40))
    worker = study.start("worker", "small")
    study.wait(worker, lambda: checkpoints(tmp_path))
    (tmp_path / "wait").touch()
    for process in [*psutil.Process(worker.pid).children(recursive=True), worker]:
        process.send_signal(signal.SIGKILL)
    worker.communicate()
    assert "done" not in study.states(), "there is nothing to go on with"
    there = checkpoints(tmp_path)
    assert there
    for file in there:
        assert_plain(file.read_bytes())
    (tmp_path / "wait").unlink()
    code, _, err = study.end("resume", "small", "--workers", "1", "--lease", "3")
    assert code == 0, err
    assert "passed over" not in err
    assert not tried.exists(), tried.read_text()
    assert_no_bytes(study)
    found = study.audit()
    assert (found["complete"], found["running"], found["duplicates"]) == (2, 0, 0)
    counts(**found)


def test_no_room_can_read_one():
    for file in (file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=names):
                    found = {one.name.partition(".")[0] for one in names}
                case ast.ImportFrom(module=str() as module, level=0):
                    found = {module.partition(".")[0]}
                case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load")):
                    found = {"torch.load"} - {"torch.load" for one in node.keywords if safe(one)}
                case ast.keyword(arg="allow_pickle", value=ast.Constant(value=False)):
                    found = set()
                case ast.keyword(arg="allow_pickle"):
                    found = {"allow_pickle"}
                case _:
                    continue
            assert not found & {*UNPICKLERS, "torch.load", "allow_pickle"}, f"{file}:{node.lineno}"


def safe(keyword: ast.keyword) -> bool:
    return keyword.arg == "weights_only" and getattr(keyword.value, "value", None) is True


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").rglob("*.safetensors"))


def assert_plain(data: bytes) -> None:
    """A file of JSON and of numbers that it describes to the last byte; see safetensors' README."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    assert max(one["data_offsets"][1] for one in header.values()) == len(data) - 8 - length


def assert_no_bytes(study: CommandStudy) -> None:
    """Nothing in any table, ours or Optuna's, is of a kind that a pickle could hide in."""
    from sqlalchemy import MetaData

    with study.database() as database:
        tables = MetaData()
        tables.reflect(database.engine)
        for table in tables.tables.values():
            for row in database.read(lambda one, table=table: one.execute(table.select()).all()):
                assert not [value for value in row if isinstance(value, bytes | memoryview)]
                assert not [value for value in row if isinstance(value, str) and "gASV" in value]
