"""The learning curve: the recommended widths, and twice them, on growing shares of the rows.

Entry point: `learning_curve`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from ...objectives.data.split import max_train_rows, share_rows
from ...objectives.data.streams.source import BatchData
from ...storage.database.database import Database
from ..command import format_command
from ..errors import SpecError
from ..fleet.worker_fleet import Launcher
from ..follow_up_kind import SHARE_KEY, FollowUpKind
from ..report.experiments.experiment_run import ExperimentRun, read_runs
from ..report.experiments.refinement_axes import setting_key
from ..report.experiments.share_table import ShareRow, ShareTable, judge_shares
from ..worker.options import FleetWorkerOptions
from .follow_up import PlannedTrial, open_follow_up, run_planned
from .subject import Subject, load_subject, shared_options

AUTO_SHARES = (0.1, 0.25, 0.5, 1.0)
"""Shares where none are given."""

_NARROW, _WIDE = "recommended", "twice the width"


def learning_curve(
    database: Database,
    name: str,
    shares: Sequence[float] | None,
    options: FleetWorkerOptions,
    console: Console,
    *,
    at: Mapping[str, int] | None = None,
    seeds: int = 3,
    worker_count: int = 1,
    launcher: Launcher = Launcher.LOCAL,
) -> ShareTable:
    """Train what is not known of the curve, and return it.

    Args:
        database: Where the study is.
        name: The study's name.
        shares: Of the training rows; None for `AUTO_SHARES`.
        options: How each worker works.
        console: Where progress is written.
        at: Widths instead of those recommended.
        seeds: Trainings of each point.
        worker_count: Workers to start at most.
        launcher: Where.

    Raises:
        SpecError: A share has too few rows to learn from.
        FollowUpStopped: The workers ended early; the same call goes on.
        SearchError: See `load_subject`.
    """
    subject = load_subject(database, name, at)
    data = subject.loop_objective("sweep --rows").data
    if isinstance(data, BatchData):
        raise SpecError(
            f"--rows: the data of study {name} comes in batches, of which no share can be drawn; "
            "give a data function that returns arrays, or compare data sets of several sizes as "
            "studies of their own"
        )
    all_rows = max_train_rows(data, subject.problem.settings.folds)
    chosen = sorted(set(shares or AUTO_SHARES))
    smallest = share_rows(all_rows, chosen[0])
    classes = data.class_count if data.task == "classification" else 1
    if smallest < 2 * classes:
        raise SpecError(
            f"--rows: {chosen[0]:g} of {all_rows:,} training rows are {smallest}, too few to learn "
            f"from; expected shares of {2 * classes} rows or more"
        )
    wider, note = _twice_as_wide(subject)
    seed_list = subject.seeds(seeds)
    candidates = {_NARROW: subject.widths} | ({} if wider is None else {_WIDE: wider})
    planned = [
        PlannedTrial(widths=widths, seed=seed, origin=label, overrides={SHARE_KEY: share})
        for share in chosen
        for label, widths in candidates.items()
        for seed in seed_list
    ]
    follow_up = open_follow_up(
        database,
        subject.evidence.row,
        FollowUpKind.LEARNING_CURVE,
        spec_changes=subject.spec_changes,
    )
    records = run_planned(
        database,
        follow_up,
        planned,
        options,
        console,
        worker_count=worker_count,
        launcher=launcher,
        command=format_command(
            "sweep",
            name,
            options=[
                "--rows",
                "auto" if shares is None else ",".join(map(_as_given, shares)),
                *shared_options(at or {}, seeds),
            ],
        ),
    )
    runs = {
        (setting_key(run.widths, run.overrides), run.seed): run
        for run in read_runs(records, follow_up.name)
    }

    def runs_of(widths: Mapping[str, int] | None, share: float) -> list[ExperimentRun]:
        if widths is None:
            return []
        key = setting_key(widths, {SHARE_KEY: share})
        return [runs[key, seed] for seed in seed_list if (key, seed) in runs]

    return judge_shares(
        [
            ShareRow(
                share=share,
                rows=share_rows(all_rows, share),
                runs=runs_of(subject.widths, share),
                wider_runs=runs_of(wider, share),
            )
            for share in chosen
        ],
        study=name,
        follow_up=follow_up.name,
        metric=subject.evidence.spec.metric,
        goal=subject.evidence.goal,
        widths=subject.widths,
        wider=wider,
        known_noise=subject.known_noise,
        notes=[] if note is None else [note],
    )


def _as_given(share: float) -> str:
    """Return a share as the command line takes it: nine decimals at most, no exponent."""
    return f"{share:.9f}".rstrip("0").rstrip(".")


def _twice_as_wide(subject: Subject) -> tuple[Mapping[str, int] | None, str | None]:
    """Return the widths doubled, as far as ranges and constraints go; or why they are not tried."""
    space = subject.evidence.space
    row = space.snap_down({name: 2 * width for name, width in subject.widths.items()})
    wider = None if row is None else space.as_mapping(row)
    if wider is None or all(wider[name] <= width for name, width in subject.widths.items()):
        return None, "The widths are at the top of their ranges: nothing wider was trained."
    costs = subject.problem.exact_costs(wider)
    broken = subject.violated_limits(costs)
    if broken:
        return None, f"Twice the width breaks the limit {', '.join(broken)}: not trained."
    return wider, None
