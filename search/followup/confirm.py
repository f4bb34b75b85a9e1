"""Confirmation: the recommended network and its rivals, trained long and with fresh seeds.

A follow-up study of the kind "confirmation". Rounds of trainings, of which `next_trainings` says
the next, go on until the answer is decided. Every round is planned in the ledger, so whoever comes
after an interruption goes on where it was. Only here is the test split judged.

Entry points: `confirm_study`; `confirm_finished`, what ends a run, `announce_confirmation`, that it
will, and `describe_unconfirmed`, why it does not; `ConfirmationOptions`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from ...storage.database.database import Database
from ...storage.ledger.ledger import PlannedTrial, SlotRecord
from ...storage.ledger.queries import LedgerReader
from ...storage.ledger.slot import StudyRow, StudyStatus
from ...storage.study.notes import read_note, store_note
from ...storage.study.reference import read_reference_figures, store_reference_figures
from ...storage.study.study import load_study
from ..command import format_command
from ..errors import ExitCode, SpecError
from ..fleet.worker_fleet import Launcher
from ..follow_up_kind import FollowUpKind, followed_name
from ..problem.seeds import confirmation_seed
from ..problem.stored import base_folder, stored_spec
from ..report.evidence import RACE_NOTE, StudyEvidence, load_evidence
from ..worker.options import FleetWorkerOptions
from ..worker.shutdown import StopRequest, stop_on_signals
from .confirmed_length import LENGTH_FACTOR, confirmed_factor
from .follow_up import FollowUpStopped, find_follow_up, open_follow_up, run_planned

if TYPE_CHECKING:
    from ..problem.problem import Problem
    from ..report.confirmation.contender import Contender

MAX_SEEDS = 100
"""Trainings of a contender that may be asked for."""

MAX_SPREAD = 50
"""Spread-out candidates that may be asked for."""


@dataclass(frozen=True, kw_only=True)
class ConfirmationOptions:
    """What a person may say of a confirmation; None leaves it as it was begun, or as is usual.

    Attributes:
        most_seeds: Trainings of one contender at most.
        epochs: Of a training at most, in place of `LENGTH_FACTOR` times those of the search.
        spread: Further candidates of the search, from the worst to the best, by which it is seen
            how far short trainings can be trusted.
    """

    most_seeds: int | None = None
    epochs: int | None = None
    spread: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Race:
    """How many trainings a confirmation may take; kept with it, for whoever judges it.

    Attributes:
        first_seeds: Trainings of every contender.
        most_seeds: Trainings of one contender at most.
        spread: Spread-out candidates among the contenders.
    """

    first_seeds: int
    most_seeds: int
    spread: int


def confirm_finished(
    database: Database,
    name: str,
    options: FleetWorkerOptions,
    console: Console,
    *,
    worker_count: int,
    launcher: Launcher = Launcher.LOCAL,
    stop: StopRequest | None = None,
    from_python: bool = False,
) -> None:
    """Confirm a study whose workers have ended in good order, or write in a line why not.

    The arguments are those of `confirm_study`; `from_python` tells a call that is none of a shell.

    Raises:
        FollowUpStopped: A stop was asked for, or the workers ended early.
        SearchError, ObjectiveError, StorageError: As of `confirm_study`.
    """
    stop = stop or StopRequest()
    row = load_study(database, name)
    if (reason := _reason_against(database, row, from_python=from_python)) is not None:
        console.print(f"not confirmed: {reason}", markup=False, soft_wrap=True)
        return
    with stop_on_signals(stop.request):
        evidence = load_evidence(database, name)
    _confirm(
        database,
        evidence,
        ConfirmationOptions(),
        options,
        console,
        worker_count=worker_count,
        launcher=launcher,
        stop=stop,
    )


def announce_confirmation(database: Database, name: str, console: Console) -> None:
    """Write, before a search begins, what follows it; nothing where nothing can.

    A search that is done, not open, or too short to choose by is not confirmed at its end.
    """
    from ..sampler.best_candidate import MIN_TRAININGS

    row = load_study(database, name)
    reader = LedgerReader(database, row)
    is_long_enough = reader.counts().budget >= MIN_TRAININGS
    if row.status is not StudyStatus.OPEN or not is_long_enough or not reader.open_slots():
        return
    from ..report.confirmation.race import FIRST_SEEDS

    console.print(
        f"afterwards its answer is confirmed: the few networks in question × {FIRST_SEEDS} "
        f"trainings or more, each up to {LENGTH_FACTOR:g} times as long; `--no-confirm` leaves "
        "that out",
        markup=False,
    )


def describe_unconfirmed(database: Database, name: str) -> str:
    """Return in a line why a study is not confirmed whose workers have ended early.

    Why it learned nothing, if that is it, was told when they ended.
    """
    reason = _reason_against(database, load_study(database, name), tell_untrained=False)
    return f"not confirmed: {reason or 'the search is not finished'}"


def confirm_study(
    database: Database,
    name: str,
    request: ConfirmationOptions,
    options: FleetWorkerOptions,
    console: Console,
    *,
    worker_count: int,
    launcher: Launcher = Launcher.LOCAL,
) -> None:
    """Confirm the answer of a finished study, or go on with that; nothing is trained twice.

    Args:
        database: Where the study is.
        name: Its name.
        request: What a person says of it.
        options: How each worker works.
        console: Where progress is written.
        worker_count: Workers to start at most.
        launcher: Where.

    Raises:
        SpecError: The study is not one that can be confirmed now; the sentence says why.
        FingerprintMismatch: Code, data or settings are not those that it was begun with.
        FollowUpStopped: A stop was asked for, or the workers ended early.
        ObjectiveError: The model or the data do not work here.
        StorageError: The database refuses.
    """
    row = load_study(database, name)
    if (reason := _reason_against(database, row)) is not None:
        raise SpecError(f"{name} cannot be confirmed: {reason}")
    stop = StopRequest()
    with stop_on_signals(stop.request):
        evidence = load_evidence(database, name)
    counts = evidence.counts
    if counts.running or (counts.waiting and not evidence.exhausted):
        done = counts.budget - counts.waiting - counts.running
        raise SpecError(
            f"{name} cannot be confirmed: {done} of its {counts.budget} trials are done; "
            f"`{format_command('resume', name)}` finishes it, and confirms it then"
        )
    _confirm(
        database,
        evidence,
        request,
        options,
        console,
        worker_count=worker_count,
        launcher=launcher,
        stop=stop,
    )


def _reason_against(
    database: Database, row: StudyRow, *, tell_untrained: bool = True, from_python: bool = False
) -> str | None:
    """Return why a study cannot be confirmed, even if it is finished; None where nothing is."""
    from ..sampler.best_candidate import MIN_TRAININGS

    if row.kind is not None:
        parent = followed_name(row.name, row.kind)
        return f"it is the {row.kind} of {parent}; name that study"
    reader = LedgerReader(database, row)
    if (untrained := reader.untrained_reason()) is not None:
        insist = format_command("resume", row.name, options=["--untrained-ok"])
        told = f" ({untrained.rstrip('.')})" if tell_untrained else ""
        return f"it learned nothing{told}; `{insist}` goes on all the same"
    if reader.status() is StudyStatus.CANCELLED:
        return f"it was cancelled; `{format_command('resume', row.name)}` opens it again"
    complete = reader.counts().complete
    if complete < MIN_TRAININGS:
        more = format_command("resume", row.name, options=["--trials", f"+{MIN_TRAININGS}"])
        adds = "a larger `trials` adds some" if from_python else f"`{more}` adds some"
        return (
            f"{complete} of its trainings are complete, and {MIN_TRAININGS} are needed to choose "
            f"by; {adds}"
        )
    return None


def _confirm(
    database: Database,
    evidence: StudyEvidence,
    request: ConfirmationOptions,
    options: FleetWorkerOptions,
    console: Console,
    *,
    worker_count: int,
    launcher: Launcher,
    stop: StopRequest,
) -> None:
    from ..problem.problem import Problem
    from ..report.confirmation.confirmed_run import read_runs
    from ..report.confirmation.contender import choose_contenders
    from ..report.confirmation.race import next_trainings
    from ..report.recommendation.recommendation import recommend

    row, seed = evidence.row, evidence.spec.study.seed
    with stop_on_signals(stop.request):
        _raise_if_stopped(row, stop)
        # What keeps it from being loaded, if anything does, is the user's to know.
        problem = evidence.problem or Problem.load(evidence.spec, base_folder(row), row.costs)
        follow_up = _open(database, row, problem, request)
        race = _settle_race(database, follow_up, request)
        answer = recommend(evidence)
        assert answer is not None, "there are complete trainings"
        contenders = choose_contenders(evidence, answer, spread=race.spread)
        _judge_references(database, follow_up, problem)
        reader = LedgerReader(database, follow_up)
        records = reader.records()
        _announce(console, evidence, follow_up, contenders, race, records, worker_count)
        while True:
            _raise_if_stopped(row, stop)
            pairs = next_trainings(
                contenders,
                read_runs(records, seed),
                evidence.goal,
                first_seeds=race.first_seeds,
                most_seeds=race.most_seeds,
            )
            if not pairs and not reader.open_slots():
                return
            records = run_planned(
                database,
                follow_up,
                [
                    PlannedTrial(
                        widths=contender.widths,
                        seed=confirmation_seed(seed, index),
                        origin=contender.label,
                    )
                    for contender, index in pairs
                ],
                options,
                console,
                worker_count=worker_count,
                launcher=launcher,
                stop=stop,
            )


def _open(
    database: Database, row: StudyRow, problem: Problem, request: ConfirmationOptions
) -> StudyRow:
    """Return the study of the confirmation, as it was begun unless the request says otherwise."""
    existing = find_follow_up(database, row, FollowUpKind.CONFIRMATION)
    return open_follow_up(
        database,
        row,
        FollowUpKind.CONFIRMATION,
        spec_changes={
            "proxy.length_factor": confirmed_factor(problem, existing, request.epochs),
            "proxy.halving": None,
            "proxy.replicas": 1,
            # The seeds of a confirmation do what repeated draws of the folds do in a search.
            "proxy.repeats": 1,
        },
    )


def _settle_race(database: Database, follow_up: StudyRow, request: ConfirmationOptions) -> _Race:
    """Return how many trainings there may be, and keep it; a race is never cut short afterwards."""
    from ..report.confirmation.race import FIRST_SEEDS, MOST_SEEDS

    before = read_note(database, follow_up, RACE_NOTE)
    known = None if before is None else _Race(**before)
    most, spread = request.most_seeds, request.spread
    if most is None:
        most = MOST_SEEDS if known is None else known.most_seeds
    if spread is None:
        spread = 0 if known is None else known.spread
    if known is not None:
        most, spread = max(most, known.most_seeds), max(spread, known.spread)
    race = _Race(first_seeds=min(FIRST_SEEDS, most), most_seeds=most, spread=spread)
    if race != known:
        store_note(database, follow_up, RACE_NOTE, asdict(race))
    return race


def _judge_references(database: Database, follow_up: StudyRow, problem: Problem) -> None:
    """Judge the models that are no network on the test split, too, once."""
    from ...objectives.training.reference_models import judge_reference_models

    objective = problem.loop_objective
    if objective is None or read_reference_figures(database, follow_up) is not None:
        return
    figures = judge_reference_models(
        objective,
        problem.settings.folds,
        problem.space.as_mapping(problem.space.smallest()),
        # On the folds of the search, whose trials they are compared with.
        repeats=problem.settings.repeats,
        judge_test=True,
    )
    stored = {name: asdict(figure) for name, figure in figures.items()}
    store_reference_figures(database, follow_up, stored)


def _announce(
    console: Console,
    evidence: StudyEvidence,
    follow_up: StudyRow,
    contenders: Sequence[Contender],
    race: _Race,
    records: Sequence[SlotRecord],
    worker_count: int,
) -> None:
    """Write what is to come, and about how long that takes."""
    factor = (stored_spec(follow_up).proxy.length_factor or 1.0) / (
        evidence.spec.proxy.length_factor or 1.0
    )
    done = sum(record.outcome is not None for record in records)
    first = len(contenders) * race.first_seeds
    if done >= first:
        return
    seconds = [trial.seconds for trial in evidence.trials if trial.seconds is not None]
    estimate = ""
    if seconds:
        # A trial of the search is trained on each draw of the folds, in a confirmation on one.
        repeats = max(evidence.problem.settings.repeats if evidence.problem else 1, 1)
        mean_seconds = sum(seconds) / len(seconds) / repeats
        total = factor * mean_seconds * (first - done) / worker_count
        estimate = f", about {_rough_duration(total)} at most"
    more = (
        f" (up to {race.most_seeds} seeds where it stays open)"
        if race.most_seeds > race.first_seeds
        else ""
    )
    console.print(
        f"confirming {evidence.row.name}: {len(contenders)} networks × {race.first_seeds} fresh "
        f"seeds, up to {factor:.3g} times as long as in the search: {first - done} trainings"
        f"{estimate}{more}; Ctrl-C ends it, the search's answer stands",
        markup=False,
    )


def _rough_duration(seconds: float) -> str:
    """Return a length of time as people plan by it: `40 s`, `38 min`, `5.2 h`."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _raise_if_stopped(row: StudyRow, stop: StopRequest) -> None:
    if stop():
        command = format_command("confirm", row.name)
        raise FollowUpStopped(
            f"stopped before the confirmation of {row.name} was done; `{command}` goes on",
            ExitCode.DRAINED,
        )
