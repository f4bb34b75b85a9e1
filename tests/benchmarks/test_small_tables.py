"""The benchmark of default lengths measures what it says."""

from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression
from widthwise.benchmarks.small_tables.__main__ import RULES, judge_others, measure
from widthwise.objectives.data.load import load_data


def test_scikit_learn_judges_the_same_test_rows() -> None:
    data = load_data("wine", base=Path(), seed=3)
    scores = dict(judge_others(data))
    model = LogisticRegression(max_iter=2_000)
    model.fit(data.train.inputs.numpy(), data.train.targets.numpy())
    predictions = model.predict(data.test.inputs.numpy())
    assert scores["linear"] == pytest.approx((predictions == data.test.targets.numpy()).mean())
    assert scores["constant"] < 0.5 < scores["trees"]


def test_every_rule_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {"3 epochs": RULES["3 epochs"], "default": RULES["default"]}
    monkeypatch.setattr("widthwise.benchmarks.small_tables.__main__.RULES", rules)
    figures = dict(measure("iris", 0))
    assert figures["rows"] == 90
    assert figures["steps, 3 epochs"] <= 40 < 300 <= figures["steps, default"] <= 3_000
    assert figures["default"] > figures["constant"]
