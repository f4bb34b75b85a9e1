"""MLflow: what its own client finds in a database."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = [
    # MLflow's own models of its tables, under a newer SQLAlchemy.
    pytest.mark.filterwarnings("ignore:.*noload.* loader strategy"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store/mlflow.db"


def test_widths_are_parameters_and_metrics_stand_by_step(uri: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient
    from widthwise.search.tracking.mlflow import MlflowTracker
    from widthwise.tests.search.tracking.runs import COMPLETE, FAILED, RETURNED, a_trial

    (tmp_path / "store").mkdir()
    tracker = MlflowTracker(uri)
    client = MlflowClient(uri)
    run = tracker.start(a_trial(7))
    run.report(1, {"accuracy": 0.25, "loss": 2.0})

    # While it runs.
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "digits/7"
    assert found.info.status == "RUNNING"
    assert found.data.metrics == {"accuracy": 0.25, "loss": 2.0}
    assert found.data.params == {
        "hidden1": "64",
        "hidden2": "32",
        "cost/parameters": "4810",
        "cost/flops": "9000",
        "seed": str(2**40 + 1),
        "origin": "sampler",
    }

    # Drained, and gone on with by another worker: one run.
    run.report(2, {"accuracy": 0.5, "loss": 1.0})
    run.end(RETURNED)
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "KILLED"
    run = MlflowTracker(uri).start(a_trial(7))
    run.report(3, {"accuracy": 0.75, "loss": 0.5})
    run.end(COMPLETE)
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.tags["widthwise.outcome"] == "complete"
    history = client.get_metric_history(found.info.run_id, "accuracy")
    assert sorted((entry.step, entry.value) for entry in history) == [
        (1, 0.25),
        (2, 0.5),
        (3, 0.75),
    ]
    assert found.data.metrics["final/accuracy"] == 0.75

    # A failure, a name that MLflow would refuse, and another study of the same name.
    failed = tracker.start(a_trial(8, widths={"höhe|breite": 3}))
    failed.end(FAILED)
    tracker.start(a_trial(7, study_id="ffff")).end(COMPLETE)
    runs = {
        (found.info.run_name, found.info.status, found.data.tags.get("widthwise.detail"))
        for found in client.search_runs([experiment.experiment_id])
    }
    assert runs == {
        ("digits/7", "FINISHED", None),
        ("digits/8", "FAILED", "RuntimeError: the moon is full"),
    }
    assert len(client.search_runs([experiment.experiment_id])) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]  # nothing in our folder
