"""The trainer: a worker's child process, which loads the model, proposes and trains.

What a training may do to a process (a segmentation fault, the kernel's out-of-memory killer, a loop
that holds the interpreter's lock) it does to this one: the parent holds the leases and goes on.
Orders come as lines of JSON on one pipe, answers go on another; standard output is the user's.

    order   {"run": [slot, …]}   {"stop": true}   {"lost": [number, …]}
    answer  {"ready": most, …}   {"outcomes": [outcome, …], "most": n}      {"raised": {…}}

Started by `child.Child`; not meant to be started by people.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from ..storage.database import Database, resolve_url
from ..storage.ledger import Ledger, Slot
from ..storage.projection import Projection
from ..storage.study import load_study
from .standing import base_of, check_fingerprint, spec_of

EXIT_ORPHANED = 75


class Orders:
    """What the parent asks for; the end of the pipe is the parent's end, and ours."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._runs: list[list[Slot]] = []
        self._arrived = threading.Condition()
        self._stop = False
        self._lost: frozenset[int] = frozenset()
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def next(self) -> list[Slot]:
        """Wait for slots to run."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._runs)
            return self._runs.pop(0)

    def stopping(self) -> bool:
        """Whether to stop at the next epoch."""
        return self._stop

    def lost(self) -> frozenset[int]:
        """Numbers of the slots that another worker may hold now."""
        return self._lost

    def _read(self) -> None:
        for line in self._pipe:
            order = json.loads(line)
            self._stop = self._stop or bool(order.get("stop"))
            self._lost |= frozenset(order.get("lost", ()))
            if "run" in order:
                with self._arrived:
                    self._runs.append([Slot(**slot) for slot in order["run"]])
                    self._arrived.notify()
        os._exit(EXIT_ORPHANED)


def main(arguments: list[str]) -> None:
    """Load a study and run the slots that come.

    Args:
        arguments: Study name, the worker's name, seconds of a lease, CPU threads, descriptors of
            both pipes.
    """
    # Ctrl-C reaches the whole foreground group: what it means, the parent says.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    name, worker, lease, threads, orders, answers = arguments
    with os.fdopen(int(answers), "w") as pipe:

        def answer(**values: Any) -> None:
            pipe.write(json.dumps(values) + "\n")
            pipe.flush()

        try:
            listening = Orders(os.fdopen(int(orders)))
            _serve(name, worker, float(lease), int(threads), listening, answer)
        except BaseException as error:
            answer(raised=told(error))


def told(error: BaseException) -> dict[str, Any]:
    """An exception in words: its class, message, and exit code if it is one of ours."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "code": getattr(error, "exit_code", None),
    }


def _serve(
    name: str, worker: str, lease: float, threads: int, orders: Orders, answer: Callable[..., None]
) -> None:
    import torch

    from .engine_choice import engine_for
    from .pace import Pace
    from .problem import Problem
    from .runner import Runner

    torch.set_num_threads(threads)
    with Database.open(resolve_url(None)) as database:
        row = load_study(database, name)
        check_fingerprint(row)
        problem = Problem.load(spec_of(row), base_of(row), row.costs)
        ledger = Ledger(database, row, worker=worker, lease_seconds=lease)
        choice = engine_for(problem, ledger.open_slots())
        runner = Runner(
            problem=problem,
            ledger=ledger,
            projection=Projection(database, row),
            stopping=orders.stopping,
            pace=Pace(fixed=problem.spec.proxy.fixed_at_once, fits=problem.fit_together()),
            engine=choice.engine,
        )
        answer(ready=runner.most, note=choice.sentence)
        while True:
            slots = orders.next()
            try:
                outcomes = runner.run(slots, orders.lost)
            except Exception as error:
                answer(raised=told(error), most=runner.most)
            else:
                answer(
                    outcomes=[dataclasses.asdict(one) for one in outcomes],
                    most=runner.most,
                )


if __name__ == "__main__":
    main(sys.argv[1:])
