"""A model that is better than the recommended network is named."""

import pytest
from widthwise.search.goal import Goal
from widthwise.search.report.reference import Reference, better_model


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
