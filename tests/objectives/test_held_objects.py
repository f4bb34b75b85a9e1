"""Objects in the place of references."""

from __future__ import annotations

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


def test_what_no_other_process_can_load_is_not_pickled() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("class Rows:\n    pass\nrows = Rows()", namespace)
    for value in (lambda x: x, namespace["rows"]):
        references = [hold(value, "f")]
        assert pickled(references) is None
        release(references)
