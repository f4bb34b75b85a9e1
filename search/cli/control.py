"""The verbs that change a study while workers run it: `pause`, `continue` and `cancel`.

Its workers read the change with their next heartbeat, wherever they run.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import SpecError
from .options import StorageOption, StudyArgument, open_database, parse_int_option, stdout

# Of a budget: more trials than any study has, and what an integer of the database holds.
_MAX_TRIALS = 2_000_000_000

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
    from ...storage.ledger.queries import LedgerReader
    from ...storage.ledger.slot import StudyStatus
    from ...storage.study.control import pause_trial, set_status
    from ...storage.study.study import load_study
    from ..worker.shutdown import worker_name

    database = open_database(storage)
    study = load_study(database, name)
    if trial is not None:
        pause_trial(database, study, _trial_number(trial), worker=worker_name())
        _print(f"trial {trial} of {name} is paused; {_continue_hint(f'{name} --trial {trial}')}")
        return
    if LedgerReader(database, study).status() == StudyStatus.CANCELLED:
        raise SpecError(
            f"study {name} is cancelled, so there is nothing to pause; `widthwise continue {name}` "
            "opens it again"
        )
    set_status(database, study, StudyStatus.PAUSED, worker=worker_name())
    _print(f"{name} is paused: its workers stop within two heartbeats; {_continue_hint(name)}")


def continue_study(
    name: StudyArgument, *, trial: TrialOption = None, storage: StorageOption = None
) -> None:
    """Let a study, or one trial, go on after a pause; a study also after it was cancelled."""
    from ...storage.ledger.slot import StudyStatus
    from ...storage.study.control import continue_trial, set_status
    from ...storage.study.study import load_study
    from ..worker.shutdown import worker_name

    database = open_database(storage)
    study = load_study(database, name)
    if trial is not None:
        continue_trial(database, study, _trial_number(trial), worker=worker_name())
        _print(f"trial {trial} of {name} may be claimed again")
        return
    previous_status = set_status(database, study, StudyStatus.OPEN, worker=worker_name())
    change = (
        "was open already"
        if previous_status == StudyStatus.OPEN
        else f"was {previous_status} and is open again"
    )
    _print(f"{name} {change}; `widthwise worker {name}` starts a worker where none waits for it")


def cancel(
    name: StudyArgument, *, trial: TrialOption = None, storage: StorageOption = None
) -> None:
    """End a study, or one trial, before its time; what is done is kept."""
    from ...storage.ledger.slot import StudyStatus
    from ...storage.study.control import cancel_trial, set_status
    from ...storage.study.study import load_study
    from ..worker.shutdown import worker_name

    database = open_database(storage)
    study = load_study(database, name)
    if trial is not None:
        cancel_trial(database, study, _trial_number(trial), worker=worker_name())
        _print(f"trial {trial} of {name} is cancelled")
        return
    set_status(database, study, StudyStatus.CANCELLED, worker=worker_name())
    _print(f"{name} is cancelled: its workers end; `widthwise resume {name}` opens it again")


def _continue_hint(arguments: str) -> str:
    return f"`widthwise continue {arguments}` lets it go on"


def _trial_number(trial: str) -> int:
    return parse_int_option("--trial", trial, minimum=0, maximum=_MAX_TRIALS)


def _print(sentence: str) -> None:
    stdout().print(sentence, markup=False)
