"""The verbs that experiment at the recommended widths: `sweep` and `refine`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import SpecError
from ...flags import parse_int_option, whole_number
from ...worker.options import FleetWorkerOptions
from ..options import (
    JsonOption,
    StorageOption,
    StudyArgument,
    WorkersOption,
    expand_options,
    open_database,
    parse_widths,
    stderr,
    stdout,
    write_json,
)
from ..tables import print_table

if TYPE_CHECKING:
    from ...report.experiments.controlled_table import ControlledTable
    from ...report.experiments.refinement import Refinement
    from ...report.experiments.share_table import ShareTable

_MAX_ENTRIES = 64
"""Rows of a table at most."""

_MAX_SEEDS = 100


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("sweep")(expand_options(sweep))
    app.command("refine")(expand_options(refine))


def sweep(
    name: StudyArgument,
    *,
    width: Annotated[
        str | None,
        typer.Option("--width", metavar="WIDTH", help="The width to move.", show_default=False),
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(
            metavar="64,128,…",
            help="What to set it to; else eight of its values, from the smallest to the largest.",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            metavar="0.1,0.25,…",
            help='Instead of a width: shares of the training rows to learn from; "auto" takes 0.1, '
            "0.25, 0.5 and 1.",
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="a=64,…", help="Widths instead of those recommended.", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            parser=whole_number("--seeds", 1, _MAX_SEEDS),
            metavar="K",
            help="Trainings of each row, from as many seeds.",
        ),
    ] = 3,
    workers: WorkersOption = 1,
    options: FleetWorkerOptions,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move one width, the rest fixed at what is recommended, and judge every row."""
    from ...fleet.worker_count import resolve_worker_count
    from ...followup.learning_curve import learning_curve
    from ...followup.sweep import SweepRequest
    from ...followup.sweep import sweep as run_sweep

    if (width is None) == (rows is None):
        found = "neither" if width is None else "both"
        raise SpecError(
            f"found {found} of --width and --rows: give --width WIDTH to move a width, or "
            "--rows auto for shares of the rows"
        )
    if rows is not None and values is not None:
        raise SpecError("--values goes with --width: give the shares as --rows 0.1,0.5,1")
    fixed = parse_widths("--at", at or "", smallest=0)
    if width is not None and width in fixed:
        raise SpecError(f"--at: {width} is the width that moves; leave it out")
    database = open_database(storage)
    workers = resolve_worker_count(workers, database, name, options, stderr())
    if rows is not None:
        curve = learning_curve(
            database,
            name,
            parse_shares(rows),
            options,
            stderr(),
            at=fixed,
            seeds=seeds,
            worker_count=workers,
        )
        write_json(curve.to_json()) if as_json else _print_curve(curve)
        return
    assert width is not None
    request = SweepRequest(width=width, values=_parse_values(values), at=fixed, seeds=seeds)
    table = run_sweep(database, name, request, options, stderr(), worker_count=workers)
    write_json(table.to_json()) if as_json else _print_table(table)


def refine(
    name: StudyArgument,
    *,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            "-n",
            parser=whole_number("--trials", 1, 100_000),
            metavar="N",
            help="Trainings at most; 100 if left out.",
            show_default=False,
        ),
    ] = None,
    workers: WorkersOption = 1,
    options: FleetWorkerOptions,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refine how the recommended widths are trained: rate, norm, schedule, regularisation."""
    from ...fleet.worker_count import resolve_worker_count
    from ...followup.refine import refine as run_refine

    database = open_database(storage)
    workers = resolve_worker_count(workers, database, name, options, stderr())
    found = run_refine(database, name, options, stderr(), trainings=trials, worker_count=workers)
    write_json(found.to_json()) if as_json else _print_refinement(found)


def parse_shares(text: str) -> list[float] | None:
    """Parse `0.1,0.5,1` as shares; None for `auto`.

    Raises:
        SpecError: One is no share above 0 and at most 1.
    """
    if text.strip() == "auto":
        return None
    parts = [part.strip() for part in text.strip().strip("[]").split(",") if part.strip()]
    if not 1 <= len(parts) <= _MAX_ENTRIES:
        raise SpecError(f'--rows: found "{text:.60}", expected shares such as 0.1,0.5,1 or auto')
    shares = []
    for part in parts:
        share = float(part) if re.fullmatch(r"[0-9]{0,3}\.?[0-9]{1,9}", part) else 0.0
        if not 0 < share <= 1:
            raise SpecError(
                f'--rows: found "{part:.60}", expected a share of the rows above 0 and at most 1, '
                "such as 0.25"
            )
        shares.append(share)
    return shares


def _parse_values(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not 1 <= len(parts) <= _MAX_ENTRIES:
        raise SpecError(
            f'--values: found "{text:.60}", expected up to {_MAX_ENTRIES} whole numbers such as '
            "64,128,256"
        )
    return [parse_int_option("--values", part, minimum=1, maximum=2**31 - 1) for part in parts]


def _print_table(table: ControlledTable) -> None:
    from ...report.experiments.controlled_table import cost_cells, quality_cells
    from ...report.summary import format_widths

    console = stdout()
    fixed = format_widths(table.fixed)
    title = f"{table.study}: {' = '.join(table.moved)} moved" + (f", {fixed} kept" if fixed else "")
    print_table(console, *quality_cells(table), title=title, long_columns=("verdict",))
    print_table(console, *cost_cells(table))
    _print_sentences(table.sentences(), len(table.seeds))


def _print_curve(curve: ShareTable) -> None:
    from ...report.summary import format_widths

    console = stdout()
    title = f"{curve.study}: shares of the rows at {format_widths(curve.widths)}"
    print_table(console, *curve.cells(), title=title)
    seeds = max((len(row.runs) for row in curve.rows), default=0)
    _print_sentences(curve.sentences(), seeds)


def _print_refinement(found: Refinement) -> None:
    from ...report.summary import format_widths

    console = stdout()
    title = f"{found.study}: refined at {format_widths(found.base.widths)}"
    print_table(console, *found.cells(), title=title)
    for index, sentence in enumerate(found.sentences()):
        console.print(sentence, markup=False, style="" if index else "bold")
    for line in found.spec_lines:
        console.print(f"    {line}", markup=False)


def _print_sentences(sentences: list[str], seeds: int) -> None:
    console = stdout()
    if seeds > 1:
        console.print(f"Figures are means over {seeds} seeds ± their standard error.", style="dim")
    for index, sentence in enumerate(sentences):
        console.print(sentence, markup=False, style="" if index else "bold")
