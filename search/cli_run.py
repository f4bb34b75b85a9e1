"""The verbs that spend budget: `run`, `worker` and `resume`."""

from __future__ import annotations

import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from .cli_options import (
    Json,
    Storage,
    StudyName,
    Workers,
    open_database,
    print_report,
    stderr,
    stdout,
    write_json,
)
from .errors import SpecError

Trials = Annotated[
    int | None,
    typer.Option(
        "--trials", "-n", min=1, help="Budget in trainings, over all workers and resumes."
    ),
]

Threads = Annotated[
    int,
    typer.Option(min=1, help="CPU threads of each worker; small networks gain nothing from more."),
]
Lease = Annotated[
    float,
    typer.Option(min=1.0, help="Seconds without a heartbeat until a trial is taken over."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("run")(run)
    app.command("resume")(resume)
    app.command("worker")(worker)


def run(
    spec: Annotated[
        Path | None, typer.Argument(metavar="[SPEC]", help="A spec file, or --data instead.")
    ] = None,
    *,
    data: Annotated[
        str | None,
        typer.Option(help="Search an MLP for a .csv, .parquet or .npz file, or a built-in set."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of the data file to predict.")] = None,
    task: Annotated[
        str | None, typer.Option(help="classification or regression, where it is taken wrongly.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Metric, for --data.")] = None,
    family: Annotated[str, typer.Option(help="Family of models, for --data: mlp or cnn.")] = "mlp",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of a trial, for --data.")] = 20,
    max_flops: Annotated[
        str | None, typer.Option(help='Limit, forward per sample (= 2 × MACs): "2M".')
    ] = None,
    max_parameters: Annotated[str | None, typer.Option(help='Limit: "200k".')] = None,
    max_train_memory: Annotated[
        str | None, typer.Option(help='Limit, peak of a training step: "64 MiB".')
    ] = None,
    trials: Trials = None,
    name: Annotated[str | None, typer.Option(help="The study's name.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the study.")] = None,
    workers: Workers = 1,
    threads: Threads = 1,
    lease: Lease = 30.0,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Search widths: from a spec file, or for a data file without any spec."""
    from .parts import at
    from .quick import QuickOptions, overridden, quick_sections
    from .spec import parse_spec, read_toml
    from .studies import start

    limits = {
        "flops": max_flops,
        "parameters": max_parameters,
        "train_memory": max_train_memory,
    }
    if (spec is None) == (data is None):
        raise SpecError(
            "run needs a spec file or --data FILE"
            + (", not both" if spec is not None else "; `widthwise init` writes a spec file")
        )
    if spec is not None:
        given = {"--target": target, "--task": task, "--metric": metric}
        wrong = [flag for flag, value in given.items() if value is not None]
        if wrong:
            raise SpecError(f"{', '.join(wrong)} goes with --data: set it in {spec} instead")
        sections, source, base = read_toml(spec), str(spec), spec.resolve().parent
    else:
        assert data is not None
        options = QuickOptions(
            data=data, target=target, task=task, metric=metric, family=family, epochs=epochs
        )
        sections, source, base = quick_sections(options), "the command line", Path.cwd()
    sections = overridden(sections, name=name, trials=trials, seed=seed, limits=limits)
    parsed = parse_spec(sections, source=source)
    with nullcontext() if spec is None else at(source):
        started = start(parsed, base, lambda: open_database(storage, create=True), stderr())
    _work(started.name, workers, threads, lease, storage, as_json)


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
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Go on with a study: finish its budget, or extend it first."""
    from .studies import budget_change, extend

    change = budget_change(trials)
    extend(open_database(storage), name, change, stderr())
    _work(name, workers, threads, lease, storage, as_json)


def worker(
    name: StudyName,
    *,
    storage: Storage = None,
    lease: Lease = 30.0,
    threads: Threads = 1,
    grace: Annotated[
        float, typer.Option(min=0.0, help="Seconds that a training may go on after a stop.")
    ] = 25.0,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Work on a study until its budget is spent; start as many as you like, on any machine."""
    from .studies import serve

    serve(
        open_database(storage),
        name,
        lease=lease,
        threads=threads,
        grace=grace,
        parent=parent,
        console=stderr(),
    )


def _work(
    name: str, workers: int, threads: int, lease: float, storage: str | None, as_json: bool
) -> None:
    """Run workers on a study until they end, then report."""
    from .standing import summarise
    from .studies import attend

    database = open_database(storage)
    code = attend(database, name, workers, threads, lease, stderr())
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
