"""The comparison of a network with other models, and the tables that need no other package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from widthwise.benchmarks.twelve_tables.__main__ import significantly_worse
from widthwise.benchmarks.twelve_tables.compare import corrected_test
from widthwise.benchmarks.twelve_tables.tables import TABLES, PackageMissing, write_table


def test_the_corrected_test_is_the_paired_one_with_a_larger_variance() -> None:
    first, second = np.array([0.9, 0.8, 0.85, 0.92]), np.array([0.88, 0.83, 0.8, 0.9])
    plain = stats.ttest_rel(first, second)
    found = corrected_test(first - second, 0.25)
    assert found.mean == pytest.approx((first - second).mean())
    corrected = plain.statistic / np.sqrt(1 + 4 * 0.25)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(corrected), 3))


def test_equal_scores_are_no_difference() -> None:
    found = corrected_test(np.zeros(5), 0.25)
    assert (found.mean, found.error, found.p) == (0.0, 0.0, 1.0)


def test_one_of_twelve_tables_may_be_unlucky() -> None:
    lucky = {f"table {index}": {"mean": 0.01, "p": 0.5} for index in range(11)}
    assert significantly_worse({**lucky, "tips": {"mean": -0.05, "p": 0.03}}) == []
    # .05 / 12 rejects the first, .05 / 11 the second, which is better; .05 / 10 not the third.
    differences = {
        **dict(list(lucky.items())[:9]),
        "worse": {"mean": -0.05, "p": 0.004},
        "better": {"mean": 0.05, "p": 0.0045},
        "maybe": {"mean": -0.05, "p": 0.006},
    }
    assert significantly_worse(differences) == ["worse"]


def test_a_table_is_written_with_its_target(tmp_path: Path) -> None:
    [iris] = [table for table in TABLES if table.name == "iris"]
    frame = pd.read_csv(write_table(iris, tmp_path))
    assert len(TABLES) == 12
    assert iris.target in frame.columns
    assert len(frame) == 150


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    [lung] = [table for table in TABLES if table.name == "lung"]
    with pytest.raises(PackageMissing, match=r"lung: package lifelines is not there"):
        write_table(lung, tmp_path, packages=tmp_path)
