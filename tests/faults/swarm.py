"""A crew of workers, forked, with what is done to them: killed, stopped, or blown up at a step.

    python -m widthwise.tests.faults.swarm URL STUDY WITNESS --workers 8 --kills 50

This process holds no database connection. How far the harm is done paces the study: it counts that
itself, or is told in percent, a line each, on standard input. Once every worker has ended it prints
the exit codes of those that nobody killed; it ends at once, and badly, if one ends before its time.
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

from .board import NO_SEAT, Activity, Board
from .crew import Crew, work
from .fuses import Fuse, Lit, burning


def main() -> None:
    options = read_options()
    warm_up()
    if options.checkpoints:
        import torch

        torch.set_num_threads(1)  # none of its threads would be there after a fork
    crew = Crew(
        url=options.url,
        study=options.study,
        lease=options.lease,
        nap=options.nap,
        witness=options.witness,
        checkpoints=options.checkpoints,
        board=Board(options.budget, 2 * options.workers),
    )
    if options.step:
        blow_up(crew, options.step, options.kills, options.workers)
    seated = {seat: fork(crew, seat) for seat in range(1, options.workers + 1)}
    if options.kills and not options.step:
        kill(crew, seated, options.kills)
    elif options.stops:
        stop(crew, seated, options.stops)
    elif not options.step:
        for line in sys.stdin:
            crew.board.progress(int(line))
    crew.board.progress(100)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in seated.values()]
    sys.stdout.write(f"{codes}\n")


def warm_up() -> None:
    """Import what opening a database imports late: once, instead of in every fork."""
    import psycopg  # noqa: F401

    with (
        TemporaryDirectory() as folder,
        Database.open(resolve_url(f"sqlite:///{folder}/warm.db", {})) as database,
    ):
        database.optuna_storage()


def kill(crew: Crew, seated: dict[int, int], kills: int) -> None:
    """Kill workers that are at work by chance, and put another one into each place."""
    for done in range(1, kills + 1):
        time.sleep(random.uniform(0.0, 2.0 * crew.nap / len(seated)))
        seat = one_of(seated, crew, random.choice((Activity.WORKING, Activity.HOLDING)))
        os.kill(seated[seat], signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(seated[seat], 0)[1]) != -signal.SIGKILL:
            sys.exit("a worker ended by itself before its time")
        crew.board.enter(seat, Activity.STARTING)
        seated[seat] = fork(crew, seat)
        crew.board.progress(100 * done // kills)


def stop(crew: Crew, seated: dict[int, int], stops: int) -> None:
    """Stop workers that hold a slot for longer than their leases last, and let them go on."""
    asleep: dict[int, float] = {}
    for done in range(1, stops + 1):
        seat = one_of(seated.keys() - asleep.keys(), crew, Activity.HOLDING)
        os.kill(seated[seat], signal.SIGSTOP)
        asleep[seat] = time.monotonic() + crew.lease * random.uniform(1.5, 3.0)
        while len(asleep) > len(seated) // 2 or (done == stops and asleep):
            time.sleep(0.02)
            for seat in [one for one, until in asleep.items() if until < time.monotonic()]:
                os.kill(seated[seat], signal.SIGCONT)
                del asleep[seat]
        crew.board.progress(100 * done // stops)


def one_of(seats: Collection[int], crew: Crew, activity: Activity) -> int:
    """Wait for workers that have come so far, a while if nobody may claim now; choose one."""
    patience = time.monotonic() + 2.0
    while not (there := [seat for seat in seats if crew.board.at(seat) >= activity]):
        time.sleep(0.01)
        if time.monotonic() > patience:
            activity = Activity.WORKING
    return random.choice(there)


def blow_up(crew: Crew, step: str, kills: int, workers: int) -> None:
    """Let so many workers die at a step, some at a time."""
    crew.board.progress(100)
    fuses = burning(step, kills)
    alive: set[int] = set()
    if step == "reap":  # an ended lease is taken over only where somebody left one
        alive |= {fork(crew, NO_SEAT, partial(Fuse, "claim", "after")) for _ in range(workers)}
    while True:
        while len(alive) < workers and (fuse := next(fuses, None)) is not None:
            alive.add(fork(crew, NO_SEAT, fuse))
        if not alive:
            return
        pid, status = os.wait()
        alive.remove(pid)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(f"a worker never came to {step}")


def fork(crew: Crew, seat: int, fuse: Callable[[], Lit] | None = None) -> int:
    """Start a worker; a fuse is made in its process, where it changes the code it watches."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work(crew, seat, fuse and fuse())
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
    parser.add_argument("--nap", type=float, default=0.1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
