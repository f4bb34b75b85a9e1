"""Trials recorded by Optuna alone: ask, suggest, report, tell, as its documentation shows."""

import logging
import random
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from widthwise.storage.database.database import resolve_url
from widthwise.storage.projection.trial_rows import TrialEnd, end_trials, insert_trials

from .trial import (
    CONSTRAINTS,
    CURVE,
    DISTRIBUTIONS,
    END_ATTRIBUTES,
    FILL_BATCH_SIZE,
    HIGH,
    LOW,
    START_ATTRIBUTES,
    STEP,
    VALUE,
    draw_widths,
)

STUDY = "stock"


def prepare(url: str, present: int, _free: int) -> None:
    """Make a study of so many finished trials, written in bulk; Optuna knows no free ones."""
    storage = _storage(url)
    directions = [optuna.study.StudyDirection.MAXIMIZE]
    study_id = storage.create_new_study(directions, STUDY)
    generator = random.Random()
    for start in range(0, present, FILL_BATCH_SIZE):
        trials = [_running_trial(generator) for _ in range(min(FILL_BATCH_SIZE, present - start))]
        with storage.engine.begin() as connection:
            trial_ids = insert_trials(connection, study_id, trials)
            assert trial_ids is not None
            end_trials(connection, [_trial_end(trial_id) for trial_id in trial_ids])
    storage.remove_session()
    storage.engine.dispose()


class Recorder:
    """One worker. Its sampler draws at random, so that only the store's time is measured."""

    def __init__(self, url: str, *, batch: int, sampler: Any = None) -> None:
        del batch  # Optuna records one trial at a time
        sampler = sampler or optuna.samplers.RandomSampler()
        self._storage = _storage(url)
        self._study = optuna.load_study(study_name=STUDY, storage=self._storage, sampler=sampler)

    def claim(self) -> None:
        """Make a first trial, and propose its widths."""
        _suggest_widths(self._study.ask())

    def take(self) -> None:
        """Make a trial, and propose nothing for it."""
        self._study.ask()

    def step(self) -> int:
        """Record one trial."""
        trial = self._study.ask()
        _suggest_widths(trial)
        for name, violation in CONSTRAINTS.items():
            trial.set_constraint(name, violation)
        for key, value in START_ATTRIBUTES.items():
            trial.set_user_attr(key, value)
        for epoch, value in enumerate(CURVE):
            trial.report(value, epoch)
        for key, value in END_ATTRIBUTES.items():
            trial.set_user_attr(key, value)
        self._study.tell(trial, VALUE)
        return 1

    def close(self) -> None:
        """Close the database."""
        self._storage.remove_session()
        self._storage.engine.dispose()


def _storage(url: str) -> RDBStorage:
    logging.getLogger("optuna").setLevel(logging.ERROR)
    url_text = resolve_url(url, {}).render_as_string(hide_password=False)
    # What Optuna's own documentation advises for servers; on SQLite its default wait is 5 s.
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if url_text.startswith("sqlite"):
        arguments["connect_args"] = {"timeout": 60}
    return RDBStorage(url_text, engine_kwargs=arguments)


def _suggest_widths(trial: optuna.Trial) -> None:
    for name in DISTRIBUTIONS:
        trial.suggest_int(name, LOW, HIGH, step=STEP)


def _running_trial(generator: random.Random) -> optuna.trial.FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING,
        params=draw_widths(generator),
        distributions=DISTRIBUTIONS,
        constraints=CONSTRAINTS,
        user_attrs=START_ATTRIBUTES,
    )


def _trial_end(trial_id: int) -> TrialEnd:
    return TrialEnd(
        trial_id=trial_id,
        state=TrialState.COMPLETE,
        value=VALUE,
        curve=CURVE,
        attributes=END_ATTRIBUTES,
    )
