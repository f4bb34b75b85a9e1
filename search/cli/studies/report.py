"""The verbs that show what a study found: `best`, `report` and `dashboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...command import format_command
from ...errors import SpecError
from ...flags import whole_number
from ..options import (
    JsonOption,
    StorageOption,
    StudyArgument,
    open_database,
    parse_name,
    stderr,
    stdout,
    write_json,
)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("best")(best)
    app.command("report")(report)
    app.command("dashboard")(dashboard)


def best(
    name: StudyArgument, *, storage: StorageOption = None, as_json: JsonOption = False
) -> None:
    """Show the best trial so far, and the recommended one."""
    from ...report.answer_lines import answer_lines
    from ...report.status import load_summary
    from ...report.summary import cost_columns
    from ...units import format_cost, format_widths

    summary = load_summary(open_database(storage), name)
    answer, taken = summary.recommendation, summary.recommended
    if answer is None or taken is None:
        raise SpecError(
            f"{name}: no trial is complete yet; `{format_command('status', name)}` shows them"
        )
    if as_json:
        values = summary.to_json()
        keys = ("study", "goal", "recommended", "runner_up", "verdict", "verdict_text")
        write_json({**values["best"], **{key: values[key] for key in keys}})
        return
    console = stdout()
    console.print(summary.verdict_text, style="bold", markup=False)
    for line in answer_lines(summary):
        console.print(line, markup=False)
    titles = cost_columns(summary.limits)
    candidates = {format_widths(each.widths): each for each in (answer.best_observed, taken)}
    for widths, candidate in candidates.items():
        known = "never trained in the search"
        if candidate.trial is not None:
            known = f"{summary.metric} {candidate.value:.4f} in trial {candidate.trial.number}"
        costs = [
            f"{title} {format_cost(cost, candidate.costs[cost])}"
            for cost, title in titles.items()
            if cost in candidate.costs
        ]
        console.print(f"{candidate.label}: {widths}; {known}", markup=False)
        console.print("  " + ", ".join(costs), markup=False)


def report(
    name: StudyArgument,
    *,
    storage: StorageOption = None,
    as_json: JsonOption = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write report.html, report.md, report.json and figures to a folder."
        ),
    ] = None,
) -> None:
    """Write a study's report: Markdown, JSON with --json, or with --out a page with figures."""
    import json
    import sys

    from ...report.evidence import load_evidence
    from ...report.figures.view import StudyView
    from ...report.page.document import compose
    from ...report.page.markdown import markdown
    from ...report.summary import build_summary

    if out is not None and (as_json or output is not None):
        other = "--json" if as_json else "--output"
        raise SpecError(
            f"--out writes Markdown, JSON and a page into a folder; found {other} as well, "
            "expected one of the two"
        )
    evidence = load_evidence(open_database(storage), name)
    if out is not None:
        from ...report.page.write import write_report

        paths = write_report(evidence, out)
        pictures = len([path for path in paths if path.suffix == ".png"])
        stderr().print(f"{len(paths)} files in {out}, {pictures} of them figures", markup=False)
        stdout().print(str(paths[0]), markup=False, soft_wrap=True)
        return
    summary = build_summary(evidence)
    text = (
        json.dumps(summary.to_json(), indent=2, allow_nan=False) + "\n"
        if as_json
        else markdown(compose(StudyView(evidence=evidence, summary=summary), []))
    )
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--output: {output} cannot be written: {error.strerror}") from error


def dashboard(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", parser=parse_name, help="Study to link to.")
    ] = None,
    *,
    storage: StorageOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on; it has no login.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            parser=whole_number("--port", 0, 65535), metavar="N", help="0 picks a free one."
        ),
    ] = 8080,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let the page change and delete studies.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A further name or address that browsers reach it by, such as a proxy's; repeat "
            "it for several.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve optuna-dashboard, constraints and feasibility shown truthfully, until Ctrl-C."""
    from ....storage.projection.dashboard import make_server
    from ....storage.projection.host_check import is_loopback, parse_host
    from ....storage.study.study import load_study
    from ...report.page.annotations import ReportAnnotations

    allowed_hosts = allowed_host or []
    for name_or_address in allowed_hosts:
        if parse_host(name_or_address) is None:
            raise SpecError(
                f'--allowed-host: found "{name_or_address}", expected the name or address alone '
                "that a browser shows between http:// and the next /, such as studies.example.org"
            )
    database = open_database(storage)
    path = "" if name is None else f"studies/{load_study(database, name).optuna_study_id}"
    with (
        ReportAnnotations(database) as annotations,
        make_server(
            database,
            host=host,
            port=port,
            annotations=annotations,
            writable=writable,
            allowed_hosts=allowed_hosts,
        ) as server,
    ):
        if not is_loopback(host):
            rights = "read, change and delete" if writable else "read"
            stderr().print(
                f"warning: other machines can reach {host or 'every address'}, and the dashboard "
                f"has no login: whoever does may {rights} every study; --host 127.0.0.1 keeps it "
                "to this machine",
                markup=False,
            )
        stderr().print(f"dashboard: {server.url}{path} (Ctrl-C ends it)", markup=False)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            stderr().print("dashboard closed", markup=False)
