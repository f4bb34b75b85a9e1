"""The command: replay tables with several limits and seeds, print a summary, write JSON."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.table import TableError, read_table

from .figures import summarise
from .replay import Judged, replay

DIGITS = Path(__file__).parents[1] / "tables" / "digits_mlp.npz"
COUNTS = (4, 8, 15, 30)
"""Trainings after which the recommendation is judged."""
PERCENTILES = (10.0, 25.0, 50.0)
"""Of the cost over the table: the limits."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _options(arguments)
    tables = [DIGITS, *options.table]
    counts = [count for count in COUNTS if count <= options.trials] or [options.trials]
    results: dict[str, Any] = {}
    for path in tables:
        for percentile in options.percentiles:
            name = f"{path.stem}, {percentile:g}th"
            try:
                results[name] = _judge_table(path, percentile, counts, options)
            except (TableError, OSError) as error:
                print(f"error: {error}", file=sys.stderr)
                return 2
            _log(name, results[name])
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _judge_table(
    path: Path, percentile: float, counts: list[int], options: argparse.Namespace
) -> dict[str, Any]:
    read_table(path, options.metric, options.cost, percentile)  # what is wrong is said at once
    work = partial(
        run_seed,
        path=path,
        metric=options.metric,
        cost=options.cost,
        percentile=percentile,
        counts=counts,
    )
    if options.processes > 1:
        with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
            replays = list(pool.map(work, range(options.seeds)))
    else:
        replays = [work(seed) for seed in range(options.seeds)]
    return summarise(replays)


def run_seed(
    seed: int, *, path: Path, metric: str, cost: str, percentile: float, counts: list[int]
) -> list[Judged]:
    """Return one seed's replay; the run that its search sees goes round with the seed."""
    table = read_table(path, metric, cost, percentile, observed_run=seed)
    runs = np.load(path)[metric] if path.suffix == ".npz" else np.empty((0, 1))
    error = 0.0
    if runs.ndim == 2 and runs.shape[1] > 2:
        feasible = np.load(path)[cost] <= table.limit
        between = float(np.sqrt(runs[feasible].var(axis=1, ddof=1).mean()))
        error = between / float(np.sqrt(runs.shape[1] - 1))
    return list(replay(table, seed, counts, error))


def _log(name: str, entry: dict[str, Any]) -> None:
    for count, figures in entry.items():
        rivals = " ".join(
            f"{rival} {figures[f'over_{rival}']['mean']:+.3f} "
            f"(p {figures[f'over_{rival}']['p']:.3f})"
            for rival in ("best_observed", "largest", "best_baseline", "optimum")
        )
        print(
            f"{name} at {count}: recommended {figures['recommended']['mean']:.3f}, over {rivals}; "
            f"{figures['verdicts']}",
            file=sys.stderr,
            flush=True,
        )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recommendation",
        description="Replay tables of finished trainings; judge what is recommended.",
    )
    parser.add_argument("--table", type=Path, action="append", default=[], help="a further .npz")
    parser.add_argument("--metric", default="accuracy", help="array [n, runs]")
    parser.add_argument("--cost", default="flops", help="array [n]")
    parser.add_argument("--percentiles", type=float, nargs="+", default=list(PERCENTILES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=COUNTS[-1])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
