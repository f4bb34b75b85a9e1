"""The table of promises: a line each, and none passes without a test that ran and passed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import all_passed, sum_figures
from .promises import COUNTS_PROPERTY, PROMISES, format_line

HERE = Path(__file__).parent


def make_report(test: str, outcome: str = "passed", when: str = "call", **counted: int):
    return pytest.TestReport(
        nodeid=test,
        location=("", 0, ""),
        keywords={},
        outcome=outcome,
        longrepr=None,
        when=when,
        user_properties=[(COUNTS_PROPERTY, counted)],
    )


PASSED, TORN_DOWN = make_report("a"), make_report("a", when="teardown")


@pytest.mark.parametrize(
    ("tests", "reports", "expected"),
    [
        pytest.param({"a"}, [PASSED, TORN_DOWN], True, id="passed"),
        pytest.param(set(), [], False, id="no test"),
        pytest.param({"a", "b"}, [PASSED], False, id="one never ran"),
        pytest.param({"a", "b"}, [PASSED, make_report("b", "failed")], False, id="one failed"),
        pytest.param({"a"}, [make_report("a", "skipped")], False, id="skipped"),
        pytest.param(
            {"a"}, [PASSED, make_report("a", "failed", "teardown")], False, id="tear-down"
        ),
    ],
)
def test_a_promise_is_kept_when_all_of_its_tests_are(tests, reports, expected):
    assert all_passed(tests, reports) is expected


def test_figures_are_summed_up():
    actual = sum_figures(
        [make_report("a", budget=2, kills=1), make_report("b", budget=3), TORN_DOWN]
    )
    assert actual == {"budget": 5, "kills": 1}
    expected_line = "PASS drain  budget=5 complete=0 running=0 duplicates=0 lost=0 kills=1"
    assert format_line("drain", True, actual) == expected_line


def test_a_run_ends_with_a_line_a_promise_and_fails_for_those_without_a_test():
    test = f"{HERE / 'test_no_pickle.py'}::test_no_room_can_read_one"
    options = ("-m", "promise", "-q", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, test]
    done = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True)
    printed_lines = done.stdout.splitlines()[-len(PROMISES) :]
    assert [re.split("  ", text)[0] for text in printed_lines] == [
        f"{'PASS' if promise == 'no pickle, no leak' else 'FAIL'} {promise}" for promise in PROMISES
    ]
    assert done.returncode == 1
