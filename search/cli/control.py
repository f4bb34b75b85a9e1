"""The verbs that reach into a study at work: `pause`, `continue` and `cancel`.

Its workers hear of it with their next heartbeat, wherever they run.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import SpecError
from .options import Storage, StudyName, open_database, stdout, whole_number

# Of a budget: more trials than any study has, and what an integer of the database holds.
_MOST_TRIALS = 2_000_000_000

TrialNumber = Annotated[
    str | None,
    typer.Option("--trial", metavar="N", help="This trial alone.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("pause")(pause)
    app.command("continue")(go_on)
    app.command("cancel")(cancel)


def pause(name: StudyName, *, trial: TrialNumber = None, storage: Storage = None) -> None:
    """Let a study, or one trial, wait: trainings keep a checkpoint and give their slots back."""
    from ...storage.ledger.queries import status_of
    from ...storage.study.control import pause_trial, set_status
    from ...storage.study.study import load_study
    from ..worker.shutdown import worker_name

    database = open_database(storage)
    study = load_study(database, name)
    if trial is not None:
        pause_trial(database, study, _number(trial), worker=worker_name())
        _say(f"trial {trial} of {name} is paused; {_goes_on(f'{name} --trial {trial}')}")
        return
    if status_of(database, study) == "cancelled":
        raise SpecError(
            f"study {name} is cancelled, so there is nothing to pause; `widthwise continue {name}` "
            "opens it again"
        )
    set_status(database, study, "paused", worker=worker_name())
    _say(f"{name} is paused: its workers stop within two heartbeats; {_goes_on(name)}")


def go_on(name: StudyName, *, trial: TrialNumber = None, storage: Storage = None) -> None:
    """Let a study, or one trial, go on after a pause; a study also after it was cancelled."""
    from ...storage.study.control import continue_trial, set_status
    from ...storage.study.study import load_study
    from ..worker.shutdown import worker_name

    database = open_database(storage)
    study = load_study(database, name)
    if trial is not None:
        continue_trial(database, study, _number(trial), worker=worker_name())
        _say(f"trial {trial} of {name} may be claimed again")
        return
    before = set_status(database, study, "open", worker=worker_name())
    was = "was open already" if before == "open" else f"was {before} and is open again"
    _say(f"{name} {was}; `widthwise worker {name}` starts a worker where none waits for it")


def cancel(name: StudyName, *, trial: TrialNumber = None, storage: Storage = None) -> None:
    """End a study, or one trial, before its time; what is done is kept."""
    from ...storage.study.control import cancel_trial, set_status
    from ...storage.study.study import load_study
    from ..worker.shutdown import worker_name

    database = open_database(storage)
    study = load_study(database, name)
    if trial is not None:
        cancel_trial(database, study, _number(trial), worker=worker_name())
        _say(f"trial {trial} of {name} is cancelled")
        return
    set_status(database, study, "cancelled", worker=worker_name())
    _say(f"{name} is cancelled: its workers end; `widthwise resume {name}` opens it again")


def _goes_on(what: str) -> str:
    return f"`widthwise continue {what}` lets it go on"


def _number(trial: str) -> int:
    return whole_number("--trial", trial, least=0, most=_MOST_TRIALS)


def _say(sentence: str) -> None:
    stdout().print(sentence, markup=False)
