"""The command: rates as Markdown to standard output, and all figures as JSON."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .measure import SIDES, claim_ms, measure_cold_start, rates
from .servers import database_engines


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _options(arguments)
    sizes = (100,) if options.quick else (100, 1_000, 10_000)
    workers = (1, 2) if options.quick else (1, 4, 8)
    seconds = 0.5 if options.quick else 3.0
    rate_rows: list[dict[str, Any]] = []
    first_claim_rows: list[dict[str, Any]] = []
    claim_rows: list[dict[str, Any]] = []
    with database_engines(postgresql=not options.sqlite_only) as url_factories:
        for engine, make_url in url_factories.items():
            for present in sizes:
                for side in SIDES:
                    url = make_url()
                    for row in rates(url, side, present, workers, seconds):
                        rate_rows.append({"engine": engine, **row})
                        _log_rate(f"{engine}, {present} trials, {side}", row)
                    row_key = {"engine": engine, "side": side, "present": present}
                    if present == max(sizes):
                        wall_seconds, cpu_seconds = measure_cold_start(url, side)
                        first_claim_rows.append(
                            {**row_key, "seconds": wall_seconds, "cpu_seconds": cpu_seconds}
                        )
                    if SIDES[side][1] == 1:
                        claim_rows.append({**row_key, "claim_ms": claim_ms(url, side)})
    _add_ratios(rate_rows)
    print(
        _rates_table(rate_rows),
        _claims_table(claim_rows),
        _first_claim_table(first_claim_rows),
        sep="\n\n",
    )
    if options.json is not None:
        figures = {"rates": rate_rows, "claims": claim_rows, "first_claim": first_claim_rows}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def _log_rate(label: str, row: dict[str, Any]) -> None:
    rate = f"{row['workers']} workers, {row['per_second']:.3g} trials/s"
    print(f"progress: {label}, {rate}", file=sys.stderr, flush=True)


def _add_ratios(rate_rows: list[dict[str, Any]]) -> None:
    """How many times stock Optuna's rate each one is, under the same circumstances."""
    key_columns = ("engine", "present", "workers")
    stock_rows = {
        tuple(row[key] for key in key_columns): row for row in rate_rows if row["side"] == "stock"
    }
    for row in rate_rows:
        row["ratio"] = (
            row["per_second"] / stock_rows[tuple(row[key] for key in key_columns)]["per_second"]
        )


def _rates_table(rate_rows: list[dict[str, Any]]) -> str:
    head = ["engine", "trials there", "workers", "recorded", "trials/s", "CPU-ms a trial", "ratio"]
    rows = [
        [
            row["engine"],
            f"{row['present']:,}",
            str(row["workers"]),
            row["side"],
            f"{row['per_second']:.3g}",
            f"{row['cpu_ms']:.3g}",
            f"{row['ratio']:.2g}",
        ]
        for row in sorted(
            rate_rows, key=lambda row: (row["engine"], row["present"], row["workers"])
        )
    ]
    return "Trials recorded a second:\n\n" + _table(head, rows)


def _claims_table(claim_rows: list[dict[str, Any]]) -> str:
    head = ["engine", "trials there", "side", "milliseconds"]
    rows = [
        [row["engine"], f"{row['present']:,}", row["side"], f"{row['claim_ms']:.3g}"]
        for row in sorted(claim_rows, key=lambda row: (row["engine"], row["side"], row["present"]))
    ]
    return "A claim, of a worker at work (median):\n\n" + _table(head, rows)


def _first_claim_table(first_claim_rows: list[dict[str, Any]]) -> str:
    head = ["engine", "trials there", "side", "seconds", "CPU-seconds"]
    rows = [
        [
            row["engine"],
            f"{row['present']:,}",
            row["side"],
            f"{row['seconds']:.3g}",
            f"{row['cpu_seconds']:.3g}",
        ]
        for row in first_claim_rows
    ]
    return "A cold worker's first trial:\n\n" + _table(head, rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.store",
        description="How fast trials are recorded, beside stock Optuna.",
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="a small study and short runs")
    parser.add_argument("--sqlite-only", action="store_true", help="start no PostgreSQL")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
