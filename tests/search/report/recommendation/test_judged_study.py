"""What a recommendation asks of a study."""

from __future__ import annotations

import numpy as np
from widthwise.search.report.recommendation.judged_study import trained_set
from widthwise.search.sampler.origin import SAMPLER
from widthwise.search.space.space import Space, Width
from widthwise.search.trial.history import CompletedTrial

SPACE = Space((Width.range("a", 8, 64, step=8), Width.range("b", 8, 64, step=8)))


def test_what_was_not_trained_has_no_costs_where_the_model_is_not_here() -> None:
    rows = SPACE.enumerate()
    is_trained = np.random.default_rng(0).random(len(rows)) < 0.4
    trials = [
        CompletedTrial(
            number=number,
            widths=SPACE.as_mapping(row),
            origin=SAMPLER,
            value=0.5,
            test=None,
            costs={"flops": 2 * int(row.prod())},
            seed=number,
        )
        for number, row in enumerate(rows[is_trained])
    ]
    feasible = trained_set(SPACE, trials)
    for row, trained in zip(rows, is_trained, strict=True):
        costs = feasible.cost_function(row[None, :])
        assert {name: values.tolist() for name, values in costs.items()} == (
            {"flops": [2 * row.prod()]} if trained else {}
        )
