"""The verdicts of a controlled table, on rows whose truth is planted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from widthwise.search.goal import Goal
from widthwise.search.report.experiments.controlled_table import ControlledTable, RowVerdict
from widthwise.search.report.experiments.judge_rows import RowInput, judge_table
from widthwise.storage.ledger.slot import TrialOutcome
from widthwise.tests.search.report.experiments.runs import planted_run

SEEDS = 3
NOISE = 0.004
"""Of one training's accuracy; a seed moves all rows by as much again."""

WIDTHS = (8, 16, 32, 64, 128, 256)
Truth = Callable[[int], float]


def planted_table(
    validation: Truth,
    train: Truth,
    seed: int,
    *,
    direction: str = "maximize",
    seeds: int = SEEDS,
    known_noise: float | None = None,
) -> ControlledTable:
    rng = np.random.default_rng(seed)
    sign = 1 if direction == "maximize" else -1
    blocks = NOISE * rng.standard_normal(seeds)
    rows = [
        RowInput(
            value=width,
            widths={"a": width, "b": 4},
            costs={"parameters": 10 * width, "flops": 20 * width},
            runs=[
                planted_run(
                    index,
                    sign * (validation(width) + blocks[index] + NOISE * rng.standard_normal()),
                    sign * (train(width) + blocks[index] + NOISE * rng.standard_normal()),
                )
                for index in range(seeds)
            ],
        )
        for width in WIDTHS
    ]
    return judge_table(
        rows,
        study="s",
        follow_up="s/sweep a",
        moved=["a"],
        metric="accuracy",
        goal=Goal(direction=direction),
        known_noise=known_noise,
    )


def saturating(width: int) -> float:
    """0.9 but for what a narrow net cannot fit: 0.60 at 8, 0.75 at 16, 0.825 at 32."""
    return 0.9 - 2.4 / width if width < 128 else 0.9


def verdicts(table: ControlledTable) -> dict[int, RowVerdict]:
    return {row.value: row.verdict for row in table.rows}


def count_of(predicate: Callable[[int], bool]) -> int:
    return sum(map(predicate, range(20)))


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_narrow_rows_are_said_to_underfit(direction: str) -> None:
    def says_so(seed: int) -> bool:
        found = verdicts(planted_table(saturating, saturating, seed, direction=direction))
        return all(found[width] is RowVerdict.UNDERFITS for width in (8, 16, 32))

    assert count_of(says_so) >= 19


def test_wide_rows_that_learn_by_heart_are_said_to_overfit() -> None:
    def validation(width: int) -> float:
        return {8: 0.7, 16: 0.8, 32: 0.9, 64: 0.87, 128: 0.84, 256: 0.8}[width]

    def says_so(seed: int) -> bool:
        table = planted_table(validation, lambda width: min(1.0, 0.8 + width / 400), seed)
        found = verdicts(table)
        return found[32] is RowVerdict.BEST and all(
            found[width] is RowVerdict.OVERFITS for width in (64, 128, 256)
        )

    assert count_of(says_so) >= 19


def test_more_width_without_gain_is_said_to_bring_none() -> None:
    """All from 32 on are equal: whichever is called best, the smaller are as good."""

    def plateau(width: int) -> float:
        return {8: 0.7, 16: 0.8}.get(width, 0.9)

    def says_so(seed: int) -> bool:
        found = verdicts(planted_table(plateau, plateau, seed))
        (best,) = [width for width, verdict in found.items() if verdict is RowVerdict.BEST]
        return best >= 32 and all(
            found[width] is (RowVerdict.AS_GOOD if width < best else RowVerdict.NO_GAIN)
            for width in (32, 64, 128, 256)
            if width != best
        )

    assert count_of(says_so) >= 18  # the error of all statements of a table is 5 %


def test_the_sentence_names_the_smallest_that_is_as_good() -> None:
    def plateau(width: int) -> float:
        return {8: 0.7, 16: 0.8, 256: 0.902}.get(width, 0.9)

    table = planted_table(plateau, plateau, 3)
    best = table.best
    assert best is not None
    conclusion = table.sentences()[0]
    assert conclusion.startswith(f"a = {best.value} is best: accuracy 0.90")
    if best.value > 32:
        assert "; 32 is as good within the noise" in conclusion
    assert "16 and less underfits" in conclusion.casefold()


def test_harder_to_train_is_no_overfit() -> None:
    def worse_when_wide(width: int) -> float:
        return 0.9 if width <= 32 else 0.7

    found = verdicts(planted_table(worse_when_wide, worse_when_wide, 0))
    assert found[256] is RowVerdict.WORSE


def test_one_seed_is_judged_by_the_noise_of_the_study_or_not_at_all() -> None:
    judged = planted_table(saturating, saturating, 0, seeds=1, known_noise=NOISE)
    assert verdicts(judged)[8] is RowVerdict.UNDERFITS
    untold = planted_table(saturating, saturating, 0, seeds=1)
    assert set(verdicts(untold).values()) == {RowVerdict.BEST, RowVerdict.UNTOLD}
    assert "--seeds 3" in untold.sentences()[1]


