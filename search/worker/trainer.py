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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ...storage.database.database import Database, resolve_url
from ...storage.ledger.ledger import Ledger, Slot
from ...storage.projection.projection import Projection
from ...storage.study.study import load_study
from ..problem.stored import base_of, check_fingerprint, spec_of
from ..trial.checkpoints import Checkpoints
from .trainer_process import COMPARE

if TYPE_CHECKING:
    from ...objectives.engines.choose import Choice
    from ..problem.problem import Problem
    from ..trial.runner import Runner

EXIT_ORPHANED = 75


@dataclass(frozen=True, kw_only=True)
class Duty:
    """What a trainer is there for.

    Attributes:
        study: Name of the study.
        worker: Name of the worker.
        lease: Seconds that a claim or a heartbeat holds a slot.
        threads: CPU threads of a training.
        checkpoints: Folder of the study's checkpoints.
        compare: Whether to try engines out.
    """

    study: str
    worker: str
    lease: float
    threads: int
    checkpoints: str
    compare: bool

    @classmethod
    def read(cls, arguments: Sequence[str]) -> Duty:
        """From a command line."""
        study, worker, lease, threads, checkpoints, compare = arguments
        return cls(
            study=study,
            worker=worker,
            lease=float(lease),
            threads=int(threads),
            checkpoints=checkpoints,
            compare=compare == COMPARE,
        )


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
        """Numbers of the slots, of those that run now, that another worker may hold."""
        return self._lost

    def _read(self) -> None:
        for line in self._pipe:
            order = json.loads(line)
            self._stop = self._stop or bool(order.get("stop"))
            self._lost |= frozenset(order.get("lost", ()))
            if "run" in order:
                self._lost = frozenset()  # one that was paused may have come back
                with self._arrived:
                    self._runs.append([Slot(**slot) for slot in order["run"]])
                    self._arrived.notify()
        os._exit(EXIT_ORPHANED)


def main(arguments: list[str]) -> None:
    """Load a study and run the slots that come.

    Args:
        arguments: Study name, the worker's name, seconds of a lease, CPU threads, folder of the
            checkpoints, whether to try engines out, descriptors of both pipes.
    """
    # Ctrl-C reaches the whole foreground group, a scheduler's SIGTERM all processes of its task:
    # what they mean, the parent says.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    *duty, orders, answers = arguments
    with os.fdopen(int(answers), "w") as pipe:

        def answer(**values: Any) -> None:
            pipe.write(json.dumps(values) + "\n")
            pipe.flush()

        try:
            listening = Orders(os.fdopen(int(orders)))
            _serve(Duty.read(duty), listening, answer)
        except BaseException as error:
            answer(raised=told(error))


def told(error: BaseException) -> dict[str, Any]:
    """An exception in words: its class, message, and exit code if it is one of ours."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "code": getattr(error, "exit_code", None),
    }


def _serve(duty: Duty, orders: Orders, answer: Callable[..., None]) -> None:
    import torch

    torch.set_num_threads(duty.threads)
    with Database.open(resolve_url(None)) as database:
        runner, note = _runner(database, duty, orders.stopping)
        answer(ready=runner.most, note=note, device=runner.device)
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


def _runner(database: Database, duty: Duty, stopping: Callable[[], bool]) -> tuple[Runner, str]:
    """What runs the study's slots, and a sentence on the engine that it uses."""
    from ...objectives.loop.train import resolve_device
    from ..problem.device_memory import device_class
    from ..problem.problem import Problem
    from ..trial.claim_size import Pace
    from ..trial.runner import Runner

    row = load_study(database, duty.study)
    check_fingerprint(row)
    spec = spec_of(row)
    # Before the user's code is loaded: a limit that it sets on itself is no property of the device.
    device = device_class(resolve_device(spec.proxy.device))
    problem = Problem.load(spec, base_of(row), row.costs)
    ledger = Ledger(database, row, worker=duty.worker, lease_seconds=duty.lease)
    checkpoints = Checkpoints.of(Path(duty.checkpoints), row.fingerprint)
    checkpoints.sweep({one.number for one in ledger.tried() if one.state == "done"})
    runner = Runner(
        problem=problem,
        ledger=ledger,
        projection=Projection(database, row),
        stopping=stopping,
        device=device,
        checkpoints=checkpoints,
    )
    here = runner.known()
    choice = _engine(here, ledger.open_slots(), compare=duty.compare)
    pace = Pace(fixed=problem.spec.proxy.fixed_at_once, fits=here.fit_together())
    return dataclasses.replace(runner, engine=choice.engine, pace=pace), choice.sentence


def _engine(problem: Problem, slots: int, *, compare: bool) -> Choice:
    """What trains the study's slots: the plain engine where a sample cannot even be tried out.

    Whether that is the sample's fault, or its size, is found and recorded when its trial comes.
    """
    from ...objectives.engines.choose import Choice
    from ...objectives.engines.plain import PlainEngine
    from ..problem.engine import engine_for
    from ..trial.runner import refuse_lost_gpu

    wanted = problem.spec.proxy.engine != "auto"
    if not (compare or wanted):
        return Choice(engine=PlainEngine())
    try:
        return engine_for(problem, slots)
    except (Exception, SystemExit) as error:
        refuse_lost_gpu(error)
        if wanted:
            raise
        return Choice(engine=PlainEngine())


if __name__ == "__main__":
    main(sys.argv[1:])
