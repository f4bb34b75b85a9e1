"""The verbs that change a study while workers run it: `pause`, `continue` and `cancel`.

Its workers read the change with their next heartbeat, wherever they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...command import format_command
from ...errors import NothingLearned, SpecError
from ...flags import parse_int_option
from ...follow_up_kind import continue_command
from ..options import StorageOption, StudyArgument, open_database, stdout

if TYPE_CHECKING:
    from ....storage.database.database import Database
    from ....storage.ledger.slot import StudyRow, StudyStatus

TrialOption = Annotated[
    str | None,
    typer.Option("--trial", metavar="N", help="This trial alone.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("pause")(pause)
    app.command("continue")(continue_study)
    app.command("cancel")(cancel)


def pause(name: StudyArgument, *, trial: TrialOption = None, storage: StorageOption = None) -> None:
    """Let a study, or one trial, wait: trainings keep a checkpoint and give their slots back."""
    from ....storage.ledger.slot import StudyStatus
    from ....storage.study.control import pause_trial, set_status
    from ...study import opening_command
    from ...worker.shutdown import worker_name

    database, study = _open_study(storage, name)
    if trial is not None:
        changed = pause_trial(database, study, _trial_number(trial), worker=worker_name())
        again = format_command("continue", name, options=["--trial", trial])
        already = "" if changed else " already"
        _print(f"trial {trial} of {name} is paused{already}; `{again}` lets it go on")
        return
    _refuse_finished(database, study, "pause")
    if _status(database, study) == StudyStatus.CANCELLED:
        raise SpecError(
            f"study {name} is cancelled, so there is nothing to pause; "
            f"`{opening_command(database, study)}` opens it again"
        )
    previous_status = set_status(database, study, StudyStatus.PAUSED, worker=worker_name())
    change = (
        "is paused already"
        if previous_status == StudyStatus.PAUSED
        else "is paused: its workers stop within two heartbeats"
    )
    _print(f"{name} {change}; `{format_command('continue', name)}` lets it go on")


def continue_study(
    name: StudyArgument, *, trial: TrialOption = None, storage: StorageOption = None
) -> None:
    """Let a study, or one trial, go on after a pause; a study also after it was cancelled."""
    from ....storage.ledger.queries import LedgerReader
    from ....storage.ledger.slot import StudyStatus
    from ....storage.study.control import continue_trial, set_status
    from ...worker.shutdown import worker_name

    database, study = _open_study(storage, name)
    if trial is not None:
        if continue_trial(database, study, _trial_number(trial), worker=worker_name()):
            _print(f"trial {trial} of {name} may be claimed again")
        else:
            _print(f"trial {trial} of {name} was not paused: it waits, or is in training, already")
        return
    if _status(database, study) == StudyStatus.OPEN:
        _refuse_finished(database, study, "continue")
    if (reason := LedgerReader(database, study).untrained_reason()) is not None:
        insist = format_command("resume", name, options=["--untrained-ok"])
        raise NothingLearned(f"study {name} was stopped. {reason} Or insist: `{insist}`")
    previous_status = set_status(database, study, StudyStatus.OPEN, worker=worker_name())
    change = (
        "was open already"
        if previous_status == StudyStatus.OPEN
        else f"was {previous_status} and is open again"
    )
    worker = format_command("worker", name)
    _print(f"{name} {change}; `{worker}` starts a worker where none waits for it")


def cancel(
    name: StudyArgument, *, trial: TrialOption = None, storage: StorageOption = None
) -> None:
    """End a study, or one trial, before its time; what is done is kept."""
    from ....storage.ledger.slot import StudyStatus
    from ....storage.study.control import cancel_trial, set_status
    from ...worker.shutdown import worker_name

    database, study = _open_study(storage, name)
    if trial is not None:
        changed = cancel_trial(database, study, _trial_number(trial), worker=worker_name())
        _print(f"trial {trial} of {name} {'is cancelled' if changed else 'was cancelled already'}")
        return
    _refuse_finished(database, study, "cancel")
    previous_status = set_status(database, study, StudyStatus.CANCELLED, worker=worker_name())
    change = (
        "was cancelled already"
        if previous_status == StudyStatus.CANCELLED
        else "is cancelled: its workers end"
    )
    _print(f"{name} {change}; `{continue_command(name, study.kind)}` opens it again")


def _open_study(storage: str | None, name: str) -> tuple[Database, StudyRow]:
    from ....storage.study.study import load_study

    database = open_database(storage)
    return database, load_study(database, name)


def _status(database: Database, study: StudyRow) -> StudyStatus:
    from ....storage.ledger.queries import LedgerReader

    return LedgerReader(database, study).status()


def _refuse_finished(database: Database, study: StudyRow, verb: str) -> None:
    """Refuse to change the course of a study that has run it.

    Raises:
        SpecError: All its trials are done.
    """
    from ....storage.ledger.queries import LedgerReader

    counts = LedgerReader(database, study).counts()
    if counts.running or counts.waiting:
        return
    remedy = "the study that it follows up plans them"
    if study.kind is None:
        more = format_command("resume", study.name, options=["--trials", "+20"])
        remedy = f"`{more}` adds trials"
    raise SpecError(
        f"study {study.name} is finished, all its {counts.budget:,} trials are done, so there is "
        f"nothing to {verb}; {remedy}"
    )


def _trial_number(trial: str) -> int:
    from ....storage.study.control import MAX_SLOT_NUMBER

    return parse_int_option("--trial", trial, minimum=0, maximum=MAX_SLOT_NUMBER)


def _print(sentence: str) -> None:
    stdout().print(sentence, markup=False, soft_wrap=True)
