"""Whatever became of a study, `resume` brings it to exactly the budget that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from . import small
from .command import CommandStudy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.promise("resume from any state"),
]


@pytest.fixture
def study(tmp_path: Path) -> CommandStudy:
    return CommandStudy(tmp_path, "small")


def assert_complete(study: CommandStudy, budget: int, *, failed: int = 0) -> dict[str, int]:
    """Exactly so many trials, each with a result but for the failed ones, and none twice."""
    figures = study.audit()
    assert figures == {
        **figures,
        "budget": budget,
        "complete": budget - failed,
        "running": 0,
        "duplicates": 0,
        "lost": 0,
    }
    assert study.slot_states() == ["done"] * budget
    return figures


def assert_command(study: CommandStudy, *arguments: str, code: int = 0) -> str:
    """Run a command to its end; returns its messages."""
    result = study.run_in_process(*arguments)
    assert result.code == code, result.err
    return result.err


def test_a_finished_study_is_extended(
    study: CommandStudy, record_counts: Callable[..., None]
) -> None:
    study.submit(small.write_small_study(study.folder, trials=4))
    assert_command(study, "worker", "small")
    assert_complete(study, 4)
    before = study.records()
    assert_command(study, "resume", "small", "--trials", "+20")
    assert study.records()[:4] == before
    assert "24" in assert_command(study, "resume", "small", "--trials", "23", code=2)
    record_counts(**assert_complete(study, 24))


def test_a_study_that_failed_goes_on_once_it_is_mended(
    study: CommandStudy, record_counts: Callable[..., None]
) -> None:
    study.submit(small.write_small_study(study.folder, trials=8))
    (study.folder / "broken").touch()
    assert "the disk of the data is away" in assert_command(study, "worker", "small", code=4)
    assert "leased" not in study.slot_states()
    (study.folder / "broken").unlink()
    assert_command(study, "resume", "small", "--trials", "12")
    failed = len(study.query_rows("select number from widthwise_slot where outcome = 'error'"))
    assert study.query_rows(
        "select number from widthwise_slot where failures >= 3"
    ) == study.query_rows("select number from widthwise_slot where outcome = 'error'")
    record_counts(**assert_complete(study, 12, failed=failed), failed=failed)


@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_a_study_that_was_stopped_by_hand_goes_on(
    study: CommandStudy, record_counts: Callable[..., None], verb: str
) -> None:
    study.submit(small.write_small_study(study.folder, trials=6))
    (study.folder / "wait").touch()
    worker = study.start("worker", "small", "--lease", "1")
    study.wait_until(worker, lambda: "bound" in study.event_kinds())
    assert_command(study, verb, "small")
    (study.folder / "wait").unlink()
    if verb == "pause":  # its workers wait
        study.wait_until(worker, lambda: "leased" not in study.slot_states())
        worker.terminate()
    _, err = worker.communicate(timeout=100)
    assert worker.returncode == (75 if verb == "pause" else 0), err
    assert "leased" not in study.slot_states()
    assert study.slot_states().count("done") < 6
    assert_command(study, "resume", "small", "--trials", "+2")
    record_counts(**assert_complete(study, 8))
