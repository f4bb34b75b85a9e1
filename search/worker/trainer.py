"""The trainer: a worker's child process, which loads the model, suggests and trains.

What a training may do to a process (a segmentation fault, the kernel's out-of-memory killer, a loop
that holds the interpreter's lock) it does to this one: the supervisor holds the leases and goes on.
Messages (`messages`) come on one pipe, replies go on another. What user code prints, and what it
starts, goes to standard error: standard output is for the answers of a command.

Started by `trainer_process.TrainerProcess`; not meant to be started by people.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, final

from ...objectives.device_workers import DEVICE_WORKERS_VARIABLE, device_workers
from ...objectives.interrupt import ignore_interrupts, raise_if_interrupt
from ...storage.database.database import RETRY_SECONDS, Database, resolve_url
from ...storage.ledger.ledger import Ledger, Slot
from ...storage.ledger.slot import SlotState
from ...storage.projection.projection import Projection
from ...storage.study.study import load_study
from ...storage.study.workers import WorkerRow, announce_device, list_workers
from ..errors import ExitCode
from ..follow_up_kind import FollowUpKind
from ..problem.stored import base_folder, check_fingerprint, stored_spec
from ..trial.checkpoints import StudyCheckpoints, study_digest
from .child_process import keep_descriptors, kill_descendants
from .messages import (
    BatchFinished,
    Raised,
    Ready,
    Reply,
    RunSlots,
    SlotsLost,
    TrainerConfig,
    encode,
    parse_command,
)

if TYPE_CHECKING:
    from ...objectives.engines.choose import EngineChoice
    from ..problem.problem import Problem
    from ..trial.runner import Runner


@final
class CommandReader:
    """Reads the supervisor's commands; the end of the pipe is its end, and ours.

    It is the `BatchWatch` of the trainings.
    """

    def __init__(self, pipe: IO[str]) -> None:
        """Read the configuration, and the commands in a thread of their own.

        Args:
            pipe: What the supervisor writes to.
        """
        self._pipe = pipe
        self._batches: list[list[Slot]] = []
        self._batch_arrived = threading.Condition()
        self._stop_requested = False
        self._lost: frozenset[int] = frozenset()
        self.config = TrainerConfig.model_validate_json(self._pipe.readline() or _exit_orphaned())
        threading.Thread(target=self._read_commands, name="commands", daemon=True).start()

    def next_batch(self) -> list[Slot]:
        """Wait for slots to run."""
        with self._batch_arrived:
            self._batch_arrived.wait_for(lambda: self._batches)
            return self._batches.pop(0)

    def stop_requested(self) -> bool:
        """Return whether to stop at the next epoch."""
        return self._stop_requested

    def lost(self) -> frozenset[int]:
        """Return the numbers of the slots, of those in training, that another worker may hold."""
        return self._lost

    def _read_commands(self) -> None:
        for line in self._pipe:
            command = parse_command(line)
            if isinstance(command, RunSlots):
                self._lost = frozenset()  # one that was paused may have come back
                with self._batch_arrived:
                    self._batches.append(list(command.slots))
                    self._batch_arrived.notify()
            elif isinstance(command, SlotsLost):
                self._lost |= frozenset(command.numbers)
            else:
                self._stop_requested = True
        _exit_orphaned()


def _exit_orphaned() -> str:
    """End this process at once, and what user code started: nobody waits for it any more."""
    kill_descendants()
    os._exit(ExitCode.DRAINED)


def main(arguments: list[str]) -> None:
    """Load a study and run the slots that come.

    Args:
        arguments: Descriptors of both pipes: of commands to read, of replies to write.
    """
    # Ctrl-C reaches the whole foreground group, a scheduler's SIGTERM all processes of its task:
    # what they mean, the supervisor says.
    ignore_interrupts()
    keep_descriptors()
    with suppress(OSError):  # there may be none
        os.dup2(2, 1)
    command_fd, reply_fd = map(int, arguments)
    own_pid = os.getpid()
    with os.fdopen(reply_fd, "wb") as pipe:

        def reply(message: Reply) -> None:
            if os.getpid() != own_pid:
                os._exit(ExitCode.DRAINED)  # a fork that user code made and let go on as us
            pipe.write(encode(message))
            pipe.flush()

        try:
            commands = CommandReader(os.fdopen(command_fd))
            # The worker has reached it: whatever is in the way now may pass.
            with Database.open(
                resolve_url(None), create=False, open_seconds=RETRY_SECONDS, patient=True
            ) as database:
                runner, engine_note = build_runner(database, commands.config)
                reply(
                    Ready(
                        claim_size=runner.claim_size,
                        engine_note=engine_note,
                        device_class=runner.device_class,
                        device=runner.device_label,
                    )
                )
                while True:
                    slots = commands.next_batch()
                    try:
                        outcomes = runner.run_batch(slots, commands)
                    except BaseException as error:
                        reply(Raised.from_error(error, runner.claim_size))
                    else:
                        reply(BatchFinished(outcomes=tuple(outcomes), claim_size=runner.claim_size))
        except BaseException as error:
            reply(Raised.from_error(error))


def build_runner(database: Database, config: TrainerConfig) -> tuple[Runner, str]:
    """Return what runs the study's slots, and a sentence on the engine that it uses.

    torch is told how many threads to train on, and on which GPU.
    """
    import torch

    from ...objectives.training.settings import resolve_device
    from ..problem.device_memory import classify_device
    from ..problem.memory_ceiling import DeviceProblem
    from ..problem.memory_share import MemoryShare, device_label, siblings_on_device
    from ..problem.problem import Problem
    from ..tracking.registry import open_trackers
    from ..trial.claim_size import ClaimSizer
    from ..trial.learning import LearningWatch
    from ..trial.runner import Runner

    torch.set_num_threads(config.threads)
    study = load_study(database, config.study)
    check_fingerprint(study)
    spec = stored_spec(study)
    if config.device is not None:
        proxy = spec.proxy.model_copy(update={"device": config.device})
        spec = spec.model_copy(update={"proxy": proxy})
    # Before the user's code is loaded: a limit that it sets on itself is no property of the device.
    device = resolve_device(spec.proxy.device)
    if device.type == "cuda" and device.index is not None:
        # What names no device of its own, such as a captured graph, is then on this one.
        torch.cuda.set_device(device)
    device_class, label = classify_device(device), device_label(device)
    announce_device(database, config.worker, label)

    def siblings() -> list[WorkerRow]:
        return siblings_on_device(list_workers(database), own_name=config.worker, label=label)

    launched = device_workers()

    def sharing_workers() -> int:
        per_gpu = config.workers_per_gpu if device.type == "cuda" else 1
        return max(launched, per_gpu, 1 + len(siblings()))

    memory = MemoryShare.measure(device, siblings())
    if (sharing := sharing_workers()) > 1:
        # What else takes of the device's memory, such as data that is placed on it.
        os.environ[DEVICE_WORKERS_VARIABLE] = str(sharing)
    problem = Problem.load(
        spec,
        base_folder(study),
        study.costs,
        judge_test=study.kind in (FollowUpKind.CONFIRMATION, FollowUpKind.TRAINING),
        final=study.kind == FollowUpKind.TRAINING,
    )
    ledger = Ledger(database, study, worker=config.worker, lease_seconds=config.lease_seconds)
    checkpoints = StudyCheckpoints.from_environment(config.checkpoints, study.fingerprint)
    checkpoints.discard_settled(
        {slot.number for slot in ledger.reader.tried() if slot.state == SlotState.DONE}
    )
    fitting_problem = DeviceProblem(problem=problem, device_class=device_class).restricted(
        ledger.reader.out_of_memory()
    )
    choice = _choose_engine(
        fitting_problem, ledger.reader.open_slots(), compare_engines=config.compare_engines
    )
    runner = Runner(
        problem=problem,
        ledger=ledger,
        projection=Projection(database, study),
        device_class=device_class,
        device_label=label,
        claim_sizer=ClaimSizer(
            fixed=_fixed_claim_size(problem),
            max_in_memory=lambda: fitting_problem.max_in_memory(
                lambda _device: memory.part(sharing_workers())
            ),
        ),
        engine=choice.engine,
        checkpoints=checkpoints,
        # What follows up a study was chosen by it, also where that is to learn little.
        learning=LearningWatch(
            problem=problem, database=database, study=study, worker=config.worker
        )
        if study.kind is None
        else None,
        all_planned=study.kind is not None,
        tracking=open_trackers(
            [*(spec.study.trackers or ()), *config.trackers],
            base_folder(study),
            study=study.name,
            study_id=study_digest(study),
            warn=ledger.warn,
        ),
    )
    return runner, choice.reason


def _fixed_claim_size(problem: Problem) -> int | None:
    """Return how many trials are trained at once; None where their steps are measured first.

    What is trained one after the other gains nothing by waiting for others: a training of the
    user's own always, one on batches (whose loader workers would be there several times) unless
    the spec says a number.
    """
    from ...objectives.data.streams.source import BatchData

    objective, fixed = problem.loop_objective, problem.spec.proxy.fixed_claim_size
    if objective is None:
        return 1
    return fixed or (1 if isinstance(objective.data, BatchData) else None)


def _choose_engine(problem: Problem, open_slots: int, *, compare_engines: bool) -> EngineChoice:
    """Return what trains the slots: the plain engine where a sample cannot even be tried out.

    Whether that is the sample's fault, or its size, is known and recorded when its trial comes.
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
    except BaseException as error:
        raise_if_interrupt(error)
        raise_if_gpu_lost(error)
        if requested:
            raise
        return EngineChoice(engine=PlainEngine())


if __name__ == "__main__":
    main(sys.argv[1:])
