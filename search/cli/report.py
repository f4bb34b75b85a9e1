"""The verbs that show what a study found: `best`, `report` and `dashboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import SpecError
from .options import Json, Storage, StudyName, open_database, stderr, stdout, write_json


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("best")(best)
    app.command("report")(report)
    app.command("dashboard")(dashboard)


def best(name: StudyName, *, storage: Storage = None, as_json: Json = False) -> None:
    """Show the best trial so far, and the recommended one."""
    from ..report.status import summarise
    from ..report.summary import pick_line, show_cost, show_widths

    found = summarise(open_database(storage), name)
    if found["best"] is None:
        raise SpecError(f"{name}: no trial is complete yet; `widthwise status {name}` shows them")
    if as_json:
        shown = {key: found[key] for key in ("study", "goal", "recommended", "pick", "verdict")}
        write_json({**found["best"], **shown})
        return
    console = stdout()
    for title in ("best", "recommended"):
        entry: dict[str, Any] = found[title]
        metric = entry["metric"]
        console.print(
            f"{title}: {show_widths(entry['widths'])}  "
            f"{metric['name']} {metric['value']:.4f} (trial {entry['trial']})",
            markup=False,
        )
        console.print(
            "  "
            + ", ".join(f"{key} {show_cost(key, value)}" for key, value in entry["costs"].items()),
            markup=False,
        )
    console.print(found["verdict"], markup=False)
    picked = pick_line(found)
    if picked is not None:
        console.print(picked, markup=False)


def report(
    name: StudyName,
    *,
    storage: Storage = None,
    as_json: Json = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")
    ] = None,
) -> None:
    """Write a study's report: Markdown, or JSON with --json."""
    import json
    import sys

    from ..report.status import summarise
    from ..report.summary import markdown

    found = summarise(open_database(storage), name)
    text = json.dumps(found, indent=2, allow_nan=False) + "\n" if as_json else markdown(found)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--output: {output} cannot be written: {error.strerror}") from error


def dashboard(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Study to link to.")] = None,
    *,
    storage: Storage = None,
    host: Annotated[str, typer.Option(help="Address to listen on; it has no login.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8080,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let the page change and delete studies.")
    ] = False,
) -> None:
    """Serve optuna-dashboard, constraints and feasibility shown truthfully, until Ctrl-C."""
    from ...storage.projection.dashboard import make_server
    from ...storage.study.study import load_study

    database = open_database(storage)
    path = "" if name is None else f"studies/{load_study(database, name).optuna_study_id}"
    with make_server(database, host=host, port=port, writable=writable) as server:
        stderr().print(f"dashboard: {server.url}{path} (Ctrl-C ends it)", markup=False)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            stderr().print("dashboard closed", markup=False)
