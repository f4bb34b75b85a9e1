"""What names a tracker, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from widthwise.search.errors import SpecError
from widthwise.search.spec.differences import differing_keys
from widthwise.search.spec.spec import parse_spec
from widthwise.search.spec.tracker_address import TrackerAddress, parse_track_option


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tensorboard", "tensorboard:{folder}/runs"),
        ("tensorboard:logs/a", "tensorboard:{folder}/logs/a"),
        ("tensorboard:/data/runs", "tensorboard:/data/runs"),
        ("mlflow", "mlflow:sqlite:///{folder}/mlflow.db"),
        ("mlflow:other.db", "mlflow:sqlite:///{folder}/other.db"),
        ("mlflow:sqlite:///other.db", "mlflow:sqlite:///{folder}/other.db"),
        ("mlflow:sqlite:////data/m.db", "mlflow:sqlite:////data/m.db"),
        ("mlflow:http://mlflow:5000", "mlflow:http://mlflow:5000"),
        ("mlflow:databricks", "mlflow:databricks"),
        ("wandb", "wandb"),
        ("wandb:widths", "wandb:widths"),
    ],
)
def test_an_address_is_the_same_wherever_a_worker_runs(
    text: str, expected: str, tmp_path: Path
) -> None:
    absolute = TrackerAddress.parse(text).below(tmp_path)
    assert str(absolute) == expected.format(folder=tmp_path)
    assert absolute.below(Path("/elsewhere")) == absolute


def test_mlflow_alone_is_where_its_own_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert TrackerAddress.parse("mlflow").below(tmp_path).target == ""


@pytest.mark.parametrize("text", ["", "neptune:x", "tensorboard:a\nb", "TensorBoard", ":runs"])
def test_other_words_are_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(SpecError, match=r"--track: found .*expected tensorboard:FOLDER"):
        parse_track_option(text)


def test_a_password_stays_out_of_specs() -> None:
    with pytest.raises(SpecError, match="expected it in the environment") as refusal:
        parse_track_option("mlflow:https://anna:secret@mlflow")
    assert "secret" not in str(refusal.value)


def _spec(**study: object) -> dict[str, object]:
    return {
        "study": {"name": "a", **study},
        "model": {"family": "mlp"},
        "widths": {"hidden": [8, 16]},
        "limits": {"parameters": 1000},
        "proxy": {"data": "iris"},
    }


def test_a_spec_names_trackers_and_stays_the_same_study() -> None:
    tracked = parse_spec(_spec(trackers=["tensorboard:runs", "wandb"]))
    assert tracked.study.trackers == ["tensorboard:runs", "wandb"]
    assert differing_keys(tracked, parse_spec(_spec())) == {}


def test_a_wrong_tracker_in_a_spec_is_named_with_its_key() -> None:
    with pytest.raises(SpecError, match=r"study.trackers.*found 'comet'"):
        parse_spec(_spec(trackers=["comet"]))
