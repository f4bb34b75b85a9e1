"""The table of promises: a line each, and none passes without a test that ran and passed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import figures, kept
from .promises import COUNTS, PROMISES, line

HERE = Path(__file__).parent


def report(test: str, outcome: str = "passed", when: str = "call", **counted: int):
    return pytest.TestReport(
        nodeid=test,
        location=("", 0, ""),
        keywords={},
        outcome=outcome,
        longrepr=None,
        when=when,
        user_properties=[(COUNTS, counted)],
    )


PASSED, TORN_DOWN = report("a"), report("a", when="teardown")


@pytest.mark.parametrize(
    ("tests", "reports", "expected"),
    [
        pytest.param({"a"}, [PASSED, TORN_DOWN], True, id="passed"),
        pytest.param(set(), [], False, id="no test"),
        pytest.param({"a", "b"}, [PASSED], False, id="one never ran"),
        pytest.param({"a", "b"}, [PASSED, report("b", "failed")], False, id="one failed"),
        pytest.param({"a"}, [report("a", "skipped")], False, id="skipped"),
        pytest.param({"a"}, [PASSED, report("a", "failed", "teardown")], False, id="tear-down"),
    ],
)
def test_a_promise_is_kept_when_all_of_its_tests_are(tests, reports, expected):
    assert kept(tests, reports) is expected


def test_figures_are_summed_up():
    found = figures([report("a", budget=2, kills=1), report("b", budget=3), TORN_DOWN])
    assert found == {"budget": 5, "kills": 1}
    told = "PASS drain  budget=5 complete=0 running=0 duplicates=0 lost=0 kills=1"
    assert line("drain", True, found) == told


def test_a_run_ends_with_a_line_a_promise_and_fails_for_those_without_a_test():
    test = f"{HERE / 'test_no_pickle.py'}::test_no_room_can_read_one"
    options = ("-m", "promise", "-q", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, test]
    done = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True)
    told = done.stdout.splitlines()[-len(PROMISES) :]
    assert [re.split("  ", text)[0] for text in told] == [
        f"{'PASS' if promise == 'no pickle, no leak' else 'FAIL'} {promise}" for promise in PROMISES
    ]
    assert done.returncode == 1
