"""More data or more width: which of them a planted learning curve asks for."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from widthwise.search.goal import Goal
from widthwise.search.report.experiments.experiment_run import ExperimentRun
from widthwise.search.report.experiments.share_table import ShareRow, ShareTable, judge_shares
from widthwise.tests.search.report.experiments.runs import planted_run

NOISE = 0.004
SHARES = (0.1, 0.25, 0.5, 1.0)


def planted_curve(
    quality: Callable[[float, bool], float], seed: int, *, sign: int = 1, wide: bool = True
) -> ShareTable:
    """Trainings of three seeds, each with an effect of its own on all points."""
    rng = np.random.default_rng(seed)
    blocks = 2 * NOISE * rng.standard_normal(3)

    def runs(share: float, is_wide: bool) -> list[ExperimentRun]:
        return [
            planted_run(
                index,
                sign * (quality(share, is_wide) + blocks[index] + NOISE * rng.standard_normal()),
            )
            for index in range(3)
        ]

    return judge_shares(
        [
            ShareRow(
                share=share,
                rows=round(1000 * share),
                runs=runs(share, False),
                wider_runs=runs(share, True) if wide else (),
            )
            for share in reversed(SHARES)
        ],
        study="s",
        follow_up="s/learning curve",
        metric="accuracy",
        goal=Goal(direction="maximize" if sign > 0 else "minimize"),
        widths={"a": 8, "b": 4},
        wider={"a": 16, "b": 8} if wide else None,
    )


PLANTED = {
    "More data, not more width": lambda share, _: 0.9 - 0.02 / share,
    "More width, not more data": lambda share, wide: (0.85 if share > 0.2 else 0.7) + 0.03 * wide,
    "Both more data and more width help": lambda share, wide: 0.9 - 0.02 / share + 0.03 * wide,
    "Neither more rows nor more width helps": lambda share, _: 0.9 if share > 0.2 else 0.7,
}


@pytest.mark.parametrize("sign", [1, -1], ids=["maximize", "minimize"])
@pytest.mark.parametrize("answer", PLANTED)
def test_the_planted_answer_is_given(answer: str, sign: int) -> None:
    given = sum(
        planted_curve(PLANTED[answer], seed, sign=sign).sentences()[0].startswith(answer)
        for seed in range(20)
    )
    # Where something brings nothing, a false gain has 2.5 % each.
    assert given >= (19 if "Neither" not in answer else 18)


def test_the_differences_hold_the_truth() -> None:
    covered = 0
    for seed in range(40):
        table = planted_curve(PLANTED["Both more data and more width help"], seed)
        assert table.more_rows is not None
        assert table.more_width is not None
        assert table.more_rows_from == 0.5
        covered += abs(table.more_rows.mean - 0.02) <= table.more_rows.half_width
        covered += abs(table.more_width.mean - 0.03) <= table.more_width.half_width
    assert covered >= 71  # of 80 intervals of 95 %: fewer have a chance below 1 in 100


def test_without_twice_the_width_the_rows_are_told_alone() -> None:
    table = planted_curve(PLANTED["More data, not more width"], 0, wide=False)
    assert table.more_width is None
    assert table.sentences()[0].startswith("2 times the rows brought +1.8 ± 0.8 points")
    written = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert [row["share"] for row in written["rows"]] == list(SHARES)
    assert written["wider"] is None
    assert written["rows"][0]["wider_validation"] is None
