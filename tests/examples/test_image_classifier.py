"""The image classifier learns from loaders with augmentation and two workers."""

from pathlib import Path

import pytest

from .command import best_trial, run_example


@pytest.mark.slow
def test_it_reads_digits(tmp_path: Path) -> None:
    report = run_example("image_classifier", tmp_path)
    best = best_trial(report)
    # The commonest digit has a tenth of the rows.
    assert best["metric"]["name"] == "accuracy"
    assert best["metric"]["value"] > 0.85
    assert best["reported"]["top5_accuracy"] > best["metric"]["value"]
    for trial in report["history"]:
        channels, widths = trial["costs"]["parameters"], trial["widths"]
        first, second = widths["block1"], widths["block2"]
        assert channels == 10 * first + (9 * first + 1) * second + (4 * second + 1) * 10
