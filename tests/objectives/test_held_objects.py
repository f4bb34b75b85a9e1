"""Objects in the place of references."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from widthwise.objectives import held_objects
from widthwise.objectives.errors import ImportFailure
from widthwise.objectives.held_objects import hold, is_held_reference, pickled, release
from widthwise.objectives.user_code import load_object, source_fingerprint


def shown(widths: Any) -> Any:
    return widths


def test_a_held_function_is_loaded_by_its_reference(tmp_path: Path) -> None:
    double = lambda x: 2 * x  # noqa: E731 - what a notebook has
    reference = hold(double, "double")
    assert reference.startswith("python:double@")
    assert is_held_reference(reference)
    assert load_object(reference, tmp_path) is double
    assert source_fingerprint(reference, tmp_path) == reference.partition("@")[2]
    release([reference])
    with pytest.raises(ImportFailure, match="'double' was an object of the program that called"):
        load_object(reference, tmp_path)


def test_what_two_hold_stays_until_both_let_go(tmp_path: Path) -> None:
    first, second = hold(np.ones(3), "data"), hold(np.ones(3), "data")
    assert first == second
    release([first])
    assert held_objects.held(second) is not None
    release([second])
    with pytest.raises(ImportFailure):
        held_objects.held(second)


def test_the_name_is_a_word_whatever_it_was() -> None:
    reference = hold(3, "<lambda> of a/b:c.py")
    assert reference.startswith("python:lambda_of_a_b_c_py@")
    release([reference])


def test_another_process_gets_what_can_be_pickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = [hold(np.arange(4), "data"), hold(shown, "shown")]
    content = pickled(references)
    assert content is not None
    release(references)
    (tmp_path / "objects").write_bytes(content)
    monkeypatch.setenv(held_objects.FILE_VARIABLE, str(tmp_path / "objects"))
    assert np.array_equal(held_objects.held(references[0]), np.arange(4))
    assert held_objects.held(references[1]) is shown
    release(references)


def test_modules_are_found_where_the_other_process_found_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_a_script.py").write_text("class Rows:\n    pass\n")
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    rows = importlib.import_module("beside_a_script").Rows()
    references = [hold(rows, "rows")]
    content = pickled(references)
    assert content is not None
    release(references)
    (tmp_path / "objects").write_bytes(content)
    monkeypatch.setenv(held_objects.FILE_VARIABLE, str(tmp_path / "objects"))
    monkeypatch.setattr("sys.path", sys.path[1:])
    monkeypatch.delitem(sys.modules, "beside_a_script")
    assert type(held_objects.held(references[0])).__name__ == "Rows"
    # After all other places: a module of the same name there does not change its own.
    assert sys.path[-1] == str(tmp_path)
    release(references)
    # What has a reference of its own is found there, too.
    monkeypatch.setattr("sys.path", sys.path[:-1])
    monkeypatch.delitem(sys.modules, "beside_a_script")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert load_object("beside_a_script:Rows", elsewhere).__name__ == "Rows"
    monkeypatch.delitem(sys.modules, "beside_a_script")


def test_what_cannot_be_loaded_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "objects").write_bytes(b"[]\ncno_such_module\nRows\n.")
    monkeypatch.setenv(held_objects.FILE_VARIABLE, str(tmp_path / "objects"))
    with pytest.raises(ImportFailure, match=r"No module named 'no_such_module'; define it in a"):
        held_objects.held("python:rows@0123")


def test_what_no_other_process_can_load_is_not_pickled() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("class Rows:\n    pass\nrows = Rows()", namespace)
    for value in (lambda x: x, namespace["rows"]):
        references = [hold(value, "f")]
        assert pickled(references) is None
        release(references)
