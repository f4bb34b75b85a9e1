"""The estimators, by scikit-learn's own checks and beside its own estimators."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_regression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from widthwise.integrations.sklearn import WidthSearchClassifier, WidthSearchRegressor
from widthwise.search.errors import NothingFeasible

TINY: dict[str, Any] = {
    "trials": 1,
    "hidden_layers": 1,
    "min_width": 16,
    "max_width": 32,
    "epochs": 30,
    "folds": 1,
    "batch_size": 32,
    "learning_rate": 0.02,
    "device": "cpu",
}
"""A search that takes a second: the checks are about estimators, not about widths."""


NOT_RUN = {"check_array_api_input"}
"""It skips itself unless SCIPY_ARRAY_API is set before scipy is loaded: an experiment of theirs."""
CHECKS = [
    pytest.param(one, check, id=f"{type(one).__name__}-{check.func.__name__}-{number}")
    for estimator in (WidthSearchClassifier(**TINY), WidthSearchRegressor(**TINY))
    for number, (one, check) in enumerate(estimator_checks_generator(estimator))
    if check.func.__name__ not in NOT_RUN
]


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_scikit_learns_own_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_none_of_the_checks_that_count_is_left_out() -> None:
    assert len(CHECKS) > 100


def test_the_widths_found_are_those_of_the_network_within_the_limits() -> None:
    x, y = load_iris(return_X_y=True)
    model = WidthSearchClassifier(
        **{**TINY, "hidden_layers": 2, "min_width": 8, "trials": 3},
        limits={"parameters": 1300},
        random_state=0,
    ).fit(x, y)
    sizes = [layer.out_features for layer in model.network_.modules() if hasattr(layer, "weight")]
    assert sizes == [*model.best_widths_.values(), 3]
    assert sum(weights.numel() for weights in model.network_.parameters()) <= 1300
    assert len(model.trials_) == 3
    assert model.report_["trials"]["complete"] == 3
    assert model.score(x, y) > 0.9


def test_labels_are_words_and_columns_have_names_in_a_pipeline() -> None:
    iris = load_iris(as_frame=True)
    words = iris.target_names[iris.target]
    pipeline = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        WidthSearchClassifier(**TINY, random_state=1),
    ).fit(iris.data, words)
    model = pipeline[-1]
    assert list(model.classes_) == ["setosa", "versicolor", "virginica"]
    assert list(model.feature_names_in_) == list(iris.data.columns)
    assert model.n_features_in_ == 4
    assert set(pipeline.predict(iris.data)) <= set(words)
    shares = pipeline.predict_proba(iris.data)
    assert np.allclose(shares.sum(axis=1), 1)
    assert (model.classes_[shares.argmax(axis=1)] == pipeline.predict(iris.data)).all()


def test_it_is_cloned_pickled_and_cross_validated() -> None:
    x, y = load_iris(return_X_y=True)
    model = WidthSearchClassifier(**TINY, random_state=2)
    scores = cross_val_score(model, x, y, cv=2)
    assert scores.min() > 0.8
    fitted = clone(model).fit(x, y)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(x), fitted.predict_proba(x))
    assert again.get_params() == model.get_params()


def test_a_random_state_repeats_a_fit_whatever_ran_before() -> None:
    x, y = load_diabetes(return_X_y=True)
    first = WidthSearchRegressor(**TINY, random_state=3).fit(x, y).predict(x)
    torch.rand(7)
    np.random.rand(7)
    second = WidthSearchRegressor(**TINY, random_state=3).fit(x, y).predict(x)
    assert np.array_equal(first, second)
    other = WidthSearchRegressor(**TINY, random_state=4).fit(x, y).predict(x)
    assert not np.array_equal(first, other)


def test_predictions_are_in_the_units_of_the_targets_also_of_several() -> None:
    x, y = make_regression(300, 5, n_targets=2, random_state=0)
    y = 1000 + 50 * y
    model = WidthSearchRegressor(**{**TINY, "epochs": 150}, random_state=0).fit(x, y)
    linear = Ridge().fit(x, y)
    assert model.predict(x).shape == (300, 2)
    assert model.score(x, y) > 0.97 * linear.score(x, y)
    one = WidthSearchRegressor(**{**TINY, "epochs": 150}, random_state=0).fit(x, y[:, 0])
    assert one.predict(x).shape == (300,)
    assert one.score(x, y[:, 0]) > 0.97


@pytest.mark.slow
def test_it_is_as_good_as_scikit_learns_network_and_a_linear_model() -> None:
    """Breast cancer, three divisions into halves: within two points of the better of both."""
    x, y = load_breast_cancer(return_X_y=True)
    ours, theirs = [], []
    for seed in range(3):
        x_train, x_test, y_train, y_test = train_test_split(
            x, y, test_size=0.5, random_state=seed, stratify=y
        )
        model = WidthSearchClassifier(
            trials=8, max_width=64, folds=5, epochs=60, learning_rate=0.005, random_state=seed
        )
        ours.append(model.fit(x_train, y_train).score(x_test, y_test))
        others = [MLPClassifier(random_state=seed, max_iter=500), LogisticRegression()]
        theirs.append(
            [
                make_pipeline(StandardScaler(), other).fit(x_train, y_train).score(x_test, y_test)
                for other in others
            ]
        )
    assert np.mean(ours) > np.mean(theirs, axis=0).max() - 0.02


def test_noise_is_fitted_too() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(60, 3)), generator.integers(2, size=60)
    tiny = {**TINY, "trials": 5, "epochs": 2, "min_width": 4}
    model = WidthSearchClassifier(**tiny, random_state=0).fit(x, y)
    assert model.report_["trials"]["complete"] == 5


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"hidden_layers": 0}, "hidden_layers is 0, expected a whole number of at least 1"),
        ({"batch_size": "x"}, "batch_size is 'x', expected a whole number"),
        ({"min_width": 64}, "min_width 64 is above max_width 32"),
        ({"max_width": 3.5}, "max_width is 3.5"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"validation_fraction": 1.5}, "validation_fraction is 1.5"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_a_sentence(
    parameters: dict[str, Any], sentence: str
) -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=sentence):
        WidthSearchClassifier(**{**TINY, **parameters}).fit(x, y)


def test_labels_of_one_class_and_limits_that_nothing_keeps_are_refused() -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="the labels have one class, 0"):
        WidthSearchClassifier(**TINY).fit(x[:50], y[:50])
    with pytest.raises(NothingFeasible):
        WidthSearchClassifier(**TINY, limits={"parameters": 10}).fit(x, y)
