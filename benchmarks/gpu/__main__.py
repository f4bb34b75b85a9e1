"""The command: measure on one GPU, print Markdown tables, write JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from widthwise.objectives.errors import ModelError
from widthwise.objectives.training.settings import resolve_device

from . import engines
from .memory import measure_architectures

SECONDS = 540.0
"""After so long no further network or family is begun; meant for ten minutes in all."""

Rows = list[dict[str, Any]]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code: 2 where there is no such device."""
    options = _options(arguments)
    started = time.monotonic()
    try:
        device = resolve_device(options.device)
    except ModelError as error:
        print(
            f"error: {error} Nothing was measured; `--device cpu` runs the same parts on a CPU, "
            "with tiny sizes.",
            file=sys.stderr,
        )
        return error.exit_code
    tiny = device.type != "cuda"

    def seconds_left() -> float:
        return options.seconds - (time.monotonic() - started)

    report: dict[str, Any] = {
        "device": _describe(device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "memory": [],
    }
    for row in measure_architectures(device, seconds_left, tiny=tiny):
        _record(options.json, report, "memory", row, "architecture")
    print(memory_table(report["memory"]), end="\n\n")
    plan = engines.TINY if tiny else engines.FULL
    report["engines"] = []
    for row in engines.measure_engines(device, plan, seconds_left):
        _record(options.json, report, "engines", row, "family", "engine")
    report["seconds"] = time.monotonic() - started
    _write(options.json, report)
    print(engines_table(report["engines"]))
    return 0


def _describe(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}"


def memory_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a line for each architecture."""
    lines = []
    for row in rows:
        cells = [row["architecture"], str(row["batch_size"])]
        if "skipped" in row:
            lines.append([*cells, "", f"not measured: {row['skipped']}", ""])
            continue
        cells.append(f"{row['predicted']:,}" if "predicted" in row else "")
        if "error" in row:
            cells += [f"did not run: {row['error']}", ""]
        else:
            cells += [f"{row['measured']:,}", f"{row['predicted_over_measured']:.3f}"]
        lines.append(cells)
    head = ["architecture", "batch", "predicted, bytes", "measured, bytes", "predicted / measured"]
    return _table(head, lines, 1)


def engines_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a line for each workload and engine."""
    lines = []
    for row in rows:
        cells = [row["family"], row["widths"]]
        if "skipped" in row:
            lines.append([*cells, "", f"not measured: {row['skipped']}", "", "", ""])
            continue
        if "error" in row:
            lines.append([*cells, "", f"did not run: {row['error']}", "", "", ""])
            continue
        cells += [str(row["candidates"]), row["engine"]]
        if "refused" in row:
            lines.append([*cells, f"does not serve: {row['refused']}", "", ""])
            continue
        busy = row.get("utilisation")
        lines.append(
            [
                *cells,
                f"{row['ratio_to_plain']:.2f}",
                f"{row['candidates'] / row['seconds']:.3g}",
                "—" if busy is None else f"{busy:.0f} %",
            ]
        )
    head = ["family", "widths", "candidates", "engine", "ratio to plain", "trials/s", "GPU busy"]
    return _table(head, lines, 4)


def _table(head: list[str], lines: Sequence[list[str]], texts: int) -> str:
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *lines])


def _record(
    path: Path | None, report: dict[str, Any], part: str, row: dict[str, Any], *keys: str
) -> None:
    """Add a row to a part of the report, and write what there is."""
    labels = ", ".join(str(row[key]) for key in keys if key in row)
    print(f"progress: {labels}", file=sys.stderr, flush=True)
    report[part].append(row)
    _write(path, report)


def _write(path: Path | None, report: dict[str, Any]) -> None:
    """Write what there is: a run that is cut short has left its first rows."""
    if path is not None:
        path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description="Predicted memory, engines and utilisation on one GPU.",
        epilog="Exit code 2: there is no GPU here.",
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu for tiny sizes")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="after which no further network or family is begun",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
