"""Messages between a worker's two processes, as lines of JSON on two pipes.

The supervisor sends a `TrainerConfig` first, then commands; the trainer sends replies.

    command   RunSlots   SlotsLost   Stop
    reply     Ready, once loaded; then for each RunSlots a BatchFinished or a Raised

No message holds a password: the storage reaches the trainer as it does any child process.

Entry points: `encode`; `parse_command`, `parse_reply`.
"""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ...storage.errors import LeaseLost, StorageUnreachable
from ...storage.ledger.slot import Slot
from ..errors import Drained, Exhausted, ExitCode, SearchError, TrainerDied, exit_code_of
from ..trial.outcome import SlotOutcome


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainerConfig(_Message):
    """What a trainer is there for: the first message to it.

    Attributes:
        study: Name of the study.
        worker: Name of the worker.
        lease_seconds: Seconds that a claim or a heartbeat holds a slot.
        threads: CPU threads of a training.
        checkpoints: Folder of the study's checkpoints.
        workers_per_gpu: Workers that a GPU is meant for.
        device: What to train on; None for what the spec says.
        trackers: What is told of every trial, besides the spec's own.
        compare_engines: Whether to try engines out before the first batch.
    """

    study: str
    worker: str
    lease_seconds: float
    threads: int
    checkpoints: Path
    workers_per_gpu: int = 1
    device: str | None = None
    trackers: tuple[str, ...] = ()
    compare_engines: bool = True


class RunSlots(_Message):
    """Train these slots, as claimed."""

    tag: Literal["run"] = "run"
    slots: tuple[Slot, ...]


class SlotsLost(_Message):
    """Of the slots in training, another worker may hold those with these numbers."""

    tag: Literal["lost"] = "lost"
    numbers: tuple[int, ...]


class Stop(_Message):
    """Stop at the next epoch."""

    tag: Literal["stop"] = "stop"


class Ready(_Message):
    """The study is loaded.

    Attributes:
        claim_size: How many slots to claim for the first batch.
        engine_note: A sentence for people on how the trainer trains.
        device_class: Class of the device that it trains on.
        device: The device for people: its class, and which one of that class it is.
    """

    tag: Literal["ready"] = "ready"
    claim_size: int
    engine_note: str
    device_class: str
    device: str = ""


class BatchFinished(_Message):
    """How the slots of a batch ended, and how many to claim for the next one."""

    tag: Literal["finished"] = "finished"
    outcomes: tuple[SlotOutcome, ...]
    claim_size: int


class ErrorKind(enum.StrEnum):
    """What an error in the trainer means to its supervisor.

    Attributes:
        DRAINED: A stop was asked for; the trainer has ended.
        EXHAUSTED: Every feasible candidate was tried.
        GPU_LOST: This process can use its device no more; another one can.
        STUDY: The study does not work here: its spec, its code or its data.
        ENVIRONMENT: No study would: the database is away.
        BUG: An exception that is none of ours.
    """

    DRAINED = "drained"
    EXHAUSTED = "exhausted"
    GPU_LOST = "gpu_lost"
    STUDY = "study"
    ENVIRONMENT = "environment"
    BUG = "bug"


class Raised(_Message):
    """An error ended the batch, or the loading of the study.

    Attributes:
        kind: What it means.
        message: One sentence for people.
        exit_code: What the worker exits with if it ends with this error.
        claim_size: How many slots to claim next; None where nothing was loaded.
    """

    tag: Literal["raised"] = "raised"
    kind: ErrorKind
    message: str
    exit_code: ExitCode
    claim_size: int | None = None

    @classmethod
    def from_error(cls, error: BaseException, claim_size: int | None = None) -> Raised:
        """Describe an exception."""
        exit_code = exit_code_of(error)
        if isinstance(error, TrainerDied):
            kind = ErrorKind.GPU_LOST
        elif isinstance(error, Drained):
            kind = ErrorKind.DRAINED
        elif isinstance(error, Exhausted):
            kind = ErrorKind.EXHAUSTED
        elif exit_code is None:
            kind = ErrorKind.BUG
        elif isinstance(error, StorageUnreachable | LeaseLost):
            kind = ErrorKind.ENVIRONMENT
        else:
            kind = ErrorKind.STUDY
        message = f"{type(error).__name__}: {error}" if kind is ErrorKind.BUG else str(error)
        return cls(
            kind=kind,
            message=message,
            exit_code=ExitCode.BUG if exit_code is None else exit_code,
            claim_size=claim_size,
        )


Command = RunSlots | SlotsLost | Stop
Reply = Ready | BatchFinished | Raised

_COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="tag")])
_REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="tag")])


class TrainerFailed(SearchError):
    """The trainer gave up with an error of ours, or with a bug.

    Attributes:
        exit_code: The error's own.
        belongs_to_study: Whether the study is at fault, not what all studies need.
        kind: What the error means.
    """

    def __init__(self, raised: Raised) -> None:
        super().__init__(raised.message)
        self.exit_code = raised.exit_code
        self.belongs_to_study = raised.kind is not ErrorKind.ENVIRONMENT
        self.kind = raised.kind


def encode(message: TrainerConfig | Command | Reply) -> bytes:
    """Return a message as a line of JSON; what is no Unicode in its texts is spelled out."""
    return json.dumps(_as_unicode(message.model_dump()), default=str).encode() + b"\n"


def _as_unicode(value: Any) -> Any:
    """Return nested values without lone surrogates, which names of files may bring into a text."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _as_unicode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_unicode(item) for item in value]
    return value


def parse_command(line: str) -> Command:
    """Return the command of a line of JSON."""
    return _COMMAND.validate_json(line)


def parse_reply(line: bytes) -> Reply:
    """Return the reply of a line of JSON."""
    return _REPLY.validate_json(line)
