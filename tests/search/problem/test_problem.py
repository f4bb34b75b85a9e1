"""What a problem is to its workers: its fingerprint, its variants, what fits into memory."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from widthwise.objectives.errors import DataError
from widthwise.search.problem import build
from widthwise.search.problem.problem import Problem, problem_fingerprint
from widthwise.search.spec.spec import parse_spec
from widthwise.tests.search.bench import HarnessFactory

SECTIONS: dict[str, Any] = {
    "study": {"name": "digits", "trials": 40},
    "model": {"family": "mlp"},
    "widths": {"hidden1": {"low": 16, "high": 512, "step": 16}},
    "limits": {"flops": "2M"},
    "proxy": {"data": "digits", "metric": "accuracy"},
}


def fingerprint(key: str | None = None, value: Any = None) -> str:
    sections = deepcopy(SECTIONS)
    if key is not None:
        section, _, name = key.partition(".")
        sections[section][name] = value
    return problem_fingerprint(parse_spec(sections), Path())


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("study.name", "other", True),
        ("study.trials", 50, True),
        ("study.seed", 1, False),
        ("limits.flops", "3M", False),
        ("proxy.engine", "plain", True),
        ("proxy.at_once", 64, True),
        ("proxy.device", "cpu", True),
        ("proxy.replicas", 2, False),
        ("proxy.folds", 3, False),
        ("proxy.halving", 3, False),
        ("proxy.precision", "bfloat16", False),
        ("proxy.accumulate", 2, False),
        ("proxy.rate_factors", [0.5, 1.0], False),
        ("proxy.parametrisation", "standard", False),
        ("proxy.missing", ["?"], False),
        ("proxy.encoding", "cp1251", False),
        ("proxy.separator", ";", False),
        ("proxy.header", False, False),
    ],
)
def test_what_changes_a_result_changes_the_fingerprint(key: str, value: Any, same: bool) -> None:
    assert (fingerprint(key, value) == fingerprint()) == same


@pytest.mark.parametrize("damage", ["earlier release", "cut short"])
def test_costs_that_cannot_be_read_are_counted_again(damage: str) -> None:
    tables = {
        "study": {"name": "s", "trials": 1, "goal": "best"},
        "model": {"family": "mlp"},
        "widths": {"hidden": {"low": 4, "high": 8}},
        "proxy": {"data": "iris", "epochs": 1},
    }
    spec = parse_spec(tables)
    problem = Problem.load(spec, Path())
    stored = problem.serialise_costs()
    if damage == "cut short":
        stored = stored[: len(stored) // 2]
    else:
        state = json.loads(stored)
        del state["conditions"]["form"]
        state["fits"] = state.pop("pieces")
        stored = json.dumps(state)
    again = Problem.load(spec, Path(), stored)
    assert again.serialise_costs() == problem.serialise_costs()


@pytest.mark.parametrize(
    ("width", "limit", "is_trained"),
    [(64, "2M", True), (64, "500", False), (65, "2M", False)],
    ids=["a candidate", "over the limit", "beside the lattice"],
)
def test_todays_model_is_a_baseline_where_it_is_a_candidate(
    width: int, limit: str, is_trained: bool
) -> None:
    sections = deepcopy(SECTIONS)
    sections["proxy"] = {"data": "iris", "parametrisation": "standard"}
    sections["limits"] = {"flops": limit}
    sections["references"] = {"today": {"hidden1": width}}
    problem = Problem.load(parse_spec(sections), Path())
    names = [name for b in problem.suggester.baselines for name in b.name.split(" = ")]
    assert ("today" in names) == is_trained
    assert "largest that fits" in names


def test_all_trainings_of_a_candidate_have_to_fit(new_harness: HarnessFactory) -> None:
    """The largest candidate takes 40,000 bytes for each of its 24 trainings; 60 % of what is free
    is used."""
    study = new_harness(trials=2, replicas=2, folds=3, repeats=2, rate_factors=[0.5, 1.0])
    for free, fits in ((None, None), (3_200_000, 2), (3_199_999, 1), (1000, 1)):
        assert study.problem.max_in_memory(lambda _, free=free: free) == fits


def test_a_memory_limit_above_what_candidates_take_does_not_keep_them_apart(
    new_harness: HarnessFactory,
) -> None:
    study = new_harness(trials=2, limits={"train_memory": "1 MB"})
    # 60 % of what is free, over 40,000 bytes.
    assert study.problem.max_in_memory(lambda _: 1_000_000) == 15


def test_more_folds_than_rows_are_refused_before_the_study_starts(
    new_harness: HarnessFactory,
) -> None:
    new_harness(trials=1, folds=32)
    with pytest.raises(DataError, match=r"^proxy\.folds: .*33 folds need as many rows.* 32"):
        new_harness(trials=1, folds=33)


def test_data_is_read_once_for_all_variants(
    new_harness: HarnessFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_harness(trials=1)
    monkeypatch.setattr(build, "load_data", None)  # calling it would raise
    variant = study.problem.variant({"proxy.learning_rate": 0.5})
    assert variant.objective.data is study.problem.objective.data
    assert study.problem.variant({"proxy.learning_rate": 0.5}) is variant
    assert variant.settings.learning_rate == 0.5
    with pytest.raises(TypeError):
        study.problem.variant({"study.seed": 1})
