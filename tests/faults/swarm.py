"""A swarm of forked workers, and what is done to them: killed, stopped, or crashed at a step.

    python -m widthwise.tests.faults.swarm URL STUDY WITNESS --workers 8 --kills 50

This process holds no database connection. How far the harm is done paces the study: it counts that
itself, or reads it in percent, a line each, from standard input. Once every worker has ended it
prints the exit codes of those that nobody killed; it fails at once if one ends before its time.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from widthwise.storage.database.database import Database, resolve_url

from .board import UNWATCHED_WORKER, Activity, StatusBoard
from .crash_points import CrashAtCommit, CrashPoint, crash_points
from .sleeping_worker import WorkerSetup, run_worker


def main() -> None:
    options = read_options()
    preload_imports()
    if options.checkpoints:
        import torch

        torch.set_num_threads(1)  # none of its threads would be there after a fork
    setup = WorkerSetup(
        url=options.url,
        study=options.study,
        lease_seconds=options.lease,
        mean_training_seconds=options.training_seconds,
        acknowledgement_log=options.witness,
        checkpoints=options.checkpoints,
        status_board=StatusBoard(options.budget, 2 * options.workers),
    )
    if options.step:
        crash_at_step(setup, options.step, options.kills, options.workers)
    pids = {
        worker_index: fork_worker(setup, worker_index)
        for worker_index in range(1, options.workers + 1)
    }
    if options.kills and not options.step:
        kill_workers(setup, pids, options.kills)
    elif options.stops:
        suspend_workers(setup, pids, options.stops)
    elif not options.step:
        for line in sys.stdin:
            setup.status_board.set_progress(int(line))
    setup.status_board.set_progress(100)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids.values()]
    sys.stdout.write(f"{codes}\n")


def preload_imports() -> None:
    """Import what opening a database imports late: once, instead of in every fork."""
    import psycopg  # noqa: F401

    with (
        TemporaryDirectory() as folder,
        Database.open(resolve_url(f"sqlite:///{folder}/warm.db", {})) as database,
    ):
        database.optuna_storage()


def kill_workers(setup: WorkerSetup, pids: dict[int, int], kills: int) -> None:
    """Kill workers that are at work by chance, and put another one into each place."""
    for killed in range(1, kills + 1):
        time.sleep(random.uniform(0.0, 2.0 * setup.mean_training_seconds / len(pids)))
        wait_until_working(setup, pids)
        worker_index = choose_worker(
            pids, setup, random.choice((Activity.WORKING, Activity.HOLDING))
        )
        os.kill(pids[worker_index], signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(pids[worker_index], 0)[1]) != -signal.SIGKILL:
            sys.exit("a worker ended by itself before its time")
        setup.status_board.set_activity(worker_index, Activity.STARTING)
        pids[worker_index] = fork_worker(setup, worker_index)
        setup.status_board.set_progress(100 * killed // kills)


def suspend_workers(setup: WorkerSetup, pids: dict[int, int], suspensions: int) -> None:
    """Stop workers that hold a slot for longer than their leases last, and let them go on."""
    wake_times: dict[int, float] = {}
    for count in range(1, suspensions + 1):
        worker_index = choose_worker(pids.keys() - wake_times.keys(), setup, Activity.HOLDING)
        os.kill(pids[worker_index], signal.SIGSTOP)
        wake_times[worker_index] = time.monotonic() + setup.lease_seconds * random.uniform(1.5, 3.0)
        while len(wake_times) > len(pids) // 2 or (count == suspensions and wake_times):
            time.sleep(0.02)
            for worker_index in [
                index for index, wake_time in wake_times.items() if wake_time < time.monotonic()
            ]:
                os.kill(pids[worker_index], signal.SIGCONT)
                del wake_times[worker_index]
        setup.status_board.set_progress(100 * count // suspensions)


def wait_until_working(setup: WorkerSetup, pids: Collection[int]) -> None:
    """Wait for workers that start, so that on a busy machine not the same few slots are hit."""
    deadline = time.monotonic() + 10.0
    while any(setup.status_board.activity_of(index) < Activity.WORKING for index in pids):
        time.sleep(0.01)
        if time.monotonic() > deadline:
            return


def choose_worker(candidates: Collection[int], setup: WorkerSetup, activity: Activity) -> int:
    """Wait for workers that have come so far, a while if nobody may claim now; choose one."""
    deadline = time.monotonic() + 2.0
    while not (
        ready := [
            index for index in candidates if setup.status_board.activity_of(index) >= activity
        ]
    ):
        time.sleep(0.01)
        if time.monotonic() > deadline:
            activity = Activity.WORKING
    return random.choice(ready)


def crash_at_step(setup: WorkerSetup, step: str, kills: int, workers: int) -> None:
    """Let so many workers die at a step, some at a time."""
    setup.status_board.set_progress(100)
    crashes = crash_points(step, kills)
    alive: set[int] = set()
    if step == "reap":  # an ended lease is taken over only where somebody left one
        alive |= {
            fork_worker(setup, UNWATCHED_WORKER, partial(CrashAtCommit, "claim", "after"))
            for _ in range(workers)
        }
    while True:
        while len(alive) < workers and (crash := next(crashes, None)) is not None:
            alive.add(fork_worker(setup, UNWATCHED_WORKER, crash))
        if not alive:
            return
        pid, status = os.wait()
        alive.remove(pid)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(f"a worker never came to {step}")


def fork_worker(
    setup: WorkerSetup, worker_index: int, make_crash_point: Callable[[], CrashPoint] | None = None
) -> int:
    """Start a worker; its crash point is made in its process, whose code it changes."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        run_worker(setup, worker_index, make_crash_point and make_crash_point())
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("study")
    parser.add_argument("witness", type=Path)
    parser.add_argument("--budget", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--stops", type=int, default=0)
    parser.add_argument("--step", default="")
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--lease", type=float, default=0.5)
    parser.add_argument("--training-seconds", type=float, default=0.1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
