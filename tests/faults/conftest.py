"""The table of promises, which `pytest -m promise` ends with, and what its tests share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from .command import CommandStudy
from .processes import Processes
from .promises import COUNTS, PROMISE, PROMISES, line

PROPERTIES = "user_properties"


@pytest.fixture
def counts(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Write down what a test counted, for the line of its promise: `counts(budget=30, kills=8)`."""

    def note(**figures: int) -> None:
        record_property(COUNTS, figures)

    return note


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    yield
    CommandStudy.end_all()


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
        for mark in item.iter_markers(PROMISE):
            if mark.args not in {(promise,) for promise in PROMISES}:
                raise pytest.UsageError(
                    f"{item.nodeid}: promise{mark.args} is none of those in promises.py"
                )
            item.user_properties.append((PROMISE, mark.args[0]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """End with the table where the promises were asked for; any that is not kept fails the run."""
    yield
    if session.config.option.markexpr != PROMISE or session.config.option.collectonly:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    reports = [one for some in reporter.stats.values() for one in some]
    for promise in PROMISES:
        mine = [one for one in reports if (PROMISE, promise) in getattr(one, PROPERTIES, ())]
        tests = {one.nodeid for one in session.items if (PROMISE, promise) in one.user_properties}
        told = line(promise, kept(tests, mine), figures(mine))
        reporter.write_line(told, green=told.startswith("PASS"), red=told.startswith("FAIL"))
        if told.startswith("FAIL"):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def kept(tests: set[str], reports: list[pytest.TestReport]) -> bool:
    """Whether there are tests, and each of them ran and passed."""
    passed = {one.nodeid for one in reports if one.when == "call" and one.passed}
    return bool(tests) and passed == tests and all(one.passed for one in reports)


def figures(reports: list[pytest.TestReport]) -> Counter[str]:
    """What the tests of a promise counted, summed up."""
    total: Counter[str] = Counter()
    for report in reports:
        if report.when == "call":
            for name, counted in report.user_properties:
                total.update(counted if name == COUNTS else {})
    return total
