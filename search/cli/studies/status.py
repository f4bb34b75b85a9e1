"""The verb that shows what is going on: `status`, of studies, workers and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from ...command import format_command
from ...flags import whole_number
from ...report.metric_format import format_metric
from ...units import format_duration
from ..options import (
    JsonOption,
    StorageOption,
    open_database,
    parse_name,
    stdout,
    write_json,
)
from ..tables import print_table

MAX_EVENTS = 1_000_000
"""Events of a study that are shown at most."""


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("status")(status)


def status(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", parser=parse_name, help="All studies if left out."),
    ] = None,
    *,
    events: Annotated[
        int,
        typer.Option(
            parser=whole_number("--events", 0, MAX_EVENTS),
            metavar="N",
            help="Show the newest N events of each study too.",
        ),
    ] = 0,
    workers: Annotated[
        bool, typer.Option("--workers", help="Show the workers alone, whatever they serve.")
    ] = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far studies are, who works on them, and what happened last."""
    from ....storage.study.study import list_follow_ups, list_studies, load_study
    from ...report.status import study_status, worker_statuses

    database = open_database(storage)
    if name is None:
        rows = list_studies(database)
    else:
        row = load_study(database, name)
        rows = [row, *list_follow_ups(database, row)]
    worker_rows = worker_statuses(database, None if name is None else [row.name for row in rows])
    states = [] if workers else [study_status(database, row, event_count=events) for row in rows]
    if as_json:
        if name is not None and states:
            states[0]["follow_ups"] = states[1:]
        write_json(worker_rows if workers else states if name is None else states[0])
        return
    console = stdout()
    if states:
        print_table(console, *_study_table(states))
        for study_state in states:
            if (best := study_state["best"]) and best["reported"]:
                console.print(_best_line(study_state["study"], best), markup=False)
            if useless := study_state["no_better_than_constant"]:
                console.print(
                    f"{study_state['study']}: {useless} of its trials are no better than a "
                    "constant prediction",
                    markup=False,
                )
            if reason := study_state["untrained_reason"]:
                insist = format_command("resume", study_state["study"], options=["--untrained-ok"])
                console.print(
                    f"{study_state['study']} was stopped. {reason} Or insist: `{insist}`",
                    markup=False,
                )
    elif not workers:
        console.print("no studies here yet; `widthwise run` starts one", markup=False)
    if worker_rows:
        print_table(console, *_worker_table(worker_rows))
    elif workers or states:
        console.print("no workers; `widthwise worker` starts one", markup=False)
    for study_state in states:
        for event in study_state.get("events", ()):
            console.print(_format_event(study_state["study"], event), markup=False, soft_wrap=True)


def _study_table(states: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    names = list(states[0]["trials"])
    return ["study", "status", "priority", "budget", *names, "paused"], [
        [
            study_state["study"],
            _status_word(study_state),
            str(study_state["priority"]),
            str(study_state["budget"]),
            *(str(study_state["trials"][name]) for name in names),
            str(study_state["paused"]),
        ]
        for study_state in states
    ]


def _best_line(study: str, best: Mapping[str, Any]) -> str:
    """Return the best trial so far with what is reported beside its metric."""
    figures = {best["metric"]["name"]: best["metric"]["value"], **best["reported"]}
    listed = ", ".join(f"{name} {format_metric(value)}" for name, value in figures.items())
    return f"{study}: best so far trial {best['trial']}, {listed}"


def _status_word(study_state: Mapping[str, Any]) -> str:
    """Return the study's status in a word; one whose budget is spent has nothing left to open."""
    if study_state["untrained_reason"]:
        return "not trained"
    spent = not study_state["trials"]["running"] and not study_state["trials"]["waiting"]
    return "finished" if spent else str(study_state["status"])


def _worker_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    return ["worker", "device", "study", "activity", "trials", "heartbeat"], [
        [
            row["worker"],
            row["device"] or "—",
            row["study"] or "—",
            row["activity"],
            _format_numbers(row["trials"]) or "—",
            f"{format_duration(row['age_seconds'])} ago" + ("" if row["alive"] else ": lost"),
        ]
        for row in rows
    ]


def _format_numbers(numbers: Sequence[int], limit: int = 4) -> str:
    suffix = f" and {len(numbers) - limit} more" if len(numbers) > limit else ""
    return ", ".join(map(str, numbers[:limit])) + suffix


def _format_event(study: str, event: Mapping[str, Any]) -> str:
    """Return an event in words: when, what, of which trial, by whom, and what else is known."""
    timestamp = datetime.fromtimestamp(event["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    trial = "" if event["trial"] is None else f" trial {event['trial']}"
    worker = f" by {event['worker']}" if event["worker"] else ""
    detail = ", ".join(f"{key}: {_last_line(value)}" for key, value in event["detail"].items())
    return f"{timestamp} {study}{trial} {event['kind']}{worker}" + (
        f" ({detail})" if detail else ""
    )


def _last_line(value: Any) -> str:
    """Return a traceback's message; anything else as it is."""
    return (str(value).strip().splitlines() or [""])[-1]
