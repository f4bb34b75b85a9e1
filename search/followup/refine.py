"""Refining: the settings of a training at the recommended widths, one axis after the other.

What to train next follows from what was trained (`refinement_race`), so each round is planned, run,
and read again; an interruption anywhere costs nothing that was done.

Entry point: `refine`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from ...objectives.data.streams.source import BatchData
from ...objectives.model.objective import ModuleObjective
from ...storage.database.database import Database
from ...storage.ledger.queries import LedgerReader
from ..command import format_command
from ..errors import SearchError
from ..fleet.worker_fleet import Launcher
from ..follow_up_kind import FollowUpKind
from ..problem.seeds import experiment_seed
from ..report.experiments.experiment_run import ExperimentRun, read_runs
from ..report.experiments.refinement import Refinement, judge_refinement
from ..report.experiments.refinement_axes import (
    FOLDS,
    Axis,
    Setting,
    refinement_axes,
    setting_key,
    wider_axis,
)
from ..report.experiments.refinement_race import FIRST_SEEDS, MOST_SEEDS, RaceState, race
from ..worker.options import FleetWorkerOptions
from .follow_up import PlannedTrial, open_follow_up, run_planned
from .subject import Subject, load_subject

MAX_TRAININGS = 100
"""Trainings where no number is given: all axes take some 80."""

WIDER_FACTORS = (1.25, 1.5)
"""How much wider "slightly wider" is."""

_FIRST_FRESH_SEED = 1000
"""Index of the first seed that no choice has seen."""

_MAX_ROUNDS = 200
"""More rounds of trainings than any race has."""

_FOLDS_KEY, _REPEATS_KEY = "proxy.folds", "proxy.repeats"

_Train = Callable[[Sequence[PlannedTrial]], list[ExperimentRun]]
"""Trains what is planned, and returns all trainings of the refinement."""


def refine(
    database: Database,
    name: str,
    options: FleetWorkerOptions,
    console: Console,
    *,
    trainings: int | None = None,
    worker_count: int = 1,
    launcher: Launcher = Launcher.LOCAL,
) -> Refinement:
    """Refine a study's settings at its recommended widths, and return what was found.

    Args:
        database: Where the study is.
        name: The study's name.
        options: How each worker works.
        console: Where progress is written.
        trainings: At most; None for `MAX_TRAININGS`.
        worker_count: Workers to start at most.
        launcher: Where.

    Raises:
        FollowUpStopped: The workers ended early; the same call goes on.
        SearchError: See `load_subject`.
    """
    subject = load_subject(database, name)
    study_seed = subject.evidence.spec.study.seed
    seeds, fresh_seeds = (
        [experiment_seed(study_seed, first + index) for index in range(MOST_SEEDS)]
        for first in (0, _FIRST_FRESH_SEED)
    )
    base = Setting(widths=subject.widths)
    objective = subject.loop_objective("refine")
    axes = _axes(subject, objective)
    follow_up = open_follow_up(
        database,
        subject.evidence.row,
        FollowUpKind.REFINEMENT,
        spec_changes=subject.spec_changes,
    )

    def train(planned: Sequence[PlannedTrial]) -> list[ExperimentRun]:
        records = run_planned(
            database,
            follow_up,
            planned,
            options,
            console,
            worker_count=worker_count,
            launcher=launcher,
            command=format_command(
                "refine",
                name,
                options=[] if trainings is None else ["--trials", str(trainings)],
            ),
        )
        return read_runs(records, follow_up.name)

    runs = read_runs(LedgerReader(database, follow_up).records(), follow_up.name)
    budget = trainings or MAX_TRAININGS
    for _ in range(_MAX_ROUNDS):
        # A mean over more folds scatters less than what the others are compared by.
        tried = [run for run in runs if _FOLDS_KEY not in run.overrides]
        state = race(
            tried,
            axes,
            base,
            sign=subject.evidence.goal.sign,
            seeds=seeds,
            fresh_seeds=fresh_seeds,
            budget=budget,
        )
        if not state.needs:
            break
        runs = train(
            [
                PlannedTrial(
                    widths=need.setting.widths,
                    seed=need.seed,
                    origin=need.label,
                    overrides=need.setting.overrides,
                )
                for need in state.needs
            ]
        )
    else:
        raise SearchError(f"{follow_up.name}: no end after {_MAX_ROUNDS} rounds of trainings")
    settings = subject.problem.settings
    fold_runs: Sequence[ExperimentRun] = []
    data = objective.data
    drawn_at_random = not isinstance(data, BatchData) and data.drawn_at_random
    may_fold = settings.folds == 1 and drawn_at_random
    if may_fold and state.failed is None and len(tried) + FIRST_SEEDS <= budget:
        fold_runs, runs = _train_with_folds(state, seeds[:FIRST_SEEDS], train)
    return judge_refinement(
        state,
        runs,
        base,
        study=name,
        follow_up=follow_up.name,
        metric=subject.evidence.spec.metric,
        goal=subject.evidence.goal,
        splits=settings.splits * settings.replicas if settings.splits > 1 else 1,
        fold_runs=fold_runs,
        fold_splits=FOLDS * settings.replicas,
    )


def _train_with_folds(
    state: RaceState, seeds: Sequence[int], train: _Train
) -> tuple[list[ExperimentRun], list[ExperimentRun]]:
    """Train the best setting with folds; return those trainings, and all."""
    overrides = {**state.best.overrides, _FOLDS_KEY: FOLDS, _REPEATS_KEY: 1}
    runs = train(
        [
            PlannedTrial(
                widths=state.best.widths, seed=seed, origin=f"{FOLDS} folds", overrides=overrides
            )
            for seed in seeds
        ]
    )
    key = setting_key(state.best.widths, overrides)
    return [run for run in runs if setting_key(run.widths, run.overrides) == key], runs


def _axes(subject: Subject, objective: ModuleObjective) -> list[Axis]:
    data = objective.data
    # Noise is added to arrays of numbers; what comes in batches is augmented by its own data set.
    noise_possible = not isinstance(data, BatchData) and data.train.inputs.is_floating_point()
    return [
        *refinement_axes(subject.evidence.spec, noise_possible=noise_possible),
        _wider(subject),
    ]


def _wider(subject: Subject) -> Axis:
    """Return the axis of slightly wider nets that keep the limits."""
    space, present = subject.evidence.space, subject.widths
    wider: list[Mapping[str, int]] = []
    broken: list[str] = []
    for factor in WIDER_FACTORS:
        row = space.snap({name: factor * width for name, width in present.items()})
        widths = space.as_mapping(row)
        if widths in (present, *wider) or any(widths[name] < present[name] for name in present):
            continue
        violated = subject.violated_limits(subject.problem.exact_costs(widths))
        if violated:
            broken += violated
        else:
            wider.append(widths)
    names = ", ".join(dict.fromkeys(broken))
    return wider_axis(
        wider,
        f"a wider net breaks the limit {names}"
        if broken
        else "the widths are at the top of their ranges",
    )