def test_rows_without_a_metric_say_why_and_harm_no_other() -> None:
    rows = [
        RowInput(
            value=8,
            widths={"a": 8},
            costs={"parameters": 80},
            runs=[planted_run(1, 0.8, 0.8), planted_run(2, 0.81, 0.8)],
        ),
        RowInput(
            value=16,
            widths={"a": 16},
            costs={"parameters": 160},
            runs=[
                planted_run(1, 0.9, 0.9),
                planted_run(
                    2, None, outcome=TrialOutcome.NAN, detail="the training loss became nan"
                ),
            ],
        ),
        RowInput(
            value=32,
            widths={"a": 32},
            costs={"parameters": 320},
            violations=["flops", "parameters"],
        ),
        RowInput(
            value=64,
            widths={"a": 64},
            costs={"parameters": 640},
            runs=[
                planted_run(
                    1, None, outcome=TrialOutcome.INFEASIBLE, detail="latency 9 ms against 5 ms"
                )
            ],
        ),
    ]
    table = judge_table(
        rows, study="s", follow_up=None, moved=["a"], metric="accuracy", goal=Goal()
    )
    assert [str(row.verdict) for row in table.rows] == [
        "best",
        "failed",
        "breaks a limit",
        "breaks a limit",
    ]
    texts = [row.text for row in table.rows]
    assert texts[1] == "1 of 2 trainings failed: nan"
    assert texts[2] == "breaks the limit flops, parameters: not trained"
    assert texts[3] == "not trained: latency 9 ms against 5 ms"


def test_the_json_is_plain_and_says_what_the_table_says() -> None:
    table = planted_table(saturating, saturating, 5)
    written = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert written["moved"] == ["a"]
    assert written["fixed"] == {"b": 4}
    assert [row["value"] for row in written["rows"]] == list(WIDTHS)
    for row, judged in zip(written["rows"], table.rows, strict=True):
        assert row["verdict"] == judged.verdict
        assert row["validation"]["seeds"] == SEEDS
        assert row["validation"]["mean"] == pytest.approx(
            math.fsum(run["value"] for run in row["runs"]) / SEEDS
        )


def test_without_training_metrics_the_losses_tell_who_underfits() -> None:
    rows = [
        RowInput(
            value=width,
            widths={"a": width},
            costs={"parameters": width},
            runs=[
                planted_run(
                    seed, value + 0.001 * seed * (-1) ** width, train_loss=loss + 0.001 * seed
                )
                for seed in range(3)
            ],
        )
        for width, value, loss in ((8, 0.7, 1.0), (16, 0.9, 0.3), (33, 0.8, 0.1))
    ]
    table = judge_table(
        rows, study="s", follow_up=None, moved=["a"], metric="accuracy", goal=Goal()
    )
    assert [str(row.verdict) for row in table.rows] == ["underfits", "best", "overfits"]


def table_of(
    figures: Mapping[int, tuple[float, float | None]], **others: Mapping[str, Any]
) -> ControlledTable:
    """A table of one seed: value → validation metric, training metric; the rest as `run8={…}`."""
    rows = [
        RowInput(
            value=width,
            widths={"a": width},
            costs={"parameters": width},
            runs=[planted_run(0, value, train, **others.get(f"run{width}", {}))],
        )
        for width, (value, train) in figures.items()
    ]
    return judge_table(
        rows,
        study="s",
        follow_up=None,
        moved=["a"],
        metric="accuracy",
        goal=Goal(),
        known_noise=NOISE,
    )


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        pytest.param(
            {8: (0.6, 0.6), 16: (0.7, 0.7), 32: (0.9, 0.9)},
            "16 and less underfits.",
            id="all smaller ones underfit",
        ),
        pytest.param(
            {8: (0.6, 0.6), 16: (0.8, 0.95), 32: (0.7, 0.7), 64: (0.9, 0.9)},
            "8 and 32 underfit.",
            id="one between them does not",
        ),
        pytest.param(
            {8: (0.9, 0.9), 16: (0.8, 0.95), 32: (0.7, 0.97)},
            "16 and more overfits.",
            id="all larger ones overfit",
        ),
        pytest.param(
            {8: (0.9, 0.9), 16: (0.8, 0.95), 32: (0.7, 0.6), 64: (0.7, 0.97)},
            "16 and 64 overfit.",
            id="one between them is hard to train",
        ),
        pytest.param(
            {8: (0.9, 0.9), 16: (0.899, 0.9), 32: (0.898, 0.9)},
            "More than 8 brings no gain.",
            id="no larger one brings a gain",
        ),
        pytest.param(
            {8: (0.9, 0.9), 16: (0.899, 0.9), 32: (0.7, 0.95), 64: (0.898, 0.9)},
            "32 overfits; 16 and 64 bring no gain.",
            id="one between them is worse",
        ),
    ],
)
def test_a_range_is_said_only_where_no_row_of_it_is_otherwise(
    figures: Mapping[int, tuple[float, float]], said: str
) -> None:
    assert table_of(figures).sentences()[0].endswith(f". {said}")


def test_without_a_training_figure_nothing_is_said_of_training() -> None:
    table = table_of({8: (0.7, None), 16: (0.9, None), 32: (0.8, None)})
    assert [row.text for row in table.rows] == ["worse", "best", "worse"]


def test_losses_are_not_judged_by_the_noise_of_the_metric() -> None:
    """One seed: only the metric's noise is known, and 0.1 of a loss is no 0.1 of an accuracy."""
    runs = {"run8": {"train_loss": 1.0}, "run16": {"train_loss": 0.9}, "run32": {"train_loss": 0.8}}
    table = table_of({8: (0.7, None), 16: (0.9, None), 32: (0.8, None)}, **runs)
    assert [row.text for row in table.rows] == ["worse", "best", "worse"]
    measured = table_of({8: (0.7, 0.7), 16: (0.9, 0.9), 32: (0.8, 0.95)})
    assert [row.text for row in measured.rows] == ["underfits", "best", "overfits"]
