"""A worker's options: each is one field, with its flag and its help.

The verbs that run or start workers take these dataclasses (`cli.options.expand_options`), and
`to_arguments` gives the command line of a worker that is started. To add an option is to add a
field, and to use it.

Entry points: `FleetWorkerOptions`, what `run` and `resume` hand on to the workers that they start;
`WorkerOptions`, what a worker takes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from ..flags import seconds, whole_number
from ..spec.device import parse_device_option
from ..spec.tracker_address import parse_track_option


@dataclass(frozen=True, kw_only=True)
class FleetWorkerOptions:
    """How each worker of a fleet works.

    Attributes:
        threads: CPU threads of a training.
        lease_seconds: Seconds without a heartbeat until another worker takes a slot over.
        device: What to train on, of the kind that the study's spec says; None for the spec's own.
        checkpoints: Folder for checkpoints; None for the usual one.
        workers_per_gpu: Workers that a GPU is meant for; each plans with its part of the memory.
        track: Trackers that are told of every trial, besides the spec's own.
    """

    threads: Annotated[
        int,
        typer.Option(
            "--threads",
            parser=whole_number("--threads", 1, 1024),
            metavar="N",
            help="CPU threads of each worker; small networks gain nothing from more.",
        ),
    ] = 1
    lease_seconds: Annotated[
        float,
        typer.Option(
            "--lease",
            parser=seconds("--lease", 1.0),
            metavar="SECONDS",
            help="Seconds without a heartbeat until a trial is taken over.",
        ),
    ] = 30.0
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            parser=parse_device_option,
            metavar="DEVICE",
            help="What to train on, such as cuda:1; else what the spec says.",
            show_default=False,
        ),
    ] = None
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            "--checkpoints",
            help="Folder for checkpoints of interrupted trials; where workers share it, any of "
            "them goes on. Else WIDTHWISE_CHECKPOINTS, else beside a SQLite file or in your home.",
            file_okay=False,
            show_default=False,
        ),
    ] = None
    workers_per_gpu: Annotated[
        int,
        typer.Option(
            "--workers-per-gpu",
            parser=whole_number("--workers-per-gpu", 1, 64),
            metavar="K",
            help="Workers that share a GPU, each planning with its part of the memory; "
            "`--workers auto` starts so many on each.",
        ),
    ] = 1

    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            parser=parse_track_option,
            metavar="TRACKER",
            help="Tell it of every trial while it runs: tensorboard:FOLDER, mlflow:URI or "
            "wandb:PROJECT; may be given several times, besides the spec's own.",
            show_default=False,
        ),
    ] = None

    def to_arguments(self) -> list[str]:
        """Return the arguments that give these options to `widthwise worker`."""
        hints = get_type_hints(type(self), include_extras=True)
        arguments: list[str] = []
        for option in fields(self):
            given = getattr(self, option.name)
            values = given if isinstance(given, list) else [] if given is None else [given]
            for value in values:
                # Within `Annotated` the first argument of typer.Option is the flag.
                flag = hints[option.name].__metadata__[0].default
                # A worker may run in another folder.
                arguments += [flag, str(value.absolute() if isinstance(value, Path) else value)]
        return arguments


@dataclass(frozen=True, kw_only=True)
class WorkerOptions(FleetWorkerOptions):
    """How a worker process works, whatever it serves.

    Attributes:
        grace_seconds: Seconds that a training may go on once a stop was asked for.
        parent_pid: Process whose end is a request to stop; None for none.
    """

    grace_seconds: Annotated[
        float,
        typer.Option(
            "--grace",
            parser=seconds("--grace", 0.0),
            metavar="SECONDS",
            help="Seconds that a training may go on after a stop.",
        ),
    ] = 25.0
    parent_pid: Annotated[
        int | None,
        typer.Option("--parent", parser=whole_number("--parent", 1, 2**31 - 1), hidden=True),
    ] = None
