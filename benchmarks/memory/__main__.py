"""The command: a Markdown table to standard output, and all figures as JSON."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from widthwise.objectives.cost.costs import count_costs
from widthwise.objectives.cost.measure import measure_step

from .architectures import ARCHITECTURES

MEMORIES = ("train_memory", "inference_memory")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _options(arguments)
    torch.set_num_threads(1)
    threadpool_limits(1)
    rows = list(measure_all(options.only))
    print(_table(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def measure_all(word: str = "") -> Iterator[dict[str, Any]]:
    """Yield for each architecture what was predicted and what the allocator held, in bytes."""
    for name, architecture in ARCHITECTURES.items():
        if word.lower() not in name.lower():
            continue
        print(f"progress: {name}", file=sys.stderr, flush=True)
        costs = count_costs(architecture.build, architecture.step)
        measured = measure_step(architecture.build, architecture.step, torch.device("cpu"))
        row: dict[str, Any] = {"architecture": name}
        for memory in MEMORIES:
            row[memory] = {
                "predicted": getattr(costs, memory),
                "allocator": getattr(measured, memory),
                "allocator without scratch": getattr(measured, f"{memory}_without_scratch"),
            }
        yield row


def _table(rows: list[dict[str, Any]]) -> str:
    head = ["architecture"]
    for title in ("training", "inference"):
        head += [f"{title}: predicted", "allocator", "error", "scratch"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in rows:
        cells = [row["architecture"]]
        for memory in MEMORIES:
            figures = row[memory]
            predicted, held = figures["predicted"], figures["allocator"]
            scratch = held - figures["allocator without scratch"]
            cells += [f"{predicted:,}", f"{held:,}", _percent(predicted, held)]
            cells.append(f"{scratch:,}" if scratch else "0")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _percent(predicted: int, held: int) -> str:
    """Return the signed error in percent, to two digits after the point."""
    error = 100 * (predicted - held) / held
    return "0" if predicted == held else f"{error:+.2f} %"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory",
        description="Predicted memory beside what torch's allocator really held.",
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--only", default="", help="architectures whose name has this in it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
