"""One replay: a study searches a table with one seed, as `widthwise run` would, and is judged.

The baselines are trained first, then what the sampler suggests. At each count of trainings the
report's own recommendation is drawn; how good it truly is, the runs tell that the search did not
see. Entry point: `replay`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from widthwise.search.errors import Exhausted
from widthwise.search.goal import Goal
from widthwise.search.report.recommendation.candidate import JudgedCandidate
from widthwise.search.report.recommendation.recommendation import Recommendation, recommend_among
from widthwise.search.sampler.baselines import LARGEST_FEASIBLE, baselines
from widthwise.search.sampler.origin import Origin
from widthwise.search.sampler.suggest import Suggester
from widthwise.search.trial.history import CompletedTrial

from benchmarks.search.replay import make_history
from benchmarks.search.table import Table


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one replay came to after some trainings; true metrics are of unseen runs.

    Attributes:
        count: Trainings.
        recommended: True metric of the recommended candidate.
        best_observed: Of the luckiest trained one.
        largest: Of the largest that fits.
        best_baseline: Of the best of the baselines, by what is believed of them.
        optimum: The best true metric of all feasible candidates.
        is_trained: Whether the recommended one was trained.
        is_within: Whether its true metric lies in the interval that was given; unseen runs have
            noise of their own, which is added to the interval.
        verdict: The verdict's word.
        more_trainings: What "undecided" said.
    """

    count: int
    recommended: float
    best_observed: float
    largest: float
    best_baseline: float
    optimum: float
    is_trained: bool
    is_within: bool
    verdict: str
    more_trainings: int | None


def replay(
    table: Table, seed: int, counts: Sequence[int], held_out_error: float
) -> Iterator[Judged]:
    """Yield what the study is judged at after each count of trainings.

    Args:
        table: What is searched.
        seed: Of the search.
        counts: Trainings after which it is judged, rising.
        held_out_error: Standard error of the true metric, from the runs that it is the mean of.
    """
    feasible = table.feasible_set()
    middles = [(width.low * width.high) ** 0.5 for width in table.space.widths]
    plain = baselines(feasible, middles)
    suggester = Suggester(feasible_set=feasible, goal=Goal(), baselines=plain)
    rows: list[int] = []
    origins: list[Origin] = []
    while len(rows) < counts[-1]:
        history = make_history(table, np.asarray(rows, dtype=np.int64))
        try:
            suggestion = suggester.suggest(history, np.random.default_rng((seed, len(rows))))
        except Exhausted:
            return
        rows.append(_row(table, suggestion.widths))
        origins.append(suggestion.origin)
        if len(rows) in counts:
            yield _judge(table, rows, origins, held_out_error)


def _judge(
    table: Table, rows: Sequence[int], origins: Sequence[Origin], held_out_error: float
) -> Judged:
    trials = [
        CompletedTrial(
            number=number,
            widths=table.space.as_mapping(table.widths[row]),
            origin=origin,
            value=float(table.observed_metric[row]),
            test=None,
            costs={"flops": float(table.cost[row]), "parameters": float(table.cost[row])},
            seed=number,
        )
        for number, (row, origin) in enumerate(zip(rows, origins, strict=True))
    ]
    history = make_history(table, np.asarray(rows, dtype=np.int64))
    answer = recommend_among(table.space, Goal(), trials, history, table.feasible_set())
    assert answer is not None
    estimate = answer.recommended.estimate
    assert estimate is not None
    true = _true_metric(table, answer.recommended.widths)
    reach = 1.96 * float(np.hypot(estimate.deviation, held_out_error))
    return Judged(
        count=len(rows),
        recommended=true,
        best_observed=_true_metric(table, answer.best_observed.widths),
        largest=_true_metric(table, answer.baselines[LARGEST_FEASIBLE].widths),
        best_baseline=_true_metric(table, _best_baseline(answer)),
        optimum=float(table.held_out_metric[table.feasible].max()),
        is_trained=answer.recommended.trial is not None,
        is_within=abs(true - estimate.mean) <= reach,
        verdict=str(answer.verdict),
        more_trainings=answer.more_trainings,
    )


def _best_baseline(answer: Recommendation) -> Mapping[str, int]:
    def mean(candidate: JudgedCandidate) -> float:
        # One that fell far behind the rest has no estimate.
        return -np.inf if candidate.estimate is None else candidate.estimate.mean

    return max(answer.baselines.values(), key=mean).widths


def _row(table: Table, widths: Mapping[str, int]) -> int:
    values = np.array([[widths[name] for name in table.space.names]], dtype=np.int64)
    return int(table.row_indices(values)[0])


def _true_metric(table: Table, widths: Mapping[str, int]) -> float:
    return float(table.held_out_metric[_row(table, widths)])
