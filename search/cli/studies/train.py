"""The verb that trains the recommended network and keeps its weights: `train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import SpecError
from ...flags import whole_number
from ...spec.proxy_section import MAX_EPOCHS
from ...worker.options import FleetWorkerOptions
from ..options import (
    JsonOption,
    LauncherOption,
    StorageOption,
    StudyArgument,
    TrialOption,
    WidthsOption,
    expand_options,
    open_database,
    parse_widths,
    stderr,
    stdout,
    write_json,
)

if TYPE_CHECKING:
    from ...followup.final_training import FinalTraining


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("train")(expand_options(train))


def train(
    name: StudyArgument,
    *,
    widths: WidthsOption = None,
    trial: TrialOption = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--epochs", 1, MAX_EPOCHS),
            metavar="N",
            help="Passes over the rows; else as many as the confirmation's trainings had at their "
            "best epoch.",
            show_default=False,
        ),
    ] = None,
    options: FleetWorkerOptions,
    on: LauncherOption = "local",
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the recommended network on training and validation rows, and keep its weights."""
    from ...fleet.worker_fleet import Launcher
    from ...followup.final_training import TrainingRequest, train_final
    from ...followup.subject import trial_widths

    launcher = Launcher.parse(on)
    if widths is not None and trial is not None:
        raise SpecError("found both of --widths and --trial: give one of them")
    database = open_database(storage)
    chosen = parse_widths("--widths", widths or "", smallest=0)
    if trial is not None:
        chosen = trial_widths(database, name, trial)
    request = TrainingRequest(widths=chosen, epochs=epochs)
    training = train_final(database, name, request, options, stderr(), launcher=launcher)
    write_json(training.to_json()) if as_json else _print_training(training)


def _print_training(training: FinalTraining) -> None:
    from ...command import format_command
    from ...report.metric_format import format_metric
    from ...units import format_widths

    console = stdout()
    judged = (
        "no test split judges it"
        if training.test is None
        else f"test {training.metric} {format_metric(training.test)}"
    )
    if training.train is not None:
        judged += f" ({format_metric(training.train)} on rows it was trained on)"
    epochs = "epoch" if training.epochs == 1 else "epochs"
    console.print(
        f"{format_widths(training.widths)}, {training.epochs:,} {epochs} in "
        f"{training.seconds:.3g} s: {judged}.",
        style="bold",
        markup=False,
    )
    console.print(f"Its weights: {training.weights}", markup=False)
    chosen = ",".join(f"{width}={value}" for width, value in training.widths.items())
    options = ["--widths", chosen, "--training", str(training.number), "--out", "DIR"]
    command = format_command("export", training.study, options=options)
    console.print(f"`{command}` writes the network with them.", markup=False)
