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

START_TIMEOUT_SECONDS = 1_200.0
"""How long all processes together may take to begin: a cold Optuna reads the whole study first."""

FREE_SLOTS = 30_000
"""Slots that nobody reaches the end of."""

COLD_START_SCRIPT = """
import sys, time
from benchmarks.store import {side}
recorder = {side}.Recorder({url!r}, batch=1{sampler})
imported = time.process_time()
recorder.claim()
print(time.process_time(), flush=True)
"""

CLAIM_COUNT = 50
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
    module.prepare(url, present, FREE_SLOTS)
    context = multiprocessing.get_context("spawn")
    max_workers = max(workers)
    barrier, result_queue = context.Barrier(max_workers + 1), context.Queue()
    arguments = (url, side, batch, context.Lock(), barrier, result_queue, tuple(workers), seconds)
    processes = [
        context.Process(target=_run_worker, args=(i, *arguments), daemon=True)
        for i in range(max_workers)
    ]
    for process in processes:
        process.start()
    for number in workers:
        barrier.wait(START_TIMEOUT_SECONDS)
        counts = [result_queue.get(timeout=START_TIMEOUT_SECONDS) for _ in range(number)]
        yield {
            "side": side,
            "present": present,
            "workers": number,
            "per_second": sum(trials / elapsed for trials, elapsed, _ in counts),
            "cpu_ms": 1e3
            * sum(cpu for _, _, cpu in counts)
            / sum(trials for trials, _, _ in counts),
        }
    for process in processes:
        process.join(START_TIMEOUT_SECONDS)


def measure_cold_start(url: str, side: str) -> tuple[float, float]:
    """Return seconds and CPU-seconds of a new process until it has its first trial's widths.

    Imports are included. Optuna proposes with its default sampler; of Widthwise it is the claim and
    the reading of what the proposal is made from.
    """
    sampler = ", sampler=__import__('optuna').samplers.TPESampler()" if side == "stock" else ""
    module = SIDES[side][0].__name__.rpartition(".")[2]
    script = COLD_START_SCRIPT.format(side=module, url=url, sampler=sampler)
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True
    )
    cpu_text, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{side}: the cold process ended with code {process.returncode}")
    return time.perf_counter() - started, float(cpu_text)


def claim_ms(url: str, side: str) -> float:
    """Median milliseconds of taking one trial, nothing proposed for it, by a worker at work."""
    recorder = SIDES[side][0].Recorder(url, batch=1)
    milliseconds = []
    for _ in range(CLAIM_COUNT):
        recorder.step()  # with it a worker has seen what is new, as it has before each claim
        started = time.perf_counter()
        recorder.take()
        milliseconds.append(1e3 * (time.perf_counter() - started))
    recorder.close()
    return statistics.median(milliseconds)


def _run_worker(
    index: int,
    url: str,
    side: str,
    batch: int,
    start_lock: Any,
    barrier: Any,
    result_queue: Any,
    workers: Sequence[int],
    seconds: float,
) -> None:
    recorder = SIDES[side][0].Recorder(url, batch=batch)
    with start_lock:
        recorder.step()  # compiled statements and open connections are a worker's usual state
    for number in workers:
        barrier.wait(START_TIMEOUT_SECONDS)
        if index < number:
            result_queue.put(_count_trials(recorder, seconds))
    recorder.close()


def _count_trials(recorder: Any, seconds: float) -> tuple[int, float, float]:
    """Trials, wall-clock seconds and CPU-seconds of one worker."""
    trials, started, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        trials += recorder.step()
    return trials, time.perf_counter() - started, time.process_time() - cpu
