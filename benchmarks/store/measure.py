"""Rates of several processes that record trials at once, and the first claim of a cold one."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from . import ours, stock

SIDES: dict[str, tuple[ModuleType, int]] = {
    "stock": (stock, 1),
    "one at a time": (ours, 1),
    "in batches of 32": (ours, 32),
}
"""Name to who records, and how many trials at once."""

START_SECONDS = 1_200.0
"""How long all processes together may take to begin: a cold Optuna reads the whole study first."""

FREE = 30_000
"""Slots that nobody reaches the end of."""

COLD = """
import sys, time
from benchmarks.store import {side}
recorder = {side}.Recorder({url!r}, batch=1{sampler})
imported = time.process_time()
recorder.claim()
print(time.process_time())
"""


def rates(
    url: str, side: str, present: int, workers: Sequence[int], seconds: float
) -> Iterator[dict[str, Any]]:
    """Trials recorded a second in a study of `present` trials, for each number of workers.

    Args:
        url: A fresh database.
        side: A key of `SIDES`.
        present: Trials that are done when it begins.
        workers: How many processes record at once, ascending.
        seconds: How long each rate is measured.
    """
    module, batch = SIDES[side]
    module.prepare(url, present, FREE)
    context = multiprocessing.get_context("spawn")
    most = max(workers)
    barrier, counted = context.Barrier(most + 1), context.Queue()
    arguments = (url, side, batch, context.Lock(), barrier, counted, tuple(workers), seconds)
    processes = [
        context.Process(target=_work, args=(i, *arguments), daemon=True) for i in range(most)
    ]
    for process in processes:
        process.start()
    for number in workers:
        barrier.wait(START_SECONDS)
        found = [counted.get(timeout=START_SECONDS) for _ in range(number)]
        yield {
            "side": side,
            "present": present,
            "workers": number,
            "per_second": sum(trials / elapsed for trials, elapsed, _ in found),
            "cpu_ms": 1e3 * sum(cpu for _, _, cpu in found) / sum(trials for trials, _, _ in found),
        }
    for process in processes:
        process.join(START_SECONDS)


def cold(url: str, side: str) -> float:
    """CPU-seconds of a new process, imports included, until it has its first trial's widths.

    Optuna proposes with its default sampler; of Widthwise it is the claim and the reading of what
    the proposal is made from.
    """
    sampler = ", sampler=__import__('optuna').samplers.TPESampler()" if side == "stock" else ""
    module = SIDES[side][0].__name__.rpartition(".")[2]
    script = COLD.format(side=module, url=url, sampler=sampler)
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return float(answer.stdout)


def _work(
    index: int,
    url: str,
    side: str,
    batch: int,
    turn: Any,
    barrier: Any,
    counted: Any,
    workers: Sequence[int],
    seconds: float,
) -> None:
    recorder = SIDES[side][0].Recorder(url, batch=batch)
    with turn:
        recorder.step()  # compiled statements and open connections are a worker's usual state
    for number in workers:
        barrier.wait(START_SECONDS)
        if index < number:
            counted.put(_count(recorder, seconds))
    recorder.close()


def _count(recorder: Any, seconds: float) -> tuple[int, float, float]:
    """Trials, wall-clock seconds and CPU-seconds of one worker."""
    trials, started, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        trials += recorder.step()
    return trials, time.perf_counter() - started, time.process_time() - cpu
