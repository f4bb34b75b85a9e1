"""MLflow: an experiment for every study, a run for every trial; a retried trial goes on in its run.

Widths, costs and seed are parameters of the run, metric and losses its metrics by step.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import final

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus, RunTag, ViewType
from mlflow.exceptions import MlflowException

from .tracker import TrackedEnd, TrackedRun, TrackedTrial

_STUDY_TAG = "widthwise.study_id"
_TRIAL_TAG = "widthwise.trial"
_OPENING_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to open a database: several workers at once make its tables."""
_WRITE_SECONDS = 1.0
"""Seconds between two writes of one run's metrics, as far as it is not at its end."""
_MAX_METRICS = 1000
"""Metrics that MLflow takes in one call."""


@final
class MlflowTracker:
    """Writes to one tracking store.

    Args:
        uri: Of the store; empty for MLflow's own.
    """

    def __init__(self, uri: str) -> None:
        # Its words on tables that it makes are nobody's concern here.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._client = _open_client(uri)
        self._experiments: dict[str, str] = {}

    def start(self, trial: TrackedTrial) -> TrackedRun:
        """Return a new run, or the trial's own from an attempt before."""
        experiment = self._experiment(trial.study)
        run_id = self._find(experiment, trial)
        if run_id is None:
            tags = {_STUDY_TAG: trial.study_id, _TRIAL_TAG: str(trial.number)}
            run = self._client.create_run(experiment, run_name=trial.name, tags=tags)
            run_id = run.info.run_id
            parameters = [
                Param(_allowed(name), str(value)) for name, value in trial.parameters.items()
            ]
            self._client.log_batch(run_id, params=parameters)
        else:
            self._client.update_run(run_id, status=RunStatus.to_string(RunStatus.RUNNING))
        self._client.set_tag(run_id, "widthwise.attempt", str(trial.attempt))
        return _Run(self._client, run_id)

    def _experiment(self, study: str) -> str:
        if study not in self._experiments:
            found = self._client.get_experiment_by_name(study)
            try:
                self._experiments[study] = (
                    self._client.create_experiment(study) if found is None else found.experiment_id
                )
            except MlflowException:
                found = self._client.get_experiment_by_name(study)
                if found is None:
                    raise
                self._experiments[study] = found.experiment_id  # another worker was faster
        return self._experiments[study]

    def _find(self, experiment: str, trial: TrackedTrial) -> str | None:
        runs = self._client.search_runs(
            [experiment],
            filter_string=(
                f"tags.`{_STUDY_TAG}` = '{trial.study_id}' "
                f"and tags.`{_TRIAL_TAG}` = '{trial.number}'"
            ),
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=1,
        )
        return runs[0].info.run_id if runs else None


@final
class _Run:
    """One run; its metrics are written together, about once a second."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._waiting: list[Metric] = []
        self._written_at = 0.0
        self._last_step = 0

    def report(self, step: int, figures: Mapping[str, float]) -> None:
        self._add(step, figures)
        if time.monotonic() - self._written_at >= _WRITE_SECONDS:
            self._write()

    def end(self, end: TrackedEnd) -> None:
        self._add(self._last_step, {f"final/{name}": value for name, value in end.figures.items()})
        tags = [RunTag("widthwise.outcome", end.outcome)]
        if end.detail:
            tags.append(RunTag("widthwise.detail", end.detail))
        self._write(tags)
        status = "KILLED" if not end.is_final else "FINISHED" if end.succeeded else "FAILED"
        self._client.set_terminated(self._run_id, status)

    def _add(self, step: int, figures: Mapping[str, float]) -> None:
        self._last_step = step
        now = int(time.time() * 1000)
        self._waiting += [
            Metric(_allowed(name), value, now, step) for name, value in figures.items()
        ]

    def _write(self, tags: list[RunTag] | None = None) -> None:
        while self._waiting or tags:
            batch, self._waiting = self._waiting[:_MAX_METRICS], self._waiting[_MAX_METRICS:]
            self._client.log_batch(self._run_id, metrics=batch, tags=tags or [])
            tags = None
        self._written_at = time.monotonic()


def _allowed(name: str) -> str:
    """Return a name as MLflow takes it."""
    return re.sub(r"[^\w./: -]", "_", name)


def _open_client(uri: str) -> MlflowClient:
    for pause in (*_OPENING_PAUSES, None):
        try:
            return MlflowClient(tracking_uri=uri or None)
        except Exception:
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")
