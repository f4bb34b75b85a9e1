"""The verb that shows what is going on: `status`, of studies, workers and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from ..units import show_duration
from .options import Json, Storage, open_database, stdout, table, write_json


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("status")(status)


def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="All studies if left out.")
    ] = None,
    *,
    events: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show the newest N events of each study too.")
    ] = 0,
    workers: Annotated[
        bool, typer.Option("--workers", help="Show the workers alone, whatever they serve.")
    ] = False,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Show how far studies are, who works on them, and what happened last."""
    from ...storage.study.study import list_studies, load_study
    from ..report.status import serving, state

    database = open_database(storage)
    rows = list_studies(database) if name is None else [load_study(database, name)]
    there = serving(database, name)
    states = [] if workers else [state(database, row, last=events) for row in rows]
    if as_json:
        write_json(there if workers else states if name is None else states[0])
        return
    console = stdout()
    if states:
        console.print(table(*_studies(states)))
    elif not workers:
        console.print("no studies here yet; `widthwise run` starts one", markup=False)
    if there:
        console.print(table(*_workers(there)))
    elif workers or states:
        console.print("no workers; `widthwise worker` starts one", markup=False)
    for one in states:
        for event in one.get("events", ()):
            console.print(_line(one["study"], event), markup=False, soft_wrap=True)


def _studies(states: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    names = list(states[0]["trials"])
    return ["study", "status", "priority", "budget", *names, "paused"], [
        [
            one["study"],
            _status(one),
            str(one["priority"]),
            str(one["budget"]),
            *(str(one["trials"][name]) for name in names),
            str(one["paused"]),
        ]
        for one in states
    ]


def _status(one: Mapping[str, Any]) -> str:
    """The study's status in a word; one whose budget is spent has nothing left to open."""
    spent = not one["trials"]["running"] and not one["trials"]["waiting"]
    return "finished" if spent else str(one["status"])


def _workers(there: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    return ["worker", "device", "study", "activity", "trials", "heartbeat"], [
        [
            one["worker"],
            one["device"] or "—",
            one["study"] or "—",
            one["activity"],
            _shown(one["trials"]) or "—",
            f"{show_duration(one['age_seconds'])} ago" + ("" if one["alive"] else ": lost"),
        ]
        for one in there
    ]


def _shown(numbers: Sequence[int], most: int = 4) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(map(str, numbers[:most])) + more


def _line(study: str, event: Mapping[str, Any]) -> str:
    """An event in words: when, what, of which trial, by whom, and what else is known."""
    at = datetime.fromtimestamp(event["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    trial = "" if event["trial"] is None else f" trial {event['trial']}"
    worker = f" by {event['worker']}" if event["worker"] else ""
    detail = ", ".join(f"{key}: {_last_line(value)}" for key, value in event["detail"].items())
    return f"{at} {study}{trial} {event['kind']}{worker}" + (f" ({detail})" if detail else "")


def _last_line(value: Any) -> str:
    """A traceback's message; anything else as it is."""
    return (str(value).strip().splitlines() or [""])[-1]
