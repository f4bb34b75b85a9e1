"""The verb that confirms a study's answer by long trainings with fresh seeds: `confirm`."""

from __future__ import annotations

from typing import Annotated

import typer

from ...flags import whole_number
from ...followup.confirm import MAX_SEEDS, MAX_SPREAD, ConfirmationOptions, confirm_study
from ...spec.proxy_section import MAX_EPOCHS
from ...worker.options import FleetWorkerOptions
from ..options import (
    JsonOption,
    LauncherOption,
    StorageOption,
    StudyArgument,
    WorkersOption,
    expand_options,
    open_database,
    stderr,
    stdout,
    write_json,
)
from ..printed_report import print_report


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("confirm")(expand_options(confirm))


def confirm(
    name: StudyArgument,
    *,
    workers: WorkersOption = 1,
    seeds: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--seeds", 1, MAX_SEEDS),
            metavar="MOST",
            help="Fresh seeds of a contender at most; else 10, and only where it stays open.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--epochs", 1, MAX_EPOCHS),
            metavar="N",
            help="Epochs of a training at most; else three times those of the search.",
            show_default=False,
        ),
    ] = None,
    spread: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--spread", 0, MAX_SPREAD),
            metavar="N",
            help="Confirm N more trials, from the worst to the best: how far can short trainings "
            "be trusted?",
            show_default=False,
        ),
    ] = None,
    options: FleetWorkerOptions,
    on: LauncherOption = "local",
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the recommended network and its rivals long, with fresh seeds, and judge them."""
    from ...fleet.worker_count import resolve_worker_count
    from ...fleet.worker_fleet import Launcher
    from ...report.confirmation.saving import stated_joules_per_flop
    from ...report.status import load_summary

    launcher = Launcher.parse(on)
    stated_joules_per_flop()  # the report at the end needs it
    database = open_database(storage)
    workers = resolve_worker_count(workers, database, name, options, stderr(), launcher)
    confirm_study(
        database,
        name,
        ConfirmationOptions(most_seeds=seeds, epochs=epochs, spread=spread),
        options,
        stderr(),
        worker_count=workers,
        launcher=launcher,
    )
    summary = load_summary(database, name)
    if as_json:
        write_json(summary.to_json())
    else:
        print_report(stdout(), summary)
