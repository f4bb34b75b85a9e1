"""The table of promises, which `pytest -m promise` ends with, and what its tests share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from .command import CommandStudy
from .processes import Processes
from .promises import COUNTS_PROPERTY, PROMISE_MARKER, PROMISES, format_line


@pytest.fixture
def record_counts(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Record what a test counted, for its promise's line: `record_counts(budget=30, kills=8)`."""

    def record(**figures: int) -> None:
        record_property(COUNTS_PROPERTY, figures)

    return record


@pytest.fixture(autouse=True)
def _kill_leftover_commands() -> Iterator[None]:
    yield
    CommandStudy.kill_all()


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Starts processes that do not outlive the test."""
    started = Processes()
    yield started
    started.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write each test's promise onto its reports; an unknown promise is a mistake in the test."""
    for item in items:
        for mark in item.iter_markers(PROMISE_MARKER):
            if mark.args not in {(promise,) for promise in PROMISES}:
                raise pytest.UsageError(
                    f"{item.nodeid}: promise{mark.args} is none of those in promises.py"
                )
            item.user_properties.append((PROMISE_MARKER, mark.args[0]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """End with the table where the promises were asked for; any that is not kept fails the run."""
    yield
    if session.config.option.markexpr != PROMISE_MARKER or session.config.option.collectonly:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    reports = [
        item
        for stats in reporter.stats.values()
        for item in stats
        if isinstance(item, pytest.TestReport)  # tests that were deselected stand there, too
    ]
    for promise in PROMISES:
        promise_reports = [
            item for item in reports if (PROMISE_MARKER, promise) in item.user_properties
        ]
        tests = {
            item.nodeid
            for item in session.items
            if (PROMISE_MARKER, promise) in item.user_properties
        }
        result_line = format_line(
            promise, all_passed(tests, promise_reports), sum_figures(promise_reports)
        )
        reporter.write_line(
            result_line, green=result_line.startswith("PASS"), red=result_line.startswith("FAIL")
        )
        if result_line.startswith("FAIL"):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def all_passed(tests: set[str], reports: list[pytest.TestReport]) -> bool:
    """Whether there are tests, and each of them ran and passed."""
    passed = {report.nodeid for report in reports if report.when == "call" and report.passed}
    return bool(tests) and passed == tests and all(report.passed for report in reports)


def sum_figures(reports: list[pytest.TestReport]) -> Counter[str]:
    """What the tests of a promise counted, summed up."""
    total: Counter[str] = Counter()
    for report in reports:
        if report.when == "call":
            for name, value in report.user_properties:
                total.update(value if name == COUNTS_PROPERTY else {})
    return total
