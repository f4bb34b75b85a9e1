"""The verbs that spend budget: `run`, `resume` and `worker`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SpecError
from .options import (
    Json,
    Storage,
    StudyName,
    Workers,
    open_database,
    print_report,
    stderr,
    stdout,
    whole_number,
    write_json,
)
from .study_options import (
    Data,
    Epochs,
    Family,
    MaxFlops,
    MaxParameters,
    MaxTrainMemory,
    Metric,
    Name,
    Seed,
    SpecOrData,
    Target,
    Task,
    Trials,
    Wanted,
    quick_options,
)

if TYPE_CHECKING:
    from ..fleet.run import Place
    from ..worker.serve import Terms

Threads = Annotated[
    int,
    typer.Option(min=1, help="CPU threads of each worker; small networks gain nothing from more."),
]
Lease = Annotated[
    float,
    typer.Option(min=1.0, help="Seconds without a heartbeat until a trial is taken over."),
]
Checkpoints = Annotated[
    Path | None,
    typer.Option(
        help="Folder for checkpoints of interrupted trials; where workers share it, any of them "
        "goes on. Else WIDTHWISE_CHECKPOINTS, else beside a SQLite file or in your home.",
        file_okay=False,
        show_default=False,
    ),
]
On = Annotated[
    str,
    typer.Option(help="Where the workers are started: local, or ray for Ray to place them."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("run")(run)
    app.command("resume")(resume)
    app.command("worker")(worker)
    app.command("submit")(submit)


def run(
    spec: SpecOrData = None,
    *,
    data: Data = None,
    target: Target = None,
    task: Task = None,
    metric: Metric = None,
    family: Family = "mlp",
    epochs: Epochs = 20,
    max_flops: MaxFlops = None,
    max_parameters: MaxParameters = None,
    max_train_memory: MaxTrainMemory = None,
    trials: Trials = None,
    name: Name = None,
    seed: Seed = None,
    workers: Workers = 1,
    threads: Threads = 1,
    lease: Lease = 30.0,
    checkpoints: Checkpoints = None,
    on: On = "local",
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Search widths: from a spec file, or for a data file without any spec."""
    place = _place(on)
    quick = quick_options(
        "run", spec, data, target=target, task=task, metric=metric, family=family, epochs=epochs
    )
    wanted = Wanted(
        spec=spec,
        quick=quick,
        name=name,
        trials=trials,
        seed=seed,
        flops=max_flops,
        parameters=max_parameters,
        train_memory=max_train_memory,
    )
    study = wanted.start(storage).name
    _work(study, _terms(lease, threads, checkpoints), workers, place, storage, as_json)


def resume(
    name: StudyName,
    *,
    trials: Annotated[
        str | None,
        typer.Option("--trials", "-n", help='"+20" adds twenty to the budget, "60" makes it 60.'),
    ] = None,
    workers: Workers = 1,
    threads: Threads = 1,
    lease: Lease = 30.0,
    checkpoints: Checkpoints = None,
    on: On = "local",
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Go on with a study, also a paused or cancelled one: finish its budget, or extend it first."""
    from ..study import budget_change, extend

    place = _place(on)
    change = budget_change(trials)
    extend(open_database(storage), name, change, stderr())
    _work(name, _terms(lease, threads, checkpoints), workers, place, storage, as_json)


def worker(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A study; every open one in turn if left out."),
    ] = None,
    *,
    storage: Storage = None,
    lease: Lease = 30.0,
    threads: Threads = 1,
    grace: Annotated[
        float, typer.Option(min=0.0, help="Seconds that a training may go on after a stop.")
    ] = 25.0,
    checkpoints: Checkpoints = None,
    idle: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Seconds without work after which a worker without a study ends; else it stays.",
            show_default=False,
        ),
    ] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Work on a study until its budget is spent, or on all that come; start as many as you like."""
    from ..worker.pool import serve_pool
    from ..worker.serve import serve

    terms = _terms(lease, threads, checkpoints, grace=grace, parent=parent)
    database = open_database(storage)
    if name is None:
        serve_pool(database, terms, stderr(), idle=idle)
        return
    if idle is not None:
        raise SpecError(
            f"--idle goes with a worker without a study: leave {name} out, since a worker of one "
            "study ends with its budget"
        )
    serve(database, name, terms, stderr())


def _place(on: str) -> Place:
    places: dict[str, Place] = {"local": "local", "ray": "ray"}
    if on in places:
        return places[on]
    raise SpecError(f'--on: found "{on}", expected local or ray')


def _terms(
    lease: float,
    threads: int,
    checkpoints: Path | None,
    *,
    grace: float = 25.0,
    parent: int | None = None,
) -> Terms:
    from ..worker.serve import Terms

    folder = None if checkpoints is None else str(checkpoints.absolute())
    return Terms(lease=lease, threads=threads, grace=grace, checkpoints=folder, parent=parent)


def _work(
    name: str, terms: Terms, workers: int, on: Place, storage: str | None, as_json: bool
) -> None:
    """Run workers on a study until they end, then report."""
    from ..fleet.run import attend
    from ..report.status import summarise

    database = open_database(storage)
    code = attend(database, name, terms, stderr(), workers=workers, on=on)
    report = summarise(database, name)
    if as_json:
        write_json(report)
    else:
        print_report(stdout(), report)
    if code:
        raise SystemExit(code)
    command = "widthwise" if shutil.which("widthwise") else sys.argv[0]
    stderr().print(
        f"dashboard: {command} dashboard {name}\nmore trials: {command} resume {name} --trials +20",
        markup=False,
    )


def submit(
    spec: SpecOrData = None,
    *,
    data: Data = None,
    target: Target = None,
    task: Task = None,
    metric: Metric = None,
    family: Family = "mlp",
    epochs: Epochs = 20,
    max_flops: MaxFlops = None,
    max_parameters: MaxParameters = None,
    max_train_memory: MaxTrainMemory = None,
    trials: Trials = None,
    name: Name = None,
    seed: Seed = None,
    priority: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Workers without a study of their own serve the greatest first; 0 if never said. "
            "Changes that of a study which is there.",
            show_default=False,
        ),
    ] = None,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Put a study into the database for the workers that stand by, and return."""
    from ...storage.study.control import GREATEST_PRIORITY
    from ...storage.study.study import load_study
    from ..report.status import state

    urgency = None
    if priority is not None:
        urgency = whole_number(
            "--priority", priority, least=-GREATEST_PRIORITY, most=GREATEST_PRIORITY
        )
    quick = quick_options(
        "submit", spec, data, target=target, task=task, metric=metric, family=family, epochs=epochs
    )
    wanted = Wanted(
        spec=spec,
        quick=quick,
        name=name,
        trials=trials,
        seed=seed,
        flops=max_flops,
        parameters=max_parameters,
        train_memory=max_train_memory,
    )
    study = wanted.start(storage, priority=urgency).name
    database = open_database(storage)
    row = load_study(database, study)
    if as_json:
        write_json(state(database, row))
        return
    what_next = (
        "every `widthwise worker` that runs without a name serves it"
        if row.status == "open"
        else f"it is {row.status}: `widthwise continue {study}` opens it"
    )
    stdout().print(
        f"{study} is submitted with priority {row.priority}; {what_next}; "
        f"`widthwise status {study}` shows how far it is",
        markup=False,
    )
