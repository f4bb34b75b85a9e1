"""The command: train, print the table of best rates, write JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from .figures import summarise
from .sweep import FULL, PARAMETRISATIONS, QUICK, Plan, sweep

_TAU_TITLES = {
    "tau": "one training each, others judge",
    "tau_of_means": "means over the same seeds",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _options(arguments)
    torch.set_num_threads(1)
    plan = QUICK if options.quick else FULL
    plan = replace(plan, seeds=options.seeds or plan.seeds, base=options.base or plan.base)
    started = time.perf_counter()
    figures_by_parametrisation: dict[str, Any] = {
        parametrisation: summarise(sweep(plan, parametrisation), plan.widths, plan.rates)
        for parametrisation in PARAMETRISATIONS
    }
    print(_table(figures_by_parametrisation, plan))
    if options.json is not None:
        seconds = round(time.perf_counter() - started)
        text = json.dumps(
            {**figures_by_parametrisation, "plan": asdict(plan), "seconds": seconds}, indent=1
        )
        options.json.write_text(text + "\n")
    return 0


def _table(figures_by_parametrisation: dict[str, Any], plan: Plan) -> str:
    """Return the figures for people."""
    lines = ["log2 of the best learning rate"]
    lines.append("width      " + " ".join(f"{width:6d}" for width in plan.widths) + "   drift")
    for parametrisation, figures in figures_by_parametrisation.items():
        cells = " ".join(
            f"{optimum_log2:6.1f}" for optimum_log2 in figures["optimum_log2"].values()
        )
        lines.append(f"{parametrisation:10s} {cells}  {figures['drift_octaves']:5.1f} octaves")
    for key, title in _TAU_TITLES.items():
        lines += ["", f"Kendall's tau with the widths' true ranking: {title}"]
        lines.append("log2 rate  " + " ".join(f"{rate:6d}" for rate in plan.rates))
        for parametrisation, figures in figures_by_parametrisation.items():
            cells = " ".join(f"{tau:6.2f}" for tau in figures[key].values())
            ceiling_text = f"   ceiling {figures['tau_ceiling']:.2f}" if key == "tau" else ""
            lines.append(f"{parametrisation:10s} {cells}{ceiling_text}")
    return "\n".join(lines)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning_rate",
        description="Find the best learning rate at each width, with and without muP.",
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="fewer widths, rates, rows, seeds")
    parser.add_argument("--seeds", type=int, help="trainings of each, two or more")
    parser.add_argument("--base", type=int, help="muP's base width")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
