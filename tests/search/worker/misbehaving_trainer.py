"""A trainer without a model, whose user code does what its study is called, at its first batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from widthwise.search.trial.outcome import SlotOutcome
from widthwise.search.worker.child_process import keep_descriptors
from widthwise.search.worker.messages import (
    BatchFinished,
    Ready,
    RunSlots,
    TrainerConfig,
    encode,
    parse_command,
)
from widthwise.storage.ledger.slot import TrialOutcome


def leave_in_background(witness: Path) -> None:
    os.system(f"sleep 600 & echo $! > {witness}")
    os.kill(os.getpid(), signal.SIGKILL)


def leave_a_daemon(witness: Path) -> None:
    """A session of its own, and its parent is gone."""
    script = f"setsid sh -c 'echo $$ > {witness}; exec sleep 600' & exit 0"
    subprocess.run(script, shell=True, check=True)
    wait_for(witness)
    os._exit(3)


def leave_a_fork(witness: Path) -> None:
    """It holds the very pipes."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
    witness.write_text(f"{pid}\n")
    os.abort()


def leave_and_go_on(witness: Path) -> None:
    os.system(f"sleep 600 & echo $! > {witness}")


def close_descriptors(witness: Path) -> None:
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # the worker may have opened many before
    time.sleep(600)


def write_garbage(witness: Path) -> None:
    os.write(int(sys.argv[2]), b"epoch 1 of 20\n")
    time.sleep(600)


def stop_the_group(witness: Path) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)
        os.killpg(0, signum)


def wait_for(witness: Path) -> None:
    while not (witness.exists() and witness.read_text().endswith("\n")):
        time.sleep(0.01)


def main() -> None:
    keep_descriptors()
    commands, replies = os.fdopen(int(sys.argv[1])), os.fdopen(int(sys.argv[2]), "wb", buffering=0)
    config = TrainerConfig.model_validate_json(commands.readline())
    replies.write(encode(Ready(claim_size=1, engine_note="", device_class="cpu")))
    for line in commands:
        command = parse_command(line)
        assert isinstance(command, RunSlots)
        globals()[config.study](config.checkpoints)
        outcomes = tuple(
            SlotOutcome(number=slot.number, kind=TrialOutcome.COMPLETE) for slot in command.slots
        )
        replies.write(encode(BatchFinished(outcomes=outcomes, claim_size=1)))


if __name__ == "__main__":
    main()
