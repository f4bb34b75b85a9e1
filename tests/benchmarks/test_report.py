"""The benchmark of many trials measures what it says."""

from pathlib import Path

from widthwise.benchmarks.report.__main__ import measure


def test_a_small_study_is_measured(tmp_path: Path) -> None:
    figures = measure(tmp_path, 12, browser=False)
    assert figures["trials"] == 12
    assert figures["report --out, s"] > 0
    assert 0.05 < figures["report.html, MB"] < 2
    assert figures["dashboard, answer, MB"] > 0.005
    assert (tmp_path / "report" / "history.png").exists()
