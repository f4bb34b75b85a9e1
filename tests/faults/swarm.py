"""Workers that claim, bind, train (a nap) and settle in a loop, some of them killed on the way.

    python swarm.py URL STUDY WORKERS KILLS

This process holds no database connection: it forks workers, sends SIGKILL to one of them at a
random moment and forks another in its place, KILLS times, and on until two of them held a slot.
Whoever holds the last slot keeps it
until all kills are done and a line, or the end, of standard input has arrived: so the study never
ends before what is done to it. This process ends when every worker has ended, and prints the exit
codes of those that nobody killed.
"""

import mmap
import os
import random
import signal
import sys
import time
import traceback
from contextlib import suppress

from optuna.distributions import IntDistribution
from widthwise.storage.database import Database, resolve_url
from widthwise.storage.errors import LeaseLost, WidthsTaken
from widthwise.storage.ledger import Ledger, Slot
from widthwise.storage.projection import Projection
from widthwise.storage.study import load_study

WIDTHS = {"a": IntDistribution(1, 64), "b": IntDistribution(1, 64)}
LEASE = 0.5
SHARED = mmap.mmap(-1, 4096)
"""Bytes that all processes share: the first is 1 once the last slot may be settled, the others,
one a seat, are 1 while the worker in that seat holds a slot."""


def main(url: str, name: str, workers: int, kills: int) -> None:
    seated = {seat: fork(url, name, seat) for seat in range(1, workers + 1)}
    killed = holders = 0
    while kills and (killed < kills or holders < 2):
        time.sleep(random.uniform(0.1, 0.4))
        seat = random.choice(sorted(seated))
        os.kill(seated[seat], signal.SIGKILL)
        _, status = os.waitpid(seated[seat], 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit("a worker ended by itself before the last slot was settled")
        killed, holders = killed + 1, holders + SHARED[seat]
        SHARED[seat] = 0
        seated[seat] = fork(url, name, seat)
    sys.stdin.readline()
    SHARED[0] = 1
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in seated.values()]
    sys.stdout.write(f"{codes}\n")


def fork(url: str, name: str, seat: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work(url, name, seat)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def work(url: str, name: str, seat: int) -> None:
    with Database.open(resolve_url(url), retry_seconds=30) as database:
        study = load_study(database, name)
        ledger = Ledger(database, study, worker=str(os.getpid()), lease_seconds=LEASE)
        projection = Projection(database, study)
        while ledger.open_slots():
            slot = ledger.claim()
            if slot is None:
                time.sleep(min(ledger.oldest_lease() or 0.05, 0.2))
                continue
            # A slow moment on a busy machine may outlast so short a lease: then it is another's.
            SHARED[seat] = 1
            with suppress(LeaseLost):
                train(ledger, projection, slot)
            SHARED[seat] = 0
        projection.repair()


def train(ledger: Ledger, projection: Projection, slot: Slot) -> None:
    while slot.widths is None:
        widths = {name: random.randint(1, 64) for name in WIDTHS}
        with suppress(WidthsTaken):
            slot = ledger.bind(slot, widths, "chance")
    projection.open(slot, distributions=WIDTHS, constraints={"flops": -1.0}, attributes={})
    time.sleep(random.uniform(0.0, 0.1))
    ledger.beat(slot)
    last = ledger.counts().budget - 1
    while slot.number == last and not SHARED[0]:
        time.sleep(LEASE / 10)
        ledger.beat(slot)
    value = float(slot.widths["a"] + slot.widths["b"])
    result = {"curve": [0.0, value], "attributes": {"token": slot.token}}
    ledger.done(slot, outcome="complete", value=value, result=result)
    projection.close(ledger.record(slot.number))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
