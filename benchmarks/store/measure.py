"""Rates of several processes that record trials at once, and the first claim of a cold one."""

import multiprocessing
import statistics
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
print(time.process_time(), flush=True)
"""

CLAIMS = 50
"""How many claims the median is of."""


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


def cold(url: str, side: str) -> tuple[float, float]:
    """A new process until it has its first trial's widths: seconds, and CPU-seconds.

    Imports are included. Optuna proposes with its default sampler; of Widthwise it is the claim and
    the reading of what the proposal is made from.
    """
    sampler = ", sampler=__import__('optuna').samplers.TPESampler()" if side == "stock" else ""
    module = SIDES[side][0].__name__.rpartition(".")[2]
    script = COLD.format(side=module, url=url, sampler=sampler)
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True
    )
    answer, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{side}: the cold process ended with code {process.returncode}")
    return time.perf_counter() - started, float(answer)


def claim_ms(url: str, side: str) -> float:
    """Median milliseconds of taking one trial, nothing proposed for it, by a worker at work."""
    recorder = SIDES[side][0].Recorder(url, batch=1)
    took = []
    for _ in range(CLAIMS):
        recorder.step()  # with it a worker has seen what is new, as it has before each claim
        started = time.perf_counter()
        recorder.take()
        took.append(1e3 * (time.perf_counter() - started))
    recorder.close()
    return statistics.median(took)


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
