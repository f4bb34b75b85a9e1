"""The fleet of one worker in this very process: for a notebook, and for what only it can load.

The trainings run in the thread that called, one after the other: no process is started, and what
crashes a training (a segmentation fault, the kernel's out-of-memory killer) ends this program. The
budget holds all the same: the slot comes back when its lease ends.

Entry points: `InProcessFleet`; `InProcessTrainer`, which forked workers have, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from signal import Signals
from typing import TYPE_CHECKING, final

from ...objectives.device_workers import DEVICE_WORKERS_VARIABLE
from ...objectives.interrupt import raise_if_interrupt
from ...storage.database.database import Database
from ...storage.errors import StorageError
from ...storage.ledger.slot import Slot
from ..errors import Drained, Exhausted, ExitCode, SearchError, TrainerDied
from ..report.console import PlainConsole
from ..trial.outcome import SlotOutcome
from ..trial.watch import BatchWatch
from ..worker.messages import Raised, TrainerConfig, TrainerFailed
from ..worker.options import FleetWorkerOptions, WorkerOptions
from ..worker.serve import WorkerContext, study_worker
from ..worker.shutdown import StopRequest
from .worker_fleet import WorkerFleet
from .worker_process import WorkerExit

if TYPE_CHECKING:
    from ..trial.runner import Runner


@final
class InProcessTrainer:
    """A trainer in this process.

    Attributes:
        engine_note: A sentence for people on how it trains, once it was started.
    """

    def __init__(
        self,
        config: TrainerConfig,
        context: WorkerContext,
        after_batch: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare, and load nothing yet.

        Args:
            config: What it is there for.
            context: Of the worker.
            after_batch: Called when trainings have ended and are recorded.
        """
        self._config, self._database, self._after_batch = config, context.database, after_batch
        self._launched = os.environ.get(DEVICE_WORKERS_VARIABLE)
        self._runner: Runner | None = None
        self.engine_note = ""

    @property
    def claim_size(self) -> int:
        """How many slots to claim for it now."""
        return 1 if self._runner is None else self._runner.claim_size

    @property
    def device_class(self) -> str:
        """Class of the device that it trains on; empty before it was started."""
        return "" if self._runner is None else self._runner.device_class

    @property
    def device(self) -> str:
        """The device for people; empty before it was started."""
        return "" if self._runner is None else self._runner.device_label

    def start(self) -> None:
        """Load the study's model, unless that was done."""
        from ..worker.trainer import build_runner

        if self._runner is None:
            # A runner before this one has put how many shared the device with it in there.
            _set_device_workers(self._launched)
            self._runner, self.engine_note = build_runner(self._database, self._config)

    def run_batch(self, slots: Sequence[Slot], watch: BatchWatch) -> list[SlotOutcome]:
        """Train slots; what it raises is what a trainer process would have sent."""
        assert self._runner is not None, "it was started"
        try:
            return self._runner.run_batch(slots, watch)
        except (SearchError, StorageError, TrainerDied):
            raise
        except BaseException as error:
            raise_if_interrupt(error)
            raise TrainerFailed(Raised.from_error(error)) from error
        finally:
            self._after_batch()

    def release_device(self) -> None:
        """Forget the model, and with it what it has on a device; its trackers are told no more."""
        if self._runner is not None:
            self._runner.tracking.close()
        self._runner = None


@final
class InProcessFleet(WorkerFleet):
    """One worker in this process.

    Args:
        database: Where the study is.
        name: Of the study.
        options: How to work.
        stop: Asks it to end after the epoch at hand.
    """

    def __init__(
        self, database: Database, name: str, options: FleetWorkerOptions, stop: StopRequest
    ) -> None:
        self._database, self._name, self._stop = database, name, stop
        self._options = WorkerOptions(**asdict(options))
        self._exit: WorkerExit | None = None

    def size(self) -> int:
        """Return 1."""
        return 1

    def exits(self) -> list[WorkerExit]:
        """Return how it ended, once it has."""
        return [] if self._exit is None else [self._exit]

    def signal(self, signum: Signals) -> None:
        """Ask it to end."""
        del signum
        self._stop.request()

    def close(self) -> None:
        """Do nothing: it runs only while somebody watches it."""

    def watch(self, tick: Callable[[], None]) -> Sequence[WorkerExit]:
        """Work until nothing is left; `tick` is called after each batch of trainings.

        Raises:
            SearchError: The worker ended for a reason of its own: the sentence says which.
            KeyboardInterrupt: A second Ctrl-C; the slots were given back.
        """

        def after_batch() -> None:
            if not self._stop():  # a tick would wait for an end that is about to come
                tick()

        after_batch()
        silent = PlainConsole(stderr=True)
        silent.quiet = True  # the progress display tells how trials end
        with (
            process_settings_kept(),
            study_worker(
                self._database,
                self._name,
                self._options,
                silent,
                make_trainer=lambda config, context: InProcessTrainer(config, context, after_batch),
                stop=self._stop,
            ) as worker,
        ):
            self._exit = run_worker(worker.run)
        tick()
        return self.exits()


def run_worker(run: Callable[[], object]) -> WorkerExit:
    """Run a worker to its end; return how it ended in good order."""
    try:
        run()
    except (Drained, Exhausted) as end:
        return WorkerExit(exit_code=end.exit_code, message=str(end))
    return WorkerExit(exit_code=ExitCode.DONE, message="")


@contextmanager
def process_settings_kept() -> Iterator[None]:
    """Put back, when the block ends, what a runner sets in its process.

    These are torch's number of threads, its GPU, and how many workers share that.
    """
    import torch

    launched = os.environ.get(DEVICE_WORKERS_VARIABLE)
    threads = torch.get_num_threads()
    initialised = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpu = torch.cuda.current_device() if initialised else None
    try:
        yield
    finally:
        _set_device_workers(launched)
        torch.set_num_threads(threads)
        if gpu is not None:
            torch.cuda.set_device(gpu)


def _set_device_workers(text: str | None) -> None:
    if text is None:
        os.environ.pop(DEVICE_WORKERS_VARIABLE, None)
    else:
        os.environ[DEVICE_WORKERS_VARIABLE] = text
