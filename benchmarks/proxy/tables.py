"""The figures as Markdown.

Entry points: `speed_table`, `search_table`, `honesty_table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median
from typing import Any

Rows = Sequence[dict[str, Any]]


def speed_table(rows: Rows) -> str:
    """Return a line for each engine and workload."""
    table_rows = []
    for row in rows:
        cells = [row["family"], row["widths"], str(row["batch_size"])]
        cells += [str(row["candidates"]), row["engine"]]
        if "refused" in row:
            table_rows.append([*cells, f"does not serve: {row['refused']}", "", "", "", ""])
            continue
        cells[-1] += _note(row)
        table_rows.append(
            [
                *cells,
                f"{row['ratio_to_plain']:.2f}",
                f"{row['candidates'] / row['seconds']:.3g}",
                f"{row['warm_up']:.1f}",
                *(
                    ["yes" if row["equal"] else "NO", f"{row['max_error']:.1g}"]
                    if "equal" in row
                    else ["", ""]
                ),
            ]
        )
    head = ["family", "widths", "batch", "candidates", "engine", "ratio to plain", "trials/s"]
    head += ["warm-up, s", "equal", "largest difference"]
    return "Trials per CPU-second (on a GPU: per second):\n\n" + _table(head, table_rows, 5)


def search_table(rows: Rows) -> str:
    """Return a line for each way, over all draws; a table for each space."""
    parts = []
    for widths, candidates in dict.fromkeys((row["widths"], row["candidates"]) for row in rows):
        space_rows = [row for row in rows if row["widths"] == widths]
        table_rows = [
            _method_cells(method, [row for row in space_rows if row["way"] == method])
            for method in dict.fromkeys(row["way"] for row in space_rows)
        ]
        head = ["way", "CPU-s", "times cheaper than Hyperband", "true winner", "mean regret"]
        parts.append(f"The best of {candidates} MLPs, {widths}:\n\n" + _table(head, table_rows, 1))
    return "\n\n".join(parts)


def _method_cells(method: str, rows: Rows) -> list[str]:
    """Return a line: costs from the draws that Hyperband had too, winners from all draws."""
    compared_rows = [row for row in rows if row["cheaper"] is not None]
    return [
        method,
        f"{median(row['cpu_seconds'] for row in compared_rows):.2f}",
        f"{median(row['cheaper'] for row in compared_rows):.1f}",
        f"{sum(row['same_winner'] for row in rows)} of {len(rows)}",
        f"{mean(row['regret'] for row in rows):.4f}",
    ]


def honesty_table(rows: Rows) -> str:
    """Return a line for each proxy, a table for each pool and parametrisation."""
    parts = []
    for pool, parametrisation in dict.fromkeys(
        (row["pool"], row["parametrisation"]) for row in rows
    ):
        pool_rows = [
            row for row in rows if (row["pool"], row["parametrisation"]) == (pool, parametrisation)
        ]
        table_rows = [
            [
                row["proxy"],
                str(row.get("replicas", "")),
                f"{row['epochs']:.1f}",
                f"{row['tau']:.2f}" + _error(row["standard_error"]),
                f"{row['regret']:.4f}",
            ]
            for row in pool_rows
        ]
        head = ["ranked by", "replicas", "epochs a candidate", "tau", "regret of its first choice"]
        parts.append(f"{pool}, {parametrisation}:\n\n" + _table(head, table_rows, 1))
    return "\n\n".join(parts)


def _note(row: dict[str, Any]) -> str:
    if "chosen" in row:
        return f": {row['chosen']}"
    stacks = f", stacks of {', '.join(map(str, sorted(row['stacks'])))}" if "stacks" in row else ""
    return stacks + (f", GPU {row['utilisation']:.0f} % busy" if "utilisation" in row else "")


def _error(error: float | None) -> str:
    return "" if error is None else f" ± {error:.2f}"


def _table(head: list[str], rows: list[list[str]], text_columns: int) -> str:
    """Return a table whose first columns hold words and whose others numbers."""
    rule = [*["---"] * text_columns, *["---:"] * (len(head) - text_columns)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])
