"""At 80 columns no number is cut or wrapped, however many and long the widths are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from widthwise.search.cli.printed_report import print_report
from widthwise.search.cli.studies.status import _study_table, _worker_table
from widthwise.search.cli.tables import print_table
from widthwise.search.goal import Goal
from widthwise.search.report.console import PlainConsole
from widthwise.search.report.recommendation.candidate import Estimate, JudgedCandidate
from widthwise.search.report.recommendation.recommendation import Recommendation
from widthwise.search.report.reference import Reference
from widthwise.search.report.summary import StudySummary, comparison_table
from widthwise.search.report.verdict import Verdict
from widthwise.storage.ledger.slot import SlotCounts

NAMES = [f"encoder_block_{index}_feed_forward_width" for index in range(12)]
WIDTHS = {name: 1024 + 64 * index for index, name in enumerate(NAMES)}
COSTS = {
    "parameters": 123_456_789,
    "flops": 98_765_432_100,
    "train_memory": 987_654_321,
    "inference_memory": 87_654_321,
    "macs": 49_382_716_050,
}


def shown(print_it: Callable[[Any], None], columns: int = 80) -> str:
    out = StringIO()
    with redirect_stdout(out):
        print_it(PlainConsole(width=columns))
    return out.getvalue()


def candidate(label: str, **changed: int) -> JudgedCandidate:
    return JudgedCandidate(
        label=label,
        widths={**WIDTHS, **changed},
        trial=None,
        estimate=Estimate(mean=0.977812, deviation=0.000712),
        costs=COSTS,
    )


def summary() -> StudySummary:
    answer = Recommendation(
        best_observed=candidate("best observed"),
        recommended=candidate("recommended", **{NAMES[0]: 7777}),
        runner_up=candidate("runner-up", **{NAMES[1]: 8888}),
        baselines={
            name: candidate(name)
            for name in ("largest that fits", "uniform scaling", "rule of thumb")
        },
        verdict=Verdict.GAIN,
        verdict_text="A gain.",
    )
    return StudySummary(
        study="a study with a rather long name, as people give them",
        goal=Goal(),
        metric="balanced_accuracy",
        counts=SlotCounts(complete=2, running=0, failed=0, pruned=0, waiting=0, paused=0),
        limits={name: 2 * value for name, value in COSTS.items()},
        trials=[],
        failed=[],
        recommendation=answer,
        references=[Reference(name="trees", value=0.951234, test=None)],
    )


def assert_whole(text: str, cells: list[str]) -> None:
    """Every line fits, and every cell without a space to wrap at stands in one piece."""
    assert max(map(len, text.splitlines())) <= 80
    for cell in cells:
        for part in cell.split() if "=" in cell else [cell]:
            assert part in text, part


def test_the_table_that_ends_a_run() -> None:
    text = shown(lambda console: print_report(console, summary()))
    titles, rows = comparison_table(summary())
    figures = [cell for row in rows for cell in row[1:] if cell not in ("", "—")]
    assert_whole(text, figures)
    assert "0.97781 ± 0.00071" in text
    assert all(title in text for title in titles[3:])
    wide = shown(lambda console: print_report(console, summary()), columns=2000)
    assert len(wide.splitlines()) < len(text.splitlines()), "a wide terminal uses its room"


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_any_table_of_figures_is_whole_at_any_width(columns: int) -> None:
    titles = ["network", "widths", *(f"cost number {index}" for index in range(9))]
    rows = [
        [
            f"a network with a name of several words, number {row}",
            " ".join(f"{name}={width}" for name, width in WIDTHS.items()),
            *(f"{10 ** (index % 7) * (row + 1):,} GFLOPs" for index in range(9)),
        ]
        for row in range(3)
    ]
    text = shown(lambda console: print_table(console, titles, rows), columns)
    assert max(len(line) for line in text.splitlines() if set(line) & set("┃│")) <= columns
    for row in rows:
        assert all(cell in text for cell in row[2:])
        assert all(part in text for part in row[1].split())


def test_a_table_of_long_columns_alone_keeps_its_title() -> None:
    rows = [["first", " ".join(NAMES)]]
    text = shown(lambda console: print_table(console, ["row", "widths"], rows, title="What it is"))
    assert text.splitlines()[0].strip() == "What it is"
    assert NAMES[-1] in text


def test_studies_and_workers() -> None:
    state = {
        "study": "x" * 120,
        "status": "cancelled",
        "priority": -1_000_000,
        "budget": 1_000_000,
        "trials": dict.fromkeys(("complete", "running", "failed", "pruned", "waiting"), 123456),
        "paused": 654_321,
        "untrained_reason": None,
    }
    titles, rows = _study_table([state])
    text = shown(lambda console: print_table(console, titles, rows))
    assert_whole(text, rows[0][1:])
    worker = {
        "worker": "a-host-with-a-long-name.example.org:1234567:7654321",
        "device": "cuda: NVIDIA H200",
        "study": "y" * 60,
        "activity": "training",
        "trials": [123456, 123457, 123458, 123459, 123460],
        "age_seconds": 12.5,
        "alive": False,
    }
    titles, rows = _worker_table([worker])
    text = shown(lambda console: print_table(console, titles, rows))
    assert_whole(text, ["12.5 s", "123456", "123460" if "123460" in rows[0][4] else "1 more"])


SPEC = """
study = {{ name = "wide", trials = 4 }}
model = {{ build = "model.py:build", costs = "model.py:costs" }}
limits = {{ flops = "900M", parameters = "90M" }}
proxy = {{ data = "digits", epochs = 1 }}
[widths]
{widths}
"""
MODEL = """
from torch import nn

def build(widths):
    sizes = [64, *widths.values(), 10]
    return nn.Sequential(*(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])))

def costs(widths):
    total = sum(widths.values())
    return {"parameters": 1_234_567 + total, "flops": 98_765_432 + 2 * total}
"""


@pytest.mark.parametrize(
    "verb", [("check",), ("cost",), ("cost", "--widths")], ids=lambda verb: " ".join(verb)
)
def test_check_and_cost(
    verb: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    from widthwise.search.cli.app import main

    (tmp_path / "model.py").write_text(MODEL)
    widths = "\n".join(f"{name} = [16, 32]" for name in NAMES)
    (tmp_path / "wide.toml").write_text(SPEC.format(widths=widths))
    monkeypatch.setenv("COLUMNS", "80")
    arguments = [verb[0], str(tmp_path / "wide.toml")]
    if len(verb) > 1:
        arguments += ["--widths", ",".join(f"{name}=32" for name in NAMES)]
    monkeypatch.setattr("sys.argv", ["widthwise", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    text = capfd.readouterr().out
    tables = [line for line in text.splitlines() if set(line) & set("┃│")]
    assert tables
    assert max(map(len, tables)) <= 80
    smallest, largest = 1_234_567 + 12 * 16, 1_234_567 + 12 * 32
    assert f"{largest:,}" in text or f"{smallest:,}" in text
    if verb != ("cost", "--widths"):
        assert all(f"{name}=32" in text for name in NAMES)
