"""The sweep: one width moved, the rest fixed at what is recommended, every value trained.

All rows are trained with the same seeds, which no trial of the study had: a training that selected
the widths must not judge them. What an earlier sweep trained is taken from there; what breaks a
limit is shown with its costs and never trained.

Entry points: `SweepRequest`, `sweep`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console

from ...storage.database.database import Database
from ..command import format_command
from ..errors import SpecError
from ..fleet.worker_fleet import Launcher
from ..follow_up_kind import FollowUpKind, follow_up_name
from ..report.experiments.controlled_table import ControlledTable
from ..report.experiments.experiment_run import ExperimentRun, read_runs
from ..report.experiments.judge_rows import RowInput, judge_table
from ..space.constraints import Tie
from ..space.space import Space
from ..space.width import ABSENT
from ..worker.options import FleetWorkerOptions
from .follow_up import PlannedTrial, find_follow_up, open_follow_up, run_planned
from .subject import load_subject, shared_options

AUTO_VALUES = 8
"""Rows of a table for which no values are given: as many as one looks at."""


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """What to sweep.

    Attributes:
        width: The width to move; those tied to it move along.
        values: What it is set to; None for some of its values, from the smallest to the largest.
        at: Widths to keep instead of those recommended.
        seeds: Trainings of each row.
    """

    width: str
    values: Sequence[int] | None = None
    at: Mapping[str, int] = field(default_factory=dict)
    seeds: int = 3

    def command(self, name: str) -> str:
        """Return the command that asks for this of a study, as a person would give it."""
        options = ["--width", self.width]
        if self.values is not None:
            options += ["--values", ",".join(map(str, self.values))]
        options += shared_options(self.at, self.seeds)
        return format_command("sweep", name, options=options)


def sweep(
    database: Database,
    name: str,
    request: SweepRequest,
    options: FleetWorkerOptions,
    console: Console,
    *,
    worker_count: int = 1,
    launcher: Launcher = Launcher.LOCAL,
) -> ControlledTable:
    """Train the rows that are not known, and return the controlled table.

    Args:
        database: Where the study is.
        name: The study's name.
        request: What to sweep.
        options: How each worker works.
        console: Where progress is written.
        worker_count: Workers to start at most.
        launcher: Where.

    Raises:
        SpecError: There is no such width, or it cannot have such a value.
        FollowUpStopped: The workers ended early; the same call goes on.
        SearchError: See `load_subject`.
    """
    subject = load_subject(database, name, request.at, moved=request.width)
    space, row = subject.evidence.space, subject.evidence.row
    moved = _tied_widths(space, request.width)
    values = _allowed_values(space, subject.widths, moved, request)
    widths_of = {value: _moved(subject.widths, moved, value) for value in values}
    costs_of = {value: subject.problem.exact_costs(widths) for value, widths in widths_of.items()}
    seeds = subject.seeds(request.seeds)
    known = subject.known_runs([FollowUpKind.SWEEP])
    planned = [
        PlannedTrial(widths=widths, seed=seed, origin=f"{request.width}={value}")
        for value, widths in widths_of.items()
        if not subject.violated_limits(costs_of[value])
        for seed in seeds
        if _find(known, widths, seed) is None
    ]
    runs = list(known)
    detail = request.width
    if planned:
        follow_up = open_follow_up(
            database, row, FollowUpKind.SWEEP, detail=detail, spec_changes=subject.spec_changes
        )
        records = run_planned(
            database,
            follow_up,
            planned,
            options,
            console,
            worker_count=worker_count,
            launcher=launcher,
            command=request.command(name),
        )
        runs += read_runs(records, follow_up.name)
    found = find_follow_up(database, row, FollowUpKind.SWEEP, detail=detail)
    rows = [
        RowInput(
            value=value,
            widths=widths,
            costs=costs_of[value],
            violations=subject.violated_limits(costs_of[value]),
            runs=[run for seed in seeds if (run := _find(runs, widths, seed)) is not None],
        )
        for value, widths in widths_of.items()
    ]
    return judge_table(
        rows,
        study=name,
        follow_up=None if found is None else found.name,
        moved=moved,
        metric=subject.evidence.spec.metric,
        goal=subject.evidence.goal,
        known_noise=subject.known_noise,
        notes=_notes(rows, known, follow_up_name(name, FollowUpKind.SWEEP, detail)),
    )


def _tied_widths(space: Space, width: str) -> list[str]:
    """Return a width and all that must be equal to it, in the space's order."""
    group, grown = {width}, True
    while grown:
        ties = [set(tie.names) for tie in space.constraints if isinstance(tie, Tie)]
        larger = group.union(*(tie for tie in ties if tie & group))
        grown, group = larger != group, larger
    return [name for name in space.names if name in group]


def _moved(widths: Mapping[str, int], moved: Sequence[str], value: int) -> dict[str, int]:
    return {name: value if name in moved else width for name, width in widths.items()}


def _allowed_values(
    space: Space, widths: Mapping[str, int], moved: Sequence[str], request: SweepRequest
) -> list[int]:
    """Return the values to train, ascending.

    Raises:
        SpecError: One that was asked for is not in the space.
    """
    if request.values is not None:
        for value in request.values:
            if (reason := space.explain(_moved(widths, moved, value))) is not None:
                raise SpecError(f"--values: {value} cannot be trained: {reason}")
        return sorted(set(request.values))
    lattice = next(width for width in space.widths if width.name == request.width)
    allowed = [value for value in lattice.values if space.contains(_moved(widths, moved, value))]
    if len(allowed) <= AUTO_VALUES:
        return allowed
    positions = lattice.encode(allowed)
    if allowed[0] == ABSENT:
        positions[0] = -1.0 / (AUTO_VALUES - 1)  # beside the others, as far as they are apart
    targets = np.linspace(positions[0], positions[-1], AUTO_VALUES)
    nearest = {int(np.abs(positions - target).argmin()) for target in targets}
    # The present value takes the place of the one that is nearest to it.
    present = allowed.index(widths[request.width])
    if present not in nearest:
        inner = nearest - {0, len(allowed) - 1}
        nearest.remove(min(inner, key=lambda index: abs(positions[index] - positions[present])))
        nearest.add(present)
    return [allowed[index] for index in sorted(nearest)]


def _find(
    runs: Sequence[ExperimentRun], widths: Mapping[str, int], seed: int
) -> ExperimentRun | None:
    """Return the training of a row, by whichever study did it first."""
    return next(
        (
            run
            for run in runs
            if run.seed == seed and not run.overrides and dict(run.widths) == dict(widths)
        ),
        None,
    )


def _notes(rows: Sequence[RowInput], known: Sequence[ExperimentRun], follow_up: str) -> list[str]:
    """Return where rows come from that were not trained now."""
    done_before = {(run.study, run.number) for run in known}
    runs = [run for row in rows for run in row.runs]
    earlier = sum((run.study, run.number) in done_before for run in runs)
    if not earlier:
        return []
    others = sorted({run.study for run in runs} - {follow_up})
    where = f" ({', '.join(others)})" if others else ""
    if earlier == 1:
        return [f"1 training was done by an earlier sweep{where}."]
    return [f"{earlier} trainings were done by earlier sweeps{where}."]
