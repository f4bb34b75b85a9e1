"""The engines with many candidates at once, with and without CUDA graphs, and the plain loop.

Entry points: `ENGINES_MEASURED`, `measure_engines`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from widthwise.objectives.engines.registry import ENGINES, PLAIN_ENGINE, EngineDescriptor
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.errors import ObjectiveError

from benchmarks.proxy import speed
from benchmarks.proxy.workloads import workloads

WITHOUT_GRAPHS = "stacked, no graphs"

ENGINES_MEASURED: Mapping[str, EngineDescriptor] = {
    **ENGINES,
    WITHOUT_GRAPHS: EngineDescriptor(
        name=WITHOUT_GRAPHS,
        create=lambda: StackedEngine(capture=lambda _device: None),
        takes_stack=True,
        tolerance=ENGINES["stacked"].tolerance,
    ),
}
"""All engines, and the stacked one that starts each operation by itself."""

FULL = speed.Plan(
    candidates=256,
    heavy=256,
    rows=512,
    epochs=2,
    rounds=1,
    compared_candidates=4,
    batch_sizes=(32,),
)
TINY = speed.Plan(
    candidates=3, heavy=2, rows=96, epochs=1, rounds=1, compared_candidates=2, batch_sizes=(32,)
)

MEASURED_WORKLOADS = (("mlp", "8-256 log-uniform"), ("cnn", ""), ("transformer", ""))
"""Families, and the beginning of their widths; the shortest first."""


def measure_engines(
    device: torch.device, plan: speed.Plan, seconds_left: Callable[[], float]
) -> Iterator[dict[str, Any]]:
    """Yield a row for each workload and engine.

    A row has `error` where a workload did not run, `skipped` where the time was over.

    Args:
        device: Where to train.
        plan: How much is measured.
        seconds_left: Returns the seconds that are left; asked before each workload.
    """
    names = [
        name
        for name, engine in ENGINES_MEASURED.items()
        if name != PLAIN_ENGINE.name and (device.type == "cpu" or not engine.cpu_only)
    ]
    if device.type == "cpu":
        # Its compiler is no matter of a GPU, and takes its time.
        names = [name for name in names if not ENGINES_MEASURED[name].needs_compiling]
    every = workloads(plan.rows)
    for family, widths in MEASURED_WORKLOADS:
        [workload] = [
            item for item in every if item.family == family and item.widths.startswith(widths)
        ][:1]
        if seconds_left() <= 0:
            yield {"family": family, "widths": workload.widths, "skipped": "the time was over"}
            continue
        for batch_size in plan.batch_sizes:
            try:
                yield from speed.measure(
                    workload, plan, names, device, batch_size, engines=ENGINES_MEASURED
                )
            except (ObjectiveError, torch.OutOfMemoryError) as error:
                yield {"family": family, "widths": workload.widths, "error": str(error)}
