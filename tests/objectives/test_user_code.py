"""A user's code: loaded by reference, and its errors reported in one sentence."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from widthwise.objectives.errors import ImportFailure, ObjectiveError
from widthwise.objectives.user_code import (
    first_line,
    is_out_of_memory,
    is_tensor_too_large,
    load_object,
    raised_by_user_code,
    root_cause,
    source_fingerprint,
    user_code_location,
)


@pytest.fixture(autouse=True)
def _untouched_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_is_found_beside_the_spec_and_runs_once(tmp_path: Path) -> None:
    write(tmp_path, "model.py", "loaded = []\ndef build(widths):\n    return loaded\n")
    build = load_object("model.py:build", tmp_path)
    assert load_object(f"{tmp_path}/model.py:build", Path("/")) is build


def test_a_file_in_a_folder_imports_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "code/neighbour_of_model.py", "ANSWER = 42\n")
    write(
        tmp_path,
        "code/model.py",
        "from neighbour_of_model import ANSWER\ndef build(widths):\n    return ANSWER\n",
    )
    assert load_object("code/model.py:build", tmp_path)({}) == 42


def test_two_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path, f"{number}/model.py", f"def build(widths):\n    return {number}\n")
    assert [load_object(f"{k}/model.py:build", tmp_path)({}) for k in (1, 2)] == [1, 2]


def test_what_a_file_defines_can_be_pickled(tmp_path: Path) -> None:
    write(
        tmp_path,
        "shapes.py",
        "from dataclasses import dataclass\n@dataclass\nclass Shape:\n    side: int\n",
    )
    shape = load_object("shapes.py:Shape", tmp_path)(3)
    assert pickle.loads(pickle.dumps(shape)) == shape


def test_a_module_is_found_in_the_base_or_installed(tmp_path: Path) -> None:
    write(tmp_path, "own_package_here/__init__.py", "")
    write(
        tmp_path,
        "own_package_here/model.py",
        "class A:\n    def build(widths):\n        return 7\n",
    )
    assert load_object("own_package_here.model:A.build", tmp_path)({}) == 7
    assert load_object("math:sqrt", tmp_path)(9) == 3


BROKEN = {
    "syntax.py": "def build(:\n",
    "raises.py": "x = 1\nraise ValueError('no such luck')\n",
    "exits.py": "import sys\nsys.exit(3)\n",
    "ends.py": "import sys\nsys.exit()\n",
    "cancels.py": "import asyncio\nraise asyncio.CancelledError\n",
    "imports.py": "import a_module_that_is_nowhere\n",
    "names.py": "SIZE = 3\ndef build_model(widths): ...\ndef data(): ...\n",
    "empty.py": "",
}


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("model", ["'model'", "FILE.py:name or package.module:name"]),
        ("model.py:", ["FILE.py:name"]),
        (":build", ["FILE.py:name"]),
        ("missing.py:build", ["there is no file", "missing.py"]),
        ("folder/:build", ["is a folder"]),
        ("sub/notes.txt:build", ["must end in .py"]),
        ("syntax.py:build", ["not valid Python", "line 1"]),
        ("raises.py:build", ["ValueError: no such luck", "in line 2"]),
        ("exits.py:build", ["SystemExit: 3", "in line 2"]),
        ("exits:build", ["SystemExit: 3"]),
        ("ends.py:build", ["raised SystemExit"]),
        ("cancels.py:build", ["CancelledError", "in line 2"]),
        ("imports.py:build", ["ModuleNotFoundError", "a_module_that_is_nowhere", "in line 1"]),
        ("names.py:bild_model", ["did you mean 'build_model'?"]),
        ("names.py:zzz", ["it has 'build_model', 'data'"]),
        ("names.py:SIZE", ["of type int, not a function"]),
        ("empty.py:build", ["it defines no function"]),
        ("no_such_package_anywhere.model:build", ["no module 'no_such_package_anywhere'"]),
        ("raises:build", ["raises", "no such luck"]),
        ("imports:build", ["a_module_that_is_nowhere"]),
        ("json.no_such_part:build", ["no module 'json.no_such_part'"]),
    ],
)
def test_a_reference_that_leads_nowhere_is_one_sentence(
    reference: str, says: list[str], tmp_path: Path
) -> None:
    for name, text in BROKEN.items():
        write(tmp_path, name, text)
    (tmp_path / "folder").mkdir()
    write(tmp_path, "sub/notes.txt", "notes")
    with pytest.raises(ImportFailure) as caught:
        load_object(reference, tmp_path)
    message = str(caught.value)
    assert all(words in message for words in says), message
    assert "\n" not in message
    assert isinstance(caught.value, ObjectiveError)
    assert caught.value.exit_code == 2


def test_a_file_that_failed_is_run_again_once_mended(tmp_path: Path) -> None:
    write(tmp_path, "model.py", "raise ValueError\n")
    with pytest.raises(ImportFailure, match="raised ValueError in line 1"):
        load_object("model.py:build", tmp_path)
    write(tmp_path, "model.py", "def build(widths):\n    return 'mended'\n")
    assert load_object("model.py:build", tmp_path)({}) == "mended"


def test_the_fingerprint_follows_the_source(tmp_path: Path) -> None:
    path = write(tmp_path, "fingerprinted.py", "def build(widths): ...\n")
    before = source_fingerprint("fingerprinted.py:build", tmp_path)
    assert source_fingerprint("fingerprinted:build", tmp_path) == before
    path.write_text("def build(widths): return 1\n")
    assert source_fingerprint("fingerprinted.py:build", tmp_path) != before


@pytest.mark.parametrize("reference", ["gone.py:build", "gone_module_of_ours:build", "nothing"])
def test_the_fingerprint_of_nothing_is_refused(reference: str, tmp_path: Path) -> None:
    with pytest.raises(ImportFailure):
        source_fingerprint(reference, tmp_path)


def test_a_module_without_a_file_has_a_fingerprint(tmp_path: Path) -> None:
    assert source_fingerprint("sys:exit", tmp_path) != source_fingerprint("time:sleep", tmp_path)


def test_loading_does_not_need_the_test_process(tmp_path: Path) -> None:
    write(tmp_path, "model.py", "def build(widths):\n    return sum(widths.values())\n")
    script = (
        "from pathlib import Path; from widthwise.objectives.user_code import load_object; "
        f"print(load_object('model.py:build', Path({str(tmp_path)!r}))({{'a': 1, 'b': 2}}))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout == "3\n", result.stderr


# What is read off an exception


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_errors_are_told_from_others(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_no_exception_is_of_torch_where_it_was_not_imported() -> None:
    script = (
        "import sys; from widthwise.objectives.user_code import is_out_of_memory; "
        "print(is_out_of_memory(MemoryError()), is_out_of_memory(KeyError()), "
        "'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout == "True False False\n", result.stderr


def test_the_line_named_is_the_innermost_of_the_users_code(tmp_path: Path) -> None:
    write(tmp_path, "blamed.py", "import torch\ndef build(widths):\n    torch.zeros(2) @ widths\n")
    with pytest.raises(TypeError) as caught:
        load_object("blamed.py:build", tmp_path)({})
    assert user_code_location(caught.value) == " (at blamed.py line 3)"
    assert user_code_location(ValueError("never raised")) == ""


def test_a_tensor_beyond_all_memory_is_known_by_torchs_words() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, device="meta")
    assert is_tensor_too_large(caught.value)
    assert not is_tensor_too_large(RuntimeError("shapes cannot be multiplied"))


@pytest.mark.parametrize(
    ("message", "line"), [("too few.\nmore", "too few"), ("", "no message"), (" a ", "a")]
)
def test_the_first_line_of_a_message(message: str, line: str) -> None:
    assert first_line(ValueError(message)) == line


def test_the_root_cause_is_the_first_of_a_chain() -> None:
    first = KeyError("first")
    second, third = ValueError("second"), RuntimeError("third")
    second.__cause__, third.__cause__ = first, second
    assert root_cause(third) is first
    assert root_cause(first) is first


def test_a_raise_below_our_own_code_and_below_a_users_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, "stops.py", "import sys\ndef stop():\n    sys.exit(0)\n")
    with pytest.raises(SystemExit) as caught:
        load_object("stops.py:stop", tmp_path)()
    assert raised_by_user_code(caught.value)
    assert not raised_by_user_code(caught.value, tmp_path)
    with pytest.raises(ImportFailure) as refused:
        load_object("gone.py:stop", tmp_path)
    assert not raised_by_user_code(refused.value)


def test_the_location_is_the_users_line_and_not_the_librarys(tmp_path: Path) -> None:
    write(tmp_path, "reads.py", "import json\n\ndef read():\n    json.loads('{')\n")
    with pytest.raises(ValueError, match="Expecting") as caught:
        load_object("reads.py:read", tmp_path)()
    assert "test_user_code.py" not in user_code_location(caught.value)
    assert user_code_location(caught.value) == " (at reads.py line 4)"


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_the_line_of_an_error_is_the_users_wherever_packages_lie(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base environment's packages, or an overlay's, are no more the user's than this one's."""
    package = write(tmp_path, f"base/{folder}/fails_deep.py", "def fail():\n    1 / 0\n")
    monkeypatch.syspath_prepend(str(package.parent))
    write(
        tmp_path,
        "study/calls.py",
        "from fails_deep import fail\ndef data():\n\n    fail()\n",
    )
    with pytest.raises(ZeroDivisionError) as caught:
        load_object("calls.py:data", tmp_path / "study")()
    # The caller of the user's code is this test, which is no library either.
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # type: ignore[union-attr]
    assert user_code_location(error) == " (at calls.py line 4)"


def test_what_user_code_prints_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "talks.py").write_text("print('loaded')\ndef train(widths, trial): ...\n")
    load_object("talks.py:train", tmp_path)
    assert capsys.readouterr() == ("", "loaded\n")
