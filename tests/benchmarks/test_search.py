"""The replay harness: its figures mean what they say, and its JSON has the promised form."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search.__main__ import main
from benchmarks.search.figures import evaluate_replay
from benchmarks.search.replay import SAMPLERS, Replay, run_replay
from benchmarks.search.table import TableError, read_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def table_path(tmp_path: Path) -> Path:
    """Every combination of three widths; quality peaks inside, cost is their product."""
    widths = np.array(list(product([4, 8, 16, 32, 64], repeat=3)))
    truth = -((np.log2(widths) - [4.0, 3.0, 4.5]) ** 2).sum(axis=1)
    runs = truth[:, None] + np.random.default_rng(0).normal(0, 0.05, (len(widths), 3))
    table_file = tmp_path / "table.npz"
    np.savez(table_file, widths=widths, accuracy=runs, flops=widths.prod(axis=1))
    return table_file


def test_the_json_has_the_promised_form(table_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "benchmarks.search", "--table", str(table_path)]
    command += ["--metric", "accuracy", "--cost", "flops", "--percentile", "25", "--seeds", "3"]
    command += ["--trials", "24", "--samplers", "widthwise,tpe-constrained,random"]
    command += ["--json", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    payload = json.loads(out.read_text())
    assert list(payload) == ["widthwise", "tpe-constrained", "random"]
    for entry in payload.values():
        for name in ("regret", "recommended_unseen", "best_observed_unseen"):
            assert isinstance(entry[name]["20"], float)
            assert entry[name].keys() == entry[f"{name}_standard_error"].keys()
            assert "24" in entry[name]
        for name in ("infeasible_share", "duplicate_share", "seconds_per_proposal"):
            assert entry[name] >= 0
            assert entry[f"{name}_standard_error"] >= 0
    ours = payload["widthwise"]
    assert ours["infeasible_share"] == ours["duplicate_share"] == 0
    assert payload["random"]["infeasible_share"] > 0.5
    assert 0 <= payload["random"]["first_better_p"]["20"] <= 1


def test_figures_by_hand(table_path: Path) -> None:
    table = read_table(table_path, "accuracy", "flops", 50.0)
    inside = np.flatnonzero(table.feasible)
    best = inside[np.argmax(table.observed_metric[inside])]
    outside = np.flatnonzero(~table.feasible)[0]
    rows = np.array([outside, inside[0], inside[0], best])
    actual = evaluate_replay(table, Replay(rows=rows, seconds=np.ones(4)), [3, 4])
    assert actual["regret"][3] == pytest.approx(
        table.observed_metric[best] - table.observed_metric[inside[0]]
    )
    assert actual["regret"][4] == 0
    assert actual["best_observed_unseen"][4] == table.held_out_metric[best]
    assert actual["infeasible_share"] == actual["duplicate_share"] == 0.25


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_replays_and_repeats(table_path: Path, name: str) -> None:
    table = read_table(table_path, "accuracy", "flops", 25.0)
    first, second = (run_replay(table, name, 5, 12) for _ in range(2))
    assert len(first.rows) == 12
    assert (first.rows == second.rows).all()


def test_widthwise_beats_random_feasible_candidates(table_path: Path) -> None:
    table = read_table(table_path, "accuracy", "flops", 50.0)
    lost = {
        name: [
            evaluate_replay(table, run_replay(table, name, seed, 15), [15])["regret"][15]
            for seed in range(8)
        ]
        for name in ("widthwise", "random-feasible")
    }
    assert np.mean(lost["widthwise"]) < 0.5 * np.mean(lost["random-feasible"])


def test_batches_never_repeat(table_path: Path) -> None:
    table = read_table(table_path, "accuracy", "flops", 25.0)
    rows = run_replay(table, "widthwise", 0, 30, batch=8).rows
    assert len(set(rows.tolist())) == 30


def test_a_sampler_that_runs_out_keeps_its_figures(table_path: Path) -> None:
    table = read_table(table_path, "accuracy", "flops", 5.0)
    number = int(table.feasible.sum())
    actual = run_replay(table, "widthwise", 0, number + 10)
    assert len(actual.rows) == number
    assert evaluate_replay(table, actual, [number + 10])["regret"][number + 10] == 0


def test_a_sparse_table_of_odd_columns_and_one_run_replays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    widths = np.column_stack([rng.choice([0, 1, 2], 200), rng.choice([0.5, 0.75, 1.0], 200)])
    widths = np.column_stack([widths, rng.integers(1, 40, 200)])
    table_file = tmp_path / "odd.npz"
    accuracy = widths.sum(axis=1)
    accuracy[::50] = np.nan
    np.savez(table_file, widths=widths, accuracy=accuracy, flops=widths.sum(axis=1) + 0.5)
    table = read_table(table_file, "accuracy", "flops", 60.0)
    for name in ("widthwise", "tpe-constrained"):
        figures = evaluate_replay(table, run_replay(table, name, 0, 15), [15])
        assert np.isfinite(figures["regret"][15])


def test_a_csv_is_read_like_an_npz(table_path: Path, tmp_path: Path) -> None:
    arrays = np.load(table_path)
    lines = ["width1,width2,width3,accuracy_0,accuracy_1,accuracy_2,flops"]
    for widths, runs, cost in zip(
        arrays["widths"], arrays["accuracy"], arrays["flops"], strict=True
    ):
        lines.append(",".join(map(repr, [*widths.tolist(), *runs.tolist(), int(cost)])))
    other = tmp_path / "table.csv"
    other.write_text("\n".join(lines))
    item, two = (read_table(item, "accuracy", "flops", 25.0) for item in (table_path, other))
    assert (item.widths == two.widths).all()
    assert item.held_out_metric == pytest.approx(two.held_out_metric)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--metric", "loss"], "no array 'loss'", id="metric"),
        pytest.param(["--samplers", "widthwise,magic"], "no sampler 'magic'", id="sampler"),
        pytest.param(["--cost", "accuracy"], "expected [n, d]", id="shape"),
    ],
)
def test_bad_input_is_one_sentence(
    table_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["--table", str(table_path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_shipped_table_is_whole() -> None:
    table = ROOT / "benchmarks" / "tables" / "digits_mlp.npz"
    arrays = np.load(table)
    assert arrays["widths"].shape == (512, 3)
    assert len(np.unique(arrays["widths"], axis=0)) == 512
    assert arrays["accuracy"].shape == (512, 4)
    assert np.isfinite(arrays["accuracy"]).all()
    # 64 → a → b → c → 10 with biases; FLOPs are twice the multiply-adds.
    a, b, c = arrays["widths"].T.astype(np.int64)
    macs = 64 * a + a * b + b * c + 10 * c
    assert (arrays["flops"] == 2 * macs).all()
    assert (arrays["parameters"] == macs + a + b + c + 10).all()
    assert read_table(table, "accuracy", "flops", 25.0).feasible.sum() == 130
    with pytest.raises(TableError, match="no array"):
        read_table(table, "loss", "flops", 25.0)
