"""A worker that is a fork of this process: it inherits the objects that no other one could load.

A fork has one thread, the one that forked. A GPU that this process has used is lost to it, and so
are the threads that torch trained on: it trains on the CPU, on one thread.

Entry points: `ForkedWorker`; `check_fork`, which says where none can be.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from signal import SIGINT, SIGKILL, SIGTERM, Signals, default_int_handler, signal
from typing import TextIO, final

from sqlalchemy.engine import URL

from ...storage.database.database import RETRY_SECONDS, Database
from ..errors import ExitCode, SpecError, exit_code_of
from ..report.console import PlainConsole
from ..spec.device import device_kind
from ..worker.options import FleetWorkerOptions, WorkerOptions
from ..worker.serve import study_worker
from .in_process import InProcessTrainer, run_worker
from .worker_process import WorkerExit


def check_fork(device: str, threads: int) -> None:
    """Check that workers can be forks of this process.

    Args:
        device: That they train on.
        threads: Of each of them.

    Raises:
        SpecError: They cannot; the sentence says why, and what to do.
    """
    advice = "define the functions in a module, which workers can import, or take workers = 1"
    if "fork" not in multiprocessing.get_all_start_methods():
        raise SpecError(
            f"workers: this platform ({sys.platform}) cannot fork, and what was given is known to "
            f"this program alone; {advice}"
        )
    if device_kind(device) != "cpu":
        raise SpecError(
            f'workers: the device is "{device}", which a fork of this program cannot use, and what '
            f"was given is known to this program alone; {advice}"
        )
    if threads != 1:
        raise SpecError(
            f"threads: found {threads}, but workers that are forks of this program train on one "
            f"thread each; {advice}"
        )


@final
class ForkedWorker:
    """A worker, from the fork to its end; it drains when this process dies.

    Args:
        url: The storage, password included.
        name: Of the study.
        options: How to work.
        environment: Variables of its own.
    """

    def __init__(
        self,
        url: URL,
        name: str,
        options: FleetWorkerOptions,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # What it writes goes to a file: a pipe would fill up unread.
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        worker_options = WorkerOptions(**asdict(options), parent_pid=os.getpid())
        self._process = multiprocessing.get_context("fork").Process(
            target=_work, args=(url, name, worker_options, self._output, dict(environment or {}))
        )
        with warnings.catch_warnings():
            # Of a process with threads: none of ours holds a lock here, and numpy's and torch's
            # know of forks.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", Warning)
            self._process.start()

    def poll(self) -> WorkerExit | None:
        """Return how it ended; None while it runs."""
        exit_code = self._process.exitcode
        if exit_code is None:
            return None
        self._output.seek(0)
        lines = self._output.read().strip().splitlines()
        return WorkerExit(exit_code=exit_code, message=lines[-1] if lines else "")

    def signal(self, signum: Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, signum)

    def close(self) -> None:
        """End it at once, if it still runs; its slots come back when their leases expire."""
        self.signal(SIGKILL)
        self._process.join()
        self._output.close()


def _work(
    url: URL, name: str, options: WorkerOptions, output: TextIO, environment: Mapping[str, str]
) -> None:
    """Work on a study, in the fork, and leave it by its exit code."""
    os.environ.update(environment)
    os.setsid()  # Ctrl-C goes to the whole foreground group: the parent passes it on in order
    signal(SIGINT, default_int_handler)
    signal(SIGTERM, lambda *_: sys.exit(ExitCode.DRAINED))
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    sys.stdout = sys.stderr = output
    code = int(ExitCode.BUG)
    try:
        import torch

        torch.set_num_threads(options.threads)
        with (
            Database.open(url, create=False, open_seconds=RETRY_SECONDS, patient=True) as database,
            study_worker(
                database,
                name,
                options,
                PlainConsole(stderr=True),
                make_trainer=InProcessTrainer,
            ) as worker,
        ):
            code = run_worker(worker.run).exit_code
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(ExitCode.BUG)
    except BaseException as error:
        known = exit_code_of(error)
        code = int(ExitCode.BUG if known is None else known)
        output.write(traceback.format_exc() if known is None else f"error: {error}\n")
    finally:
        output.flush()
        os._exit(code)  # what this process inherited is the parent's to close
