"""What Widthwise promises about workers that die: the one list, and how its table is drawn.

A test says which promise it keeps with `@pytest.mark.promise("budget exact")`, wherever it lives,
and records what it counted: `record_counts(budget=100, …)` here, or pytest's own
`record_property("counts", {"budget": 100, …})` elsewhere. `make faults` runs those tests, and no
others, and ends with a line for each promise.
"""

from __future__ import annotations

from collections.abc import Mapping

PROMISES = (
    "budget exact",
    "every gap in the protocol is safe",
    "a late result is refused",
    "database loss",
    "heartbeats are independent",
    "drain",
    "resume from any state",
    "a confirmation goes on",
    "OOM and poison",
    "version skew",
    "clock-safe",
    "model",
    "no pickle, no leak",
    "user code ends only its trial",
    "database trouble passes",
    "no process is left behind",
    "no crowd, no lost file",
    "own training goes on in its folder",
    "own training ends only its trial",
)

PROMISE_MARKER, COUNTS_PROPERTY = "promise", "counts"
"""Names of the marker, and of the property of a test's report that holds its figures."""

LEADING_FIGURES = ("budget", "complete", "running", "duplicates", "lost")
"""Figures that every line shows, in this order; those that a test adds come after them."""


def format_line(promise: str, passed: bool, figures: Mapping[str, int]) -> str:
    """One line of the table.

    Args:
        promise: Which.
        passed: Whether it has tests and each of them passed.
        figures: What they counted, summed up.
    """
    columns = {name: figures.get(name, 0) for name in LEADING_FIGURES} | dict(figures)
    text = " ".join(f"{name}={number}" for name, number in columns.items())
    return f"{'PASS' if passed else 'FAIL'} {promise}  {text}"
