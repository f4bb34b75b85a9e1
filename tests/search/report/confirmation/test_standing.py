"""Where contenders stand, goal by goal."""

import numpy as np
import pytest
from widthwise.search.goal import Goal, GoalKind
from widthwise.search.report.confirmation.comparison import ConfirmedValues, RaceRules
from widthwise.search.report.confirmation.standing import (
    State,
    beats_constant,
    judge_standings,
    undecided,
)
from widthwise.tests.search.report.confirmation.confirmation_inputs import (
    BEST,
    FIELD,
    LARGEST,
    RECOMMENDED,
    RULE,
    RUNNER_UP,
    UNIFORM,
    trainings,
)

SPREAD = np.array([0.001, -0.001, 0.0, 0.0005, -0.0005])


def confirmed(goal: Goal, **means: float) -> ConfirmedValues:
    by_name = {
        "recommended": RECOMMENDED,
        "runner_up": RUNNER_UP,
        "largest": LARGEST,
        "uniform": UNIFORM,
        "rule": RULE,
    }
    runs = [
        run
        for position, (name, mean) in enumerate(means.items())
        for run in trainings(by_name[name], list(mean + np.roll(SPREAD, position)))
    ]
    return ConfirmedValues.from_runs(runs, goal, RaceRules())


def states(goal: Goal, **means: float) -> dict[str, State]:
    standings = judge_standings(FIELD, confirmed(goal, **means), goal)
    return {standing.contender.label: standing.state for standing in standings}


def test_a_gain_must_hold_against_every_baseline():
    found = states(BEST, recommended=0.95, runner_up=0.92, largest=0.90, uniform=0.93, rule=0.8)
    assert found == {"recommended": State.PROVEN, "runner-up": State.REFUTED}


def test_the_cheapest_that_meets_the_target_and_those_before_it():
    goal = Goal(kind=GoalKind.SMALLEST, target=0.9, cost="parameters")
    found = states(goal, rule=0.85, recommended=0.95, runner_up=0.96, uniform=0.97, largest=0.97)
    assert list(found) == [item.label for item in (RULE, RECOMMENDED, RUNNER_UP, UNIFORM, LARGEST)]
    assert found["rule of thumb"] is State.REFUTED
    assert found["recommended"] is State.PROVEN


def test_as_good_is_judged_against_everything_that_costs_more():
    goal = Goal(kind=GoalKind.SMALLEST, cost="parameters")
    found = states(goal, rule=0.85, recommended=0.95, runner_up=0.95, uniform=0.95, largest=0.99)
    assert found["recommended"] is State.REFUTED
    assert found["largest that fits"] is State.PROVEN


@pytest.mark.parametrize("goal", [BEST, Goal(kind=GoalKind.SMALLEST, target=0.9)])
def test_nothing_hangs_on_anybody_once_the_answer_is_known(goal: Goal):
    values = confirmed(goal, recommended=0.95, runner_up=0.9, largest=0.8, uniform=0.8, rule=0.8)
    assert undecided(judge_standings(FIELD, values, goal), goal) == []


def test_a_contender_whose_trainings_all_failed_is_out():
    runs = trainings(RECOMMENDED, [None] * 5) + trainings(LARGEST, list(0.9 + SPREAD))
    values = ConfirmedValues.from_runs(runs, BEST, RaceRules())
    [standing] = judge_standings([RECOMMENDED, LARGEST], values, BEST)
    assert standing.state is State.REFUTED
    assert standing.metric is None


@pytest.mark.parametrize(("constant", "beaten"), [(0.89, True), (0.9, False), (0.95, False)])
def test_a_constant_prediction_is_beaten_beyond_the_noise(constant: float, beaten: bool):
    values = confirmed(BEST, recommended=0.9, largest=0.9)
    assert beats_constant([RECOMMENDED, LARGEST], values, constant) == beaten


def test_a_constant_is_held_to_be_beaten_as_seldom_as_stated():
    """One contender, no signal: 5 % of the simulated confirmations."""
    rng, claims = np.random.default_rng(5), 0
    for _ in range(2000):
        runs = trainings(RECOMMENDED, list(rng.normal(0.7, 0.01, size=5)))
        values = ConfirmedValues.from_runs(runs, BEST, RaceRules())
        claims += beats_constant([RECOMMENDED], values, 0.7)
    assert claims / 2000 <= 0.05 + 4 * (0.05 * 0.95 / 2000) ** 0.5


def test_a_constant_is_held_to_be_beaten_by_any_of_many_as_seldom_as_stated():
    """Five contenders, no signal: 5 % for all of them together."""
    rng, claims = np.random.default_rng(6), 0
    for _ in range(1000):
        runs = [
            run for item in FIELD for run in trainings(item, list(rng.normal(0.7, 0.01, size=5)))
        ]
        claims += beats_constant(FIELD, ConfirmedValues.from_runs(runs, BEST, RaceRules()), 0.7)
    assert claims / 1000 <= 0.05 + 4 * (0.05 * 0.95 / 1000) ** 0.5


@pytest.mark.parametrize("value", [1.0, 14 / 15])
@pytest.mark.parametrize("is_target", [False, True])
def test_of_networks_that_are_level_at_every_seed_the_smallest_suffices(
    value: float, is_target: bool
):
    goal = Goal(kind=GoalKind.SMALLEST, cost="parameters", target=value if is_target else None)
    runs = [run for item in FIELD for run in trainings(item, [value] * 5)]
    values = ConfirmedValues.from_runs(runs, goal, RaceRules())
    assert {standing.state for standing in judge_standings(FIELD, values, goal)} == {State.PROVEN}


def test_a_network_that_lacks_the_same_rows_at_every_seed_is_not_as_good():
    goal = Goal(kind=GoalKind.SMALLEST, cost="parameters")
    runs = trainings(RECOMMENDED, [0.9] * 5) + trainings(LARGEST, [1.0] * 5)
    values = ConfirmedValues.from_runs(runs, goal, RaceRules())
    smaller, largest = judge_standings([RECOMMENDED, LARGEST], values, goal)
    assert (smaller.state, largest.state) == (State.REFUTED, State.PROVEN)


@pytest.mark.parametrize("goal", [BEST, Goal(kind=GoalKind.SMALLEST, cost="parameters")])
def test_nothing_is_proven_while_a_reference_shares_no_seed(goal: Goal):
    """The largest has a metric with the seeds alone that the challenger failed with."""
    runs = [
        *trainings(RECOMMENDED, [*(0.95 + SPREAD), None, None]),
        *trainings(UNIFORM, [*(0.9 + np.roll(SPREAD, 1)), 0.9, 0.9]),
        *trainings(LARGEST, [None, None, None, None, None, 0.97, 0.97]),
    ]
    field = [RECOMMENDED, UNIFORM, LARGEST]
    values = ConfirmedValues.from_runs(runs, goal, RaceRules())
    standing = judge_standings(field, values, goal)[0]
    assert standing.contender == RECOMMENDED
    assert standing.state is State.OPEN
    assert LARGEST in standing.open_references
    without = [run for run in runs if run.value is None or run.key != LARGEST.key]
    values = ConfirmedValues.from_runs(without, goal, RaceRules())
    assert judge_standings(field, values, goal)[0].state is State.PROVEN
