"""The command: error tables and speeds as Markdown to standard output, and all figures as JSON."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from .accuracy import counted_errors
from .speed import measure_speeds
from .tools import TOOLS


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _options(arguments)
    torch.set_num_threads(1)
    threadpool_limits(1)
    print("progress: counted figures", file=sys.stderr, flush=True)
    count_rows = list(_log_progress(counted_errors(options.quick), "network"))
    print("progress: speeds", file=sys.stderr, flush=True)
    speed_rows = list(_log_progress(measure_speeds(options.quick), "space"))
    print(_macs_table(count_rows), _parameters_table(count_rows), sep="\n\n", end="\n\n")
    print(_speeds_table(speed_rows))
    if options.json is not None:
        figures_by_part = {"counted": count_rows, "speed": speed_rows}
        options.json.write_text(json.dumps(figures_by_part, indent=1) + "\n")
    return 0


def _log_progress(rows: Iterable[dict[str, Any]], key: str) -> Iterable[dict[str, Any]]:
    for row in rows:
        print(f"progress:   {row[key]}", file=sys.stderr, flush=True)
        yield row


def _macs_table(figures: list[dict[str, Any]]) -> str:
    rows = []
    for row in figures:
        own_errors = row["errors"]["widthwise"]
        rows.append(
            [
                row["network"],
                f"{row['macs']:,}",
                f"{row['step_over_forward']:.3f}",
                _format_percent(own_errors["macs"]),
                _format_percent(own_errors["step"]),
                *(_format_answer(row["errors"][tool], "macs") for tool in TOOLS),
            ]
        )
    head = ["network", "MACs", "step / forward", "Widthwise", "Widthwise, step", *TOOLS]
    return "Forward MACs per sample, error:\n\n" + _table(head, rows)


def _parameters_table(figures: list[dict[str, Any]]) -> str:
    rows = [
        [
            row["network"],
            f"{row['parameters']:,}",
            _format_percent(row["errors"]["widthwise"]["parameters"]),
            *(_format_answer(row["errors"][tool], "parameters") for tool in TOOLS),
        ]
        for row in figures
    ]
    return "Parameters, error:\n\n" + _table(["network", "parameters", "Widthwise", *TOOLS], rows)


def _speeds_table(rates: list[dict[str, Any]]) -> str:
    rows = [
        [
            row["space"],
            str(row["widths"]),
            _format_short(row["candidates"]),
            str(row["traces_of_the_fit"]),
            f"{row['seconds_of_the_fit']:.1f}",
            f"{row['traced_per_second']:.3g}",
            _format_short(row["evaluated_per_second"]),
            _format_short(row["ratio"]),
            f"{row['exact']} of {row['compared']}",
        ]
        for row in rates
    ]
    head = [
        "space",
        "widths",
        "candidates",
        "traces to fit",
        "fit, s",
        "traced/s",
        "evaluated/s",
        "ratio",
    ]
    return "All costs of a candidate:\n\n" + _table([*head, "exact"], rows)


def _format_short(number: float) -> str:
    """Return a number to two digits."""
    return f"{float(f'{number:.2g}'):,.0f}"


def _format_percent(error: float | None) -> str:
    if error is None:
        return "none"
    return "0" if error == 0 else f"{error:+.2g} %" if abs(error) < 10 else f"{error:+.0f} %"


def _format_answer(errors: dict[str, Any], name: str) -> str:
    return errors["problem"] or _format_percent(errors[name])


def _table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cost",
        description="How exact and how fast costs are known, beside other counters.",
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="small networks and spaces only")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
