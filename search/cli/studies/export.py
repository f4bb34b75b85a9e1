"""The verb that brings a study's network home: `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import SpecError
from ..options import (
    JsonOption,
    StorageOption,
    StudyArgument,
    TrialOption,
    WidthsOption,
    open_database,
    parse_widths,
    stdout,
    write_json,
)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("export")(export)


def export(
    name: StudyArgument,
    *,
    out: Annotated[
        Path, typer.Option("--out", help="The folder; made if it is not there.", show_default=False)
    ],
    widths: WidthsOption = None,
    trial: TrialOption = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the final training kept its weights in; else as `train` has it.",
            show_default=False,
        ),
    ] = None,
    training: Annotated[
        int | None,
        typer.Option(
            help="Number of the final training of these widths; else the longest.",
            show_default=False,
        ),
    ] = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the recommended network as files: widths, model, weights and ONNX."""
    from ...export.export import export_network
    from ...followup.subject import trial_widths

    if widths is not None and trial is not None:
        raise SpecError("found both of --widths and --trial: give one of them")
    database = open_database(storage)
    chosen = parse_widths("--widths", widths or "", smallest=0)
    if trial is not None:
        chosen = trial_widths(database, name, trial)
    exported = export_network(database, name, out, chosen, checkpoints=checkpoints, number=training)
    if as_json:
        write_json(exported.to_json())
        return
    from ...units import format_widths

    console = stdout()
    console.print(
        f"{format_widths(exported.widths)} of {name} in {out}: {', '.join(exported.files)}.",
        style="bold",
        markup=False,
    )
    for note in exported.notes:
        console.print(note, markup=False)
    if exported.program:
        console.print("\nThis loads it:\n", markup=False)
        console.print(exported.program, markup=False, highlight=False, soft_wrap=True)
