"""The verb that hands a study to the workers that stand by: `submit`."""

from __future__ import annotations

from typing import Annotated

import typer

from .cli_options import Json, Storage, open_database, stdout, whole_number, write_json
from .cli_spec import (
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


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("submit")(submit)


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
    from ..storage.control import GREATEST_PRIORITY
    from ..storage.study import load_study
    from .standing import state

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
