"""The suggester: always feasible and untried, repeatable, spread out in batches, fast."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from widthwise.search.errors import Exhausted
from widthwise.search.goal import Goal
from widthwise.search.sampler.baselines import baselines
from widthwise.search.sampler.history import History
from widthwise.search.sampler.origin import CONFIRMATION, INITIAL_DESIGN, SAMPLER
from widthwise.search.sampler.suggest import Suggester
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Constraint, Order, Space, Tie, Width

Candidates = np.ndarray


def cost(candidates: Candidates) -> Mapping[str, np.ndarray]:
    chain = (candidates[:, :-1] * candidates[:, 1:]).sum(axis=1) + candidates[:, 0]
    return {"parameters": chain, "flops": 2 * chain}


def history(space: Space, tried: Candidates, values: np.ndarray) -> History:
    none = np.empty((0, space.dimensions), dtype=np.int64)
    return History(observed=tried, values=values, pending=none, failed=none)


def run_search(
    suggester: Suggester, truth: np.ndarray, trials: int, seed: int = 0, noise: float = 0.0
) -> Candidates:
    """Candidates in the order they were tried, quality peaking at `truth`, an encoded point."""
    space = suggester.feasible_set.space
    rng = np.random.default_rng(seed)
    tried = np.empty((0, space.dimensions), dtype=np.int64)
    values = np.empty(0)
    for number in range(trials):
        suggestion = suggester.suggest(
            history(space, tried, values), np.random.default_rng((seed, number))
        )
        row = space.as_row(suggestion.widths)[None, :]
        tried = np.vstack([tried, row])
        values = np.append(values, quality(space, row, truth) + rng.normal(0, noise))
    return tried


def quality(space: Space, candidates: Candidates, truth: np.ndarray) -> np.ndarray:
    return -((space.encode(candidates) - truth) ** 2).sum(axis=1)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    dimensions = draw(st.integers(1, 5))
    widths = tuple(
        Width.of(f"w{i}", draw(st.sets(st.integers(1, 64), min_size=1, max_size=6)))
        for i in range(dimensions)
    )
    constraints: list[Constraint] = []
    if dimensions > 2 and draw(st.booleans()):
        low = max(width.low for width in widths[:2])
        high = min(width.high for width in widths[:2])
        if low <= high:
            constraints.append(Order(("w0", "w1"), "non-increasing"))
    return Space(widths, tuple(constraints))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(data=st.data(), space=spaces(), seed=st.integers(0, 2**32 - 1), listed=st.booleans())
def test_ten_thousand_suggestions_are_feasible_and_never_repeated(
    data: st.DataObject, space: Space, seed: int, listed: bool
) -> None:
    # 100 spaces of up to 100 suggestions each: five batches of 20.
    everything = cost(space.sample(200, np.random.default_rng(0)))["parameters"]
    limit = int(np.quantile(everything, data.draw(st.floats(0.02, 1.0))))
    limits = Limits(parameters=max(limit, int(cost(space.smallest()[None, :])["parameters"][0])))
    # A set that may not be enumerated draws its candidates instead.
    feasible = FeasibleSet(space, limits, cost, cost_batch_size=2**20 if listed else 16)
    suggester = Suggester(feasible_set=feasible, baselines=baselines(feasible))
    tried = np.empty((0, space.dimensions), dtype=np.int64)
    rng = np.random.default_rng(seed)
    for number in range(5):
        trial_history = history(space, tried, rng.normal(size=len(tried)))
        try:
            batch = suggester.suggest_batch(
                trial_history, np.random.default_rng((seed, number)), 20
            )
        except Exhausted:
            if feasible.enumerated:
                assert len(tried) == feasible.is_feasible(space.enumerate()).sum()
            break
        rows = np.array([space.as_row(suggestion.widths) for suggestion in batch])
        assert space.contains_rows(rows).all()
        assert limits.is_feasible(cost(rows)).all()
        tried = np.vstack([tried, rows])
        assert len(np.unique(tried, axis=0)) == len(tried)


SMALL = Space(tuple(Width.range(f"w{i}", 8, 64, step=8) for i in range(3)))


@pytest.mark.parametrize("seed", range(3))
def test_the_peak_is_found_within_twenty_trainings(seed: int) -> None:
    feasible = FeasibleSet(SMALL, Limits(parameters=3000), cost)
    truth = np.array([0.5, 0.7, 0.4])
    tried = run_search(Suggester(feasible_set=feasible), truth, 20, seed, noise=0.01)
    everything = SMALL.enumerate()
    best = quality(SMALL, everything[feasible.is_feasible(everything)], truth).max()
    assert quality(SMALL, tried, truth).max() > best - 0.02


def test_the_same_history_and_seed_give_the_same_suggestion() -> None:
    feasible = FeasibleSet(SMALL, Limits(parameters=3000), cost)
    first = run_search(Suggester(feasible_set=feasible), np.full(3, 0.5), 12, seed=4)
    second = run_search(Suggester(feasible_set=feasible), np.full(3, 0.5), 12, seed=4)
    assert (first == second).all()


@pytest.mark.parametrize(
    ("thumb", "before"),
    [
        pytest.param(None, [], id="no baselines"),
        pytest.param([24.0, 16.0, 8.0], ["largest", "uniform", "rule"], id="three baselines"),
    ],
)
def test_the_surrogate_takes_over_after_the_design(
    thumb: list[float] | None, before: list[str]
) -> None:
    feasible = FeasibleSet(SMALL, Limits(parameters=3000), cost)
    first = [] if thumb is None else baselines(feasible, thumb)
    suggester = Suggester(feasible_set=feasible, baselines=first)
    samples = [INITIAL_DESIGN] * max(3 - len(before), 1)
    assert suggester.initial_design_size == len(before) + len(samples)
    tried = SMALL.enumerate()[:0]
    origins = []
    for number in range(suggester.initial_design_size + 1):
        trial_history = history(SMALL, tried, quality(SMALL, tried, np.full(3, 0.5)))
        suggestion = suggester.suggest(trial_history, np.random.default_rng(number))
        origins.append(suggestion.origin)
        tried = np.vstack([tried, SMALL.as_row(suggestion.widths)[None, :]])
    assert [origin.text.split()[0] for origin in origins[: len(before)]] == before
    assert origins[len(before) :] == [*samples, SAMPLER]


def test_a_bottleneck_is_found_sooner_than_by_chance() -> None:
    # The narrowest width decides, so the best are even; the largest under the limit are uneven.
    space = Space(tuple(Width.of(f"w{i}", [4, 8, 16, 32, 64, 128]) for i in range(4)))
    everything = space.enumerate()
    limit = int(np.quantile(cost(everything)["parameters"], 0.3))
    feasible = FeasibleSet(space, Limits(parameters=limit), cost)
    allowed = everything[feasible.is_feasible(everything)]

    def truth(candidates: Candidates) -> np.ndarray:
        return space.encode(candidates).min(axis=1) + 0.3 * space.encode(candidates).mean(axis=1)

    trials, ours, chance = 12, [], []
    suggester = Suggester(feasible_set=feasible, baselines=baselines(feasible)[:1])
    for seed in range(4):
        tried = allowed[:0]
        for number in range(trials):
            trial_history = history(space, tried, truth(tried))
            suggestion = suggester.suggest(trial_history, np.random.default_rng((seed, number)))
            tried = np.vstack([tried, space.as_row(suggestion.widths)[None, :]])
        ours.append(truth(tried).max())
    for seed in range(200):
        samples = np.random.default_rng(seed).choice(len(allowed), size=trials, replace=False)
        chance.append(truth(allowed[samples]).max())
    assert np.mean(ours) > np.mean(chance)


def test_candidates_of_a_batch_keep_apart() -> None:
    suggester = Suggester(feasible_set=FeasibleSet(SMALL, Limits(parameters=3000), cost))
    tried = run_search(suggester, np.full(3, 0.5), 12)
    trial_history = history(SMALL, tried, quality(SMALL, tried, np.full(3, 0.5)))
    batch = suggester.suggest_batch(trial_history, np.random.default_rng(0), 8)
    rows = np.array([list(suggestion.widths.values()) for suggestion in batch])
    assert len(np.unique(np.vstack([rows, tried]), axis=0)) == 20
    # What no suggestion knew of the others would do: the eight best by today's scores.
    gaps = SMALL.encode(rows)[:, None, :] - SMALL.encode(rows)[None, :, :]
    assert np.sqrt((gaps**2).sum(axis=2)).max() > 0.3


def test_a_batch_ends_with_the_candidates() -> None:
    space = Space((Width.of("w0", [1, 2]), Width.of("w1", [1, 2])))
    suggester = Suggester(feasible_set=FeasibleSet(space, Limits(), cost))
    none = history(space, np.empty((0, 2), dtype=np.int64), np.empty(0))
    assert len(suggester.suggest_batch(none, np.random.default_rng(0), 9)) == 4


def test_pending_candidates_keep_others_away() -> None:
    suggester = Suggester(feasible_set=FeasibleSet(SMALL, Limits(parameters=3000), cost))
    truth = np.full(3, 0.5)
    tried = run_search(suggester, truth, 12)
    trial_history = history(SMALL, tried, quality(SMALL, tried, truth))
    first = suggester.suggest(trial_history, np.random.default_rng(0))
    waiting = trial_history.with_pending(SMALL.as_row(first.widths)[None, :], None)
    assert suggester.suggest(waiting, np.random.default_rng(0)).widths != first.widths


def test_the_last_trial_confirms_the_best_candidate() -> None:
    suggester = Suggester(feasible_set=FeasibleSet(SMALL, Limits(parameters=3000), cost))
    rng = np.random.default_rng(0)
    feasible = suggester.feasible_set.candidate_pool(rng, SMALL.smallest()[None, :])
    tried = feasible[rng.choice(len(feasible), size=10, replace=False)]
    trial_history = history(SMALL, tried, quality(SMALL, tried, np.full(3, 0.6)))
    best = suggester.best_candidate(trial_history)
    assert not best.trained
    last = suggester.suggest(trial_history, np.random.default_rng(0), last=True)
    assert (last.origin, dict(last.widths)) == (CONFIRMATION, dict(best.widths))
    row = SMALL.as_row(last.widths)[None, :]
    after = history(
        SMALL,
        np.vstack([tried, row]),
        np.append(trial_history.values, quality(SMALL, row, np.full(3, 0.6))),
    )
    if suggester.best_candidate(after).trained:
        again = suggester.suggest(after, np.random.default_rng(0), last=True)
        assert again.origin != CONFIRMATION


def test_everything_tried_is_said() -> None:
    space = Space((Width.of("w0", [1, 2]),))
    suggester = Suggester(feasible_set=FeasibleSet(space, Limits(), cost))
    trial_history = history(space, np.array([[1], [2]]), np.array([0.1, 0.2]))
    with pytest.raises(Exhausted, match="every feasible candidate was tried"):
        suggester.suggest(trial_history, np.random.default_rng(0))


def chance_of_random(
    feasible: FeasibleSet, truth: np.ndarray, trials: int, seeds: int
) -> np.ndarray:
    first_hits = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        samples = np.vstack(
            [feasible.candidate_pool(rng, feasible.space.smallest()[None, :]) for _ in range(2)]
        )
        tried = samples[rng.choice(len(samples), size=trials, replace=False)]
        first_hits.append(quality(feasible.space, tried, truth).max())
    return np.array(first_hits)


LARGE = Space(
    tuple(Width.of(f"w{i}", [16, 24, 32, 48, 64, 96, 128, 192, 256, 512]) for i in range(30))
)


def one_percent() -> FeasibleSet:
    """A limit that admits one candidate in a hundred of 10^30."""
    costs = cost(LARGE.sample(20_000, np.random.default_rng(0)))["parameters"]
    return FeasibleSet(LARGE, Limits(parameters=int(np.quantile(costs, 0.01))), cost)


@pytest.mark.slow
def test_thirty_widths_under_a_tight_limit_are_searched_in_time_and_beat_random() -> None:
    feasible = one_percent()
    assert LARGE.size == 10**30
    assert 0.002 < feasible.feasible_fraction < 0.05
    # A point inside the limit is the known optimum: no loss there, some everywhere else.
    rng = np.random.default_rng(1)
    inside = feasible.candidate_pool(rng, LARGE.smallest()[None, :])
    ours = []
    for seed in range(3):
        truth = LARGE.encode(inside[[rng.integers(len(inside))]])[0]
        started = time.process_time()
        tried = run_search(Suggester(feasible_set=feasible), truth, 50, seed, noise=0.02)
        assert (time.process_time() - started) / 50 < 0.5
        assert feasible.is_feasible(tried).all()
        assert len(np.unique(tried, axis=0)) == 50
        chance = chance_of_random(feasible, truth, 50, 12)
        ours.append(quality(LARGE, tried, truth).max() > chance.max())
    # By chance each of three would beat all of twelve once in 13 times: p < 0.001.
    assert all(ours)


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [3, 7, 20, 60])
def test_ten_thousand_trials_leave_a_suggestion_fast(dimensions: int) -> None:
    space = Space(tuple(Width.range(f"w{i}", 8, 256, step=8) for i in range(dimensions)))
    feasible = FeasibleSet(space, Limits(), cost)
    rng = np.random.default_rng(0)
    tried = np.unique(space.sample(10_000, rng), axis=0)
    values = quality(space, tried, np.full(dimensions, 0.6)) + rng.normal(0, 0.1, len(tried))
    trial_history = history(space, tried, values)
    suggester = Suggester(feasible_set=feasible)
    suggester.suggest(trial_history, rng)
    started = time.process_time()
    suggester.suggest(trial_history, rng)
    assert time.process_time() - started < 0.5


def test_tied_widths_move_together() -> None:
    widths = tuple(Width.range(f"w{i}", 1, 64) for i in range(6))
    space = Space(widths, (Tie(("w0", "w3")),))
    suggester = Suggester(feasible_set=FeasibleSet(space, Limits(parameters=2000), cost))
    tried = run_search(suggester, np.full(6, 0.5), 14)
    assert (tried[:, 0] == tried[:, 3]).all()


@pytest.mark.parametrize(
    "goal",
    [
        pytest.param(Goal(kind="smallest", target=-0.1, cost="parameters"), id="smallest"),
        pytest.param(Goal(kind="front", cost="parameters"), id="front"),
    ],
)
def test_other_goals_search_where_they_matter(goal: Goal) -> None:
    suggester = Suggester(feasible_set=FeasibleSet(SMALL, Limits(), cost), goal=goal)
    truth = np.full(3, 0.7)
    tried = run_search(suggester, truth, 25)
    value = quality(SMALL, tried, truth)
    everything = SMALL.enumerate()
    good = quality(SMALL, everything, truth) >= -0.1
    cheapest = cost(everything[good])["parameters"].min()
    least_parameters = cost(tried[value >= -0.1])["parameters"].min()
    assert least_parameters <= 1.2 * cheapest


def test_the_smallest_without_a_target_looks_for_the_best_and_for_less() -> None:
    """Every other training looks for the best; the others for what is as good and costs less."""
    goal = Goal(kind="smallest", cost="parameters")
    suggester = Suggester(feasible_set=FeasibleSet(SMALL, Limits(), cost), goal=goal)
    truth = np.full(3, 0.7)
    tried = run_search(suggester, truth, 24)
    everything = SMALL.enumerate()
    assert quality(SMALL, tried, truth).max() > quality(SMALL, everything, truth).max() - 0.02
    sizes = cost(tried[6:])["parameters"]
    assert np.median(sizes[1::2]) != np.median(sizes[::2])
    assert (
        min(np.median(sizes[1::2]), np.median(sizes[::2]))
        < cost(tried[[int(np.argmax(quality(SMALL, tried, truth)))]])["parameters"]
    )
