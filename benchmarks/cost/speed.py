"""Candidates a second: by polynomials, and by tracing one after the other.

Entry point: `measure_speeds`.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from widthwise.objectives.cost.costs import count_costs
from widthwise.objectives.cost.model import CostModel
from widthwise.tests.objectives.zoo.spaces import SPACES, count_mismatches

TRACED_CANDIDATES, EVALUATED_CANDIDATES, EVALUATION_REPEATS = 10, 200_000, 3


def measure_speeds(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield for each space how fast its candidates' costs are known, and how many are wrong.

    Seconds are of this process's CPU time, so that other work on the machine does not count.
    """
    for name, searched_space in SPACES.items():
        if quick and name == "ResNet-50":
            continue
        space = searched_space.space
        model = CostModel(searched_space.build, searched_space.step, space.names)
        started = time.process_time()
        model.fit(space)
        fit_seconds = time.process_time() - started

        rng = np.random.default_rng(0)
        started = time.process_time()
        for row in space.sample(TRACED_CANDIDATES, rng):
            widths = space.as_mapping(row)
            count_costs(partial(searched_space.build, widths), searched_space.step)
        traced_per_second = TRACED_CANDIDATES / (time.process_time() - started)

        candidates = space.sample(EVALUATED_CANDIDATES, rng)
        seconds = []
        for _ in range(EVALUATION_REPEATS):
            started = time.process_time()
            model.evaluate(candidates)
            seconds.append(time.process_time() - started)
        evaluated_per_second = EVALUATED_CANDIDATES / min(seconds)

        compared_count = 20 if quick else 200
        yield {
            "space": name,
            "widths": space.dimensions,
            "candidates": space.size,
            "counted_by": model.counted_by,
            "traces_of_the_fit": model.trace_count,
            "seconds_of_the_fit": fit_seconds,
            "traced_per_second": traced_per_second,
            "evaluated_per_second": evaluated_per_second,
            "ratio": evaluated_per_second / traced_per_second,
            "compared": compared_count,
            "exact": compared_count - count_mismatches(searched_space, model, compared_count),
        }
