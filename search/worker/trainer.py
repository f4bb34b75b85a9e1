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
from ...storage.ledger.slot import SlotState
from ...storage.projection.projection import Projection
from ...storage.study.study import load_study
from ..problem.stored import base_folder, check_fingerprint, stored_spec
from ..trial.checkpoints import StudyCheckpoints
from .trainer_process import COMPARE_ENGINES

if TYPE_CHECKING:
    from ...objectives.engines.choose import EngineChoice
    from ..problem.problem import Problem
    from ..trial.runner import Runner

EXIT_ORPHANED = 75


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """What a trainer is there for.

    Attributes:
        study: Name of the study.
        worker: Name of the worker.
        lease_seconds: Seconds that a claim or a heartbeat holds a slot.
        threads: CPU threads of a training.
        checkpoints: Folder of the study's checkpoints.
        compare_engines: Whether to try engines out.
    """

    study: str
    worker: str
    lease_seconds: float
    threads: int
    checkpoints: str
    compare_engines: bool

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> TrainerConfig:
        """From a command line."""
        study, worker, lease_seconds, threads, checkpoints, engine_mode = arguments
        return cls(
            study=study,
            worker=worker,
            lease_seconds=float(lease_seconds),
            threads=int(threads),
            checkpoints=checkpoints,
            compare_engines=engine_mode == COMPARE_ENGINES,
        )


class CommandReader:
    """What the parent asks for; the end of the pipe is the parent's end, and ours."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._batches: list[list[Slot]] = []
        self._batch_arrived = threading.Condition()
        self._stop_requested = False
        self._lost: frozenset[int] = frozenset()
        threading.Thread(target=self._read_commands, name="orders", daemon=True).start()

    def next_batch(self) -> list[Slot]:
        """Wait for slots to run."""
        with self._batch_arrived:
            self._batch_arrived.wait_for(lambda: self._batches)
            return self._batches.pop(0)

    def stop_requested(self) -> bool:
        """Whether to stop at the next epoch."""
        return self._stop_requested

    def lost(self) -> frozenset[int]:
        """Numbers of the slots, of those that run now, that another worker may hold."""
        return self._lost

    def _read_commands(self) -> None:
        for line in self._pipe:
            command = json.loads(line)
            self._stop_requested = self._stop_requested or bool(command.get("stop"))
            self._lost |= frozenset(command.get("lost", ()))
            if "run" in command:
                self._lost = frozenset()  # one that was paused may have come back
                with self._batch_arrived:
                    self._batches.append([Slot(**slot) for slot in command["run"]])
                    self._batch_arrived.notify()
        os._exit(EXIT_ORPHANED)


def main(arguments: list[str]) -> None:
    """Load a study and run the slots that come.

    Args:
        arguments: Study name, the worker's name, seconds of a lease, CPU threads, folder of the
            checkpoints, whether to try engines out, descriptors of both pipes.
    """
    # Ctrl-C reaches the whole foreground group, a scheduler's SIGTERM all processes of its task:
    # what they mean, the parent says.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    *config_arguments, command_fd, reply_fd = arguments
    with os.fdopen(int(reply_fd), "w") as pipe:

        def reply(**values: Any) -> None:
            pipe.write(json.dumps(values) + "\n")
            pipe.flush()

        try:
            commands = CommandReader(os.fdopen(int(command_fd)))
            _run_commands(TrainerConfig.from_arguments(config_arguments), commands, reply)
        except BaseException as error:
            reply(raised=serialise_error(error))


def serialise_error(error: BaseException) -> dict[str, Any]:
    """An exception in words: its class, message, and exit code if it is one of ours."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "code": getattr(error, "exit_code", None),
    }


def _run_commands(
    config: TrainerConfig, commands: CommandReader, reply: Callable[..., None]
) -> None:
    import torch

    torch.set_num_threads(config.threads)
    with Database.open(resolve_url(None)) as database:
        runner, engine_note = _build_runner(database, config, commands.stop_requested)
        reply(ready=runner.claim_size, note=engine_note, device=runner.device_class)
        while True:
            slots = commands.next_batch()
            try:
                outcomes = runner.run(slots, commands.lost)
            except Exception as error:
                reply(raised=serialise_error(error), most=runner.claim_size)
            else:
                reply(
                    outcomes=[dataclasses.asdict(outcome) for outcome in outcomes],
                    most=runner.claim_size,
                )


def _build_runner(
    database: Database, config: TrainerConfig, stop_requested: Callable[[], bool]
) -> tuple[Runner, str]:
    """What runs the study's slots, and a sentence on the engine that it uses."""
    from ...objectives.training.settings import resolve_device
    from ..problem.device_memory import classify_device
    from ..problem.problem import Problem
    from ..trial.claim_size import ClaimSizer
    from ..trial.runner import Runner

    study = load_study(database, config.study)
    check_fingerprint(study)
    spec = stored_spec(study)
    # Before the user's code is loaded: a limit that it sets on itself is no property of the device.
    device = classify_device(resolve_device(spec.proxy.device))
    problem = Problem.load(spec, base_folder(study), study.costs)
    ledger = Ledger(database, study, worker=config.worker, lease_seconds=config.lease_seconds)
    checkpoints = StudyCheckpoints.from_environment(Path(config.checkpoints), study.fingerprint)
    checkpoints.discard_settled(
        {tried.number for tried in ledger.reader.tried() if tried.state == SlotState.DONE}
    )
    runner = Runner(
        problem=problem,
        ledger=ledger,
        projection=Projection(database, study),
        stop_requested=stop_requested,
        device_class=device,
        checkpoints=checkpoints,
    )
    restricted_problem = runner.restricted_problem()
    choice = _choose_engine(
        restricted_problem, ledger.reader.open_slots(), compare_engines=config.compare_engines
    )
    claim_size = ClaimSizer(
        fixed=problem.spec.proxy.fixed_claim_size, max_in_memory=restricted_problem.max_in_memory()
    )
    return dataclasses.replace(runner, engine=choice.engine, claim_sizer=claim_size), choice.reason


def _choose_engine(problem: Problem, open_slots: int, *, compare_engines: bool) -> EngineChoice:
    """What trains the study's slots: the plain engine where a sample cannot even be tried out.

    Whether that is the sample's fault, or its size, is found and recorded when its trial comes.
    """
    from ...objectives.engines.choose import EngineChoice
    from ...objectives.engines.plain import PlainEngine
    from ..problem.engine import select_engine
    from ..trial.runner import raise_if_gpu_lost

    requested = problem.spec.proxy.engine != "auto"
    if not (compare_engines or requested):
        return EngineChoice(engine=PlainEngine())
    try:
        return select_engine(problem, open_slots)
    except (Exception, SystemExit) as error:
        raise_if_gpu_lost(error)
        if requested:
            raise
        return EngineChoice(engine=PlainEngine())


if __name__ == "__main__":
    main(sys.argv[1:])
