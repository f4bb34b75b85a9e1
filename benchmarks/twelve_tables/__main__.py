"""The command: search each table by default options, and set its network against other models.

Each search is the command line's own, `widthwise run --data FILE --target COLUMN --trials 8`, in a
process of its own. A table in Markdown to standard output, all figures as JSON.

Of twelve tables one has p < .05 by chance in every other run. So a network counts as significantly
worse by Holm's step-down procedure over all tables (Holm, "A simple sequentially rejective multiple
test procedure", Scandinavian Journal of Statistics 6, 1979); the p of the table is each one's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from .measure import measure
from .tables import TABLES

SIGNIFICANT = 0.05


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns 0 where no network is significantly worse than a linear model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.twelve_tables", description=__doc__)
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--packages", type=Path, help="where pip put the packages (--target)")
    parser.add_argument("--splits", type=int, default=5, help="splits of each table")
    parser.add_argument("--jobs", type=int, default=1, help="tables at a time")
    parser.add_argument("--confirm", action="store_true", help="let each run confirm its answer")
    parser.add_argument(
        "--widths", help="such as 64,64: train these instead of what a search recommends"
    )
    parser.add_argument("--tables", help="names, separated by commas; all if left out")
    options = parser.parse_args(arguments)
    names = options.tables.split(",") if options.tables else [table.name for table in TABLES]
    jobs = [
        (table.name, options.packages, options.splits, options.confirm, options.widths)
        for table in TABLES
        if table.name in names
    ]
    print(
        "| table, rows | widths | network | linear | trees | network − linear | p "
        "| the report names |\n|---|---|---|---|---|---|---|---|"
    )
    figures: dict[str, Any] = {}
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for (name, *_), found in zip(jobs, pool.map(measure, jobs), strict=True):
            figures[name] = found
            print(_row(name, found), flush=True)
            if options.json is not None:
                options.json.write_text(json.dumps(figures, indent=1) + "\n")
    worse = significantly_worse(
        {name: found["against"]["linear"] for name, found in figures.items()}
    )
    print(f"\nsignificantly worse than the linear model: {', '.join(worse) or 'none'}")
    return int(bool(worse) or not figures)


def significantly_worse(differences: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the tables whose network is worse, by Holm's procedure over all of them.

    Args:
        differences: Table to "mean" of network − linear model, and its two-sided "p".
    """
    by_p = sorted(differences, key=lambda name: differences[name]["p"])
    rejected = []
    for index, name in enumerate(by_p):
        if differences[name]["p"] >= SIGNIFICANT / (len(by_p) - index):
            break
        rejected.append(name)
    return [name for name in differences if name in rejected and differences[name]["mean"] < 0]


def _row(name: str, found: dict[str, Any]) -> str:
    test, linear = found["test"], found["against"]["linear"]
    cells = [
        f"{name}, {found['rows']:,}",
        "–".join(str(width) for width in found["widths"].values()),
        *(f"{test[name]:.3f}" for name in ("network", "linear", "trees")),
        f"{linear['mean']:+.3f} ± {linear['error']:.3f}",
        f"{linear['p']:.2f}",
        str((found["report"].get("better_model") or {}).get("name", "—")),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
