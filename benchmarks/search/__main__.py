"""The command: replay a table with several samplers and seeds, print a summary, write JSON."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna

from .figures import checkpoints, evaluate_replay, summarise
from .replay import SAMPLERS, run_replay
from .table import Table, TableError, read_table


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _options(arguments)
    names = [name.strip() for name in options.samplers.split(",") if name.strip()]
    if unknown := [name for name in names if name not in SAMPLERS]:
        print(f"error: no sampler {unknown[0]!r}; there are {', '.join(SAMPLERS)}", file=sys.stderr)
        return 2
    try:
        table = read_table(options.table, options.metric, options.cost, options.percentile)
    except (TableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    counts = checkpoints(options.trials)
    work = partial(run, table=table, trials=options.trials, batch=options.batch)
    results: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        jobs = [(name, seed) for seed in range(options.seeds)]
        if options.processes > 1:
            context = get_context("spawn")
            with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
                results[name] = list(pool.map(work, jobs))
        else:
            results[name] = [work(job) for job in jobs]
        _log_summary(name, results, counts)
    if options.json is not None:
        options.json.write_text(json.dumps(summarise(results, counts), indent=1) + "\n")
    return 0


def run(job: tuple[str, int], *, table: Table, trials: int, batch: int) -> dict[str, Any]:
    """Return one sampler's figures with one seed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name, seed = job
    return evaluate_replay(table, run_replay(table, name, seed, trials, batch), checkpoints(trials))


def _log_summary(name: str, results: dict[str, list[dict[str, Any]]], counts: list[int]) -> None:
    entry = summarise(results, counts)[name]
    cells = " ".join(
        f"{count}: {entry['regret'][str(count)]:.3f}/{entry['recommended_unseen'][str(count)]:.3f}"
        for count in counts
    )
    print(
        f"{name:20s} regret/recommended unseen at {cells}; infeasible "
        f"{entry['infeasible_share']:.0%}, duplicates {entry['duplicate_share']:.0%}, "
        f"{entry['seconds_per_proposal']:.3f} CPU-s a proposal",
        file=sys.stderr,
        flush=True,
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description="Replay a table of finished trainings through samplers.",
    )
    parser.add_argument("--table", type=Path, required=True, help=".npz or .csv")
    parser.add_argument("--metric", default="accuracy", help="array [n] or [n, runs]")
    parser.add_argument("--cost", default="flops", help="array [n]")
    parser.add_argument("--percentile", type=float, default=25.0, help="of the cost: the limit")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--samplers", default="widthwise,tpe-constrained,random")
    parser.add_argument("--batch", type=int, default=1, help="proposals at once (widthwise)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
