"""Candidates a second: by polynomials, and by tracing one after the other.

Entry point: `speeds`.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from widthwise.objectives.cost.costs import count_costs
from widthwise.objectives.cost.model import CostModel
from widthwise.tests.objectives.zoo.spaces import SPACES, mismatches

TRACED, EVALUATED, REPEATS = 10, 200_000, 3


def speeds(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield for each space how fast its candidates' costs are known, and how many are wrong.

    Seconds are of this process's CPU time, so that other work on the machine does not count.
    """
    for name, searched in SPACES.items():
        if quick and name == "ResNet-50":
            continue
        space = searched.space
        model = CostModel(searched.build, searched.step, space.names)
        started = time.process_time()
        model.fit(space)
        fitting = time.process_time() - started

        rng = np.random.default_rng(0)
        started = time.process_time()
        for row in space.sample(TRACED, rng):
            widths = space.as_mapping(row)
            count_costs(partial(searched.build, widths), searched.step)
        traced = TRACED / (time.process_time() - started)

        candidates = space.sample(EVALUATED, rng)
        seconds = []
        for _ in range(REPEATS):
            started = time.process_time()
            model.evaluate(candidates)
            seconds.append(time.process_time() - started)
        evaluated = EVALUATED / min(seconds)

        compared = 20 if quick else 200
        yield {
            "space": name,
            "widths": space.dimensions,
            "candidates": space.size,
            "exact_by": model.exact_by,
            "traces_of_the_fit": model.traces,
            "seconds_of_the_fit": fitting,
            "traced_per_second": traced,
            "evaluated_per_second": evaluated,
            "ratio": evaluated / traced,
            "compared": compared,
            "exact": compared - mismatches(searched, model, compared),
        }
