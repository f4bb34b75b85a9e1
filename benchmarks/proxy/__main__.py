"""The command: measure what is asked for, print Markdown tables, write JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch
from threadpoolctl import threadpool_limits
from widthwise.objectives.engines.registry import ENGINES, PLAIN_ENGINE
from widthwise.objectives.errors import ModelError
from widthwise.objectives.training.settings import resolve_device

from benchmarks.learning_rate.signals import signals

from . import honesty, search_cost, speed
from .tables import honesty_table, search_table, speed_table
from .workloads import VALIDATION_ROWS, log_uniform, mlp, uniform, workloads

JSON_KEYS = (
    "family",
    "widths",
    "batch_size",
    "candidates",
    "engine",
    "device",
    "ratio_to_plain",
    "equal",
    "max_error",
)
"""What a row of `--json` holds."""

GPU_CANDIDATES = 256

COMPARED_ENGINES = [name for name in ENGINES if name != PLAIN_ENGINE.name]

Rows = list[dict[str, Any]]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _options(arguments)
    try:
        device = resolve_device(options.device)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    names = [name.strip() for name in options.engines.split(",")]
    if unknown := [name for name in names if name not in COMPARED_ENGINES]:
        print(
            f"error: no engine {unknown[0]!r}; there are {', '.join(COMPARED_ENGINES)}",
            file=sys.stderr,
        )
        return 2
    torch.set_num_threads(1)
    threadpool_limits(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows_by_part: dict[str, Rows] = {}
    if options.json is not None or not (options.search_cost or options.honesty):
        rows_by_part["speed"] = _run_speed(options, names, device)
    if options.search_cost:
        rows_by_part["search_cost"] = _run_search_cost(options)
    if options.honesty:
        rows_by_part["honesty"] = _run_honesty(options)
    if options.json is not None:
        rows = [
            {key: row[key] for key in JSON_KEYS} for row in rows_by_part["speed"] if "equal" in row
        ]
        _write(options.json, rows)
    if options.search_json is not None:
        _write(options.search_json, rows_by_part)
    return 0


def _run_speed(options: argparse.Namespace, names: list[str], device: torch.device) -> Rows:
    plan = speed.QUICK if options.quick else speed.FULL
    candidate_count = options.candidates or (GPU_CANDIDATES if device.type == "cuda" else None)
    if candidate_count is not None:
        plan = replace(plan, candidates=candidate_count, heavy=candidate_count)
    if options.batch_size:
        plan = replace(plan, batch_sizes=tuple(options.batch_size))
    rows = [
        row
        for workload in workloads(plan.rows)
        for batch_size in plan.batch_sizes
        for row in _log_progress(
            speed.measure(workload, plan, names, device, batch_size),
            *("family", "widths", "batch_size", "engine"),
        )
    ]
    print(speed_table(rows), end="\n\n")
    if device.type == "cpu":
        has_cuda = torch.cuda.is_available()
        print(
            "GPU rows were not measured: "
            + ("ask for them by --device cuda.\n" if has_cuda else "there is no GPU here.\n")
        )
    return rows


def _run_search_cost(options: argparse.Namespace) -> Rows:
    plan = search_cost.QUICK if options.quick else search_cost.FULL
    if options.batch_size:
        plan = replace(plan, batch_size=options.batch_size[0])
    data = signals(speed.QUICK.rows if options.quick else speed.FULL.rows, VALIDATION_ROWS, seed=0)
    spaces = [
        mlp("8-256 log-uniform", log_uniform(8, 256), data),
        mlp("8-64 uniform", uniform(8, 64), data),
    ]
    engine = ENGINES[options.engine].create()
    rows = [
        row
        for space in spaces
        for row in _log_progress(
            search_cost.measure_draws(space, plan, engine), "widths", "draw", "way"
        )
    ]
    print(search_table(rows), end="\n\n")
    return rows


def _run_honesty(options: argparse.Namespace) -> Rows:
    plan = honesty.QUICK if options.quick else honesty.FULL
    engine = ENGINES[options.engine].create()
    figures = honesty.measure_rank_fidelity(plan, options.parametrisation, engine)
    rows = list(_log_progress(figures, "pool", "proxy"))
    print(honesty_table(rows), end="\n\n")
    return rows


def _log_progress(rows: Iterable[dict[str, Any]], *keys: str) -> Iterable[dict[str, Any]]:
    for row in rows:
        labels = ", ".join(str(row[key]) for key in keys)
        print(f"progress: {labels}", file=sys.stderr, flush=True)
        yield row


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.proxy",
        description="How fast proxies are trained, what a search costs, how honest proxies are.",
    )
    parser.add_argument("--json", type=Path, help="where to write the engines' speeds")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--engines", default=",".join(COMPARED_ENGINES), help="whose speed is measured"
    )
    parser.add_argument("--candidates", type=int, help="trained together")
    parser.add_argument(
        "--batch-size", type=int, action="append", help="rows in a step; may be repeated"
    )
    parser.add_argument("--search-cost", action="store_true", help="halving against Hyperband")
    parser.add_argument("--honesty", action="store_true", help="proxies against long trainings")
    parser.add_argument(
        "--engine", default="dense", choices=ENGINES, help="of --search-cost and --honesty"
    )
    parser.add_argument(
        "--parametrisation", default="mup", choices=("mup", "standard"), help="of --honesty"
    )
    parser.add_argument("--search-json", type=Path, help="where to write all figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
