"""A model that is better than the recommended network is named, and one that is level."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from widthwise.search.goal import Goal
from widthwise.search.report.reference import Reference, better_model, compare_models
from widthwise.search.sampler.origin import SAMPLER
from widthwise.search.trial.history import CompletedTrial


@pytest.mark.parametrize(
    ("direction", "value", "values", "better"),
    [
        ("maximize", 0.9, {"constant": 0.5, "linear": 0.92, "trees": 0.95}, "boosted trees"),
        ("maximize", 0.93, {"constant": 0.5, "linear": 0.94, "trees": 0.8}, "linear model"),
        ("maximize", 0.95, {"constant": 0.5, "linear": 0.92, "trees": 0.95}, None),
        ("minimize", 0.9, {"constant": 2.0, "linear": 0.8}, "linear model"),
        ("minimize", 0.7, {"constant": 2.0, "linear": 0.8}, None),
        ("maximize", -3.0, {"constant": -0.01}, "constant prediction"),
        ("maximize", 0.1, {}, None),
    ],
)
def test_the_best_of_better_models_is_named(
    direction: str, value: float, values: dict[str, float], better: str | None
) -> None:
    references = [Reference(name=name, value=figure, test=None) for name, figure in values.items()]
    model = better_model(references, value, Goal(direction=direction))
    assert (model.title if model else None) == better


def test_the_value_on_the_first_folds_is_the_mean_of_their_scores() -> None:
    trees = Reference(name="trees", value=0.8, test=None, scores=[0.6, 0.8, 0.9, 0.9])
    assert trees.value_on_first(2) == pytest.approx(0.7)
    assert [trees.value_on_first(folds) for folds in (0, 4, 5)] == [0.8] * 3
    assert Reference(name="trees", value=0.8, test=None).value_on_first(2) == 0.8


def trial_with(scores: Sequence[float]) -> CompletedTrial:
    return CompletedTrial(
        number=0,
        widths={"a": 8},
        origin=SAMPLER,
        value=float(np.mean(scores)),
        test=None,
        costs={},
        seed=0,
        scores=scores if len(scores) > 1 else (),
    )


def trees_with(scores: Sequence[float]) -> Reference:
    return Reference(
        name="trees",
        value=float(np.mean(scores)),
        test=None,
        scores=scores if len(scores) > 1 else (),
        ratio=0.25,
    )


@pytest.mark.parametrize(
    ("network", "trees", "direction", "winner", "beginning"),
    [
        (
            [0.90, 0.92, 0.91, 0.92, 0.90],
            [0.93, 0.95, 0.94, 0.94, 0.93],
            "maximize",
            "trees",
            "Another model is better here: the boosted trees are, with accuracy 0.938 against 0.91",
        ),
        (
            [0.90, 0.92, 0.91, 0.92, 0.90],
            [0.93, 0.90, 0.93, 0.91, 0.92],
            "maximize",
            "level",
            "The recommended network and the boosted trees are level: accuracy 0.91 and 0.918, a "
            "difference of 0.008 ± ",
        ),
        (
            [1.0, 1.1, 1.0, 1.2, 1.1],
            [2.0, 2.2, 2.0, 2.3, 2.1],
            "minimize",
            "network",
            "The recommended network is better than the boosted trees here: accuracy 1.08 against "
            "2.12, by 1 ± ",
        ),
        ([0.9], [0.92], "maximize", "trees", "Another model is better here: the boosted trees "),
        ([0.9] * 5, [0.9] * 5, "maximize", "level", "The recommended network and the boosted "),
    ],
    ids=["better", "level", "worse", "one split", "equal"],
)
def test_better_is_told_from_level_by_the_folds(
    network: list[float], trees: list[float], direction: str, winner: str, beginning: str
) -> None:
    references = [trees_with(trees)]
    goal = Goal(direction=direction)
    comparison = compare_models(references, trial_with(network), goal, "accuracy")
    assert comparison is not None
    assert comparison.winner == winner
    assert comparison.sentence().startswith(beginning)
    assert comparison.to_json()["name"] == winner
    assert ("not tested" in comparison.sentence()) == (len(network) == 1)


def test_the_test_is_students_corrected_for_rows_that_folds_share() -> None:
    network, trees = [0.90, 0.92, 0.91, 0.92, 0.90], [0.93, 0.90, 0.93, 0.91, 0.92]
    comparison = compare_models([trees_with(trees)], trial_with(network), Goal(), "accuracy")
    plain = stats.ttest_rel(network, trees)
    corrected = plain.statistic / np.sqrt(1 + len(trees) * 0.25)
    assert comparison is not None
    assert comparison.p == pytest.approx(2 * stats.t.sf(abs(corrected), len(trees) - 1))


def test_without_other_models_there_is_nothing_to_compare() -> None:
    assert compare_models([], trial_with([0.5, 0.6]), Goal(), "accuracy") is None
