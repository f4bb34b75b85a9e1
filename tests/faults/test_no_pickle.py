"""No pickle is read: not from the database, not from a checkpoint, not between processes.

But for one: a Python program that searches with objects of its own hands them to the workers that
it starts itself, in a file that only its user can read (`objectives.held_objects`).
"""

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
from .guards import no_pickle_environment

pytestmark = [pytest.mark.promise("no pickle, no leak")]

ROOT = Path(widthwise.__file__).parent
ROOMS = ("search", "objectives", "storage")
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


@pytest.fixture
def refusals_file(tmp_path):
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


def test_the_guard_does_what_it_says(refusals_file):
    arguments = [sys.executable, "-c", GUARDED.format(reads=READS)]
    out = subprocess.run(
        arguments, env=no_pickle_environment(refusals_file), capture_output=True, text=True
    ).stdout
    assert out.splitlines() == ["a pickle was read"] * len(READS)
    assert refusals_file.exists()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_study_that_goes_on_from_a_checkpoint_reads_none(
    database_url, tmp_path, refusals_file, record_counts
):
    study = CommandStudy(tmp_path, "small", database_url)
    study.environment |= {
        **no_pickle_environment(refusals_file),
        "WIDTHWISE_CHECKPOINTS": str(tmp_path / "checkpoints"),
        "WIDTHWISE_CHECKPOINT_SECONDS": "0",
    }
    study.submit(small.write_small_study(tmp_path, trials=2, epochs=40))
    worker = study.start("worker", "small", "--lease", "3")
    study.wait_until(worker, lambda: checkpoints(tmp_path))
    (tmp_path / "wait").touch()
    for process in [*psutil.Process(worker.pid).children(recursive=True), worker]:
        process.send_signal(signal.SIGKILL)
    worker.communicate()
    assert "done" not in study.slot_states(), "there is nothing to go on with"
    files = checkpoints(tmp_path)
    assert files
    for file in files:
        assert_plain(file.read_bytes())
    (tmp_path / "wait").unlink()
    # The guard is laid into every process from its start, so that no command is run in this one.
    resumed = study.run_command("resume", "small", "--workers", "1", "--lease", "3")
    assert resumed.code == 0, resumed.err
    assert "passed over" not in resumed.err
    assert not refusals_file.exists(), refusals_file.read_text()
    assert_no_bytes(study)
    figures = study.audit()
    assert (figures["complete"], figures["running"], figures["duplicates"]) == (2, 0, 0)
    record_counts(**figures)


def test_no_room_can_read_one():
    files = {file for room in ROOMS for file in (ROOT / room).rglob("*.py")}
    own_objects = ROOT / "objectives" / "held_objects.py"
    assert own_objects in files
    for file in sorted(files - {own_objects}):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=names):
                    actual = {value.name.partition(".")[0] for value in names}
                case ast.ImportFrom(module=str() as module, level=0):
                    actual = {module.partition(".")[0]}
                case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load")):
                    actual = {"torch.load"} - {
                        "torch.load" for value in node.keywords if is_safe(value)
                    }
                case ast.keyword(arg="allow_pickle", value=ast.Constant(value=False)):
                    actual = set()
                case ast.keyword(arg="allow_pickle"):
                    actual = {"allow_pickle"}
                case _:
                    continue
            assert not actual & {*UNPICKLERS, "torch.load", "allow_pickle"}, f"{file}:{node.lineno}"


def is_safe(keyword: ast.keyword) -> bool:
    return keyword.arg == "weights_only" and getattr(keyword.value, "value", None) is True


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").rglob("*.safetensors"))


def assert_plain(data: bytes) -> None:
    """A file of JSON and of numbers that it describes to the last byte; see safetensors' README."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    assert max(item["data_offsets"][1] for item in header.values()) == len(data) - 8 - length


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
