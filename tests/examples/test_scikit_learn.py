"""The pipeline searches within its limit, and classifies rows that it has not seen."""

from __future__ import annotations

import re

import pytest

from .command import load_example


@pytest.mark.slow
def test_the_pipeline_classifies_unseen_rows(capsys: pytest.CaptureFixture[str]) -> None:
    load_example("scikit_learn").main()
    output = capsys.readouterr().out
    width = re.search(r"widths \{'hidden1': (\d+)\}", output)
    accuracy = re.search(r"test accuracy ([0-9.]+)", output)
    assert width is not None
    assert accuracy is not None
    # 30 columns and 2 classes: 30 h + h + 2 h + 2 parameters.
    assert 33 * int(width[1]) + 2 <= 2_000
    assert float(accuracy[1]) > 0.93
