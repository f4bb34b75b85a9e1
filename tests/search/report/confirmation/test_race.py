"""The race: who is trained next, when it ends, and how often it is wrong."""

from collections.abc import Mapping

import numpy as np
from widthwise.search.goal import Goal, GoalKind
from widthwise.search.report.confirmation.confirmed_run import ConfirmedRun
from widthwise.search.report.confirmation.contender import SPREAD
from widthwise.search.report.confirmation.judgement import judge_confirmation
from widthwise.search.report.confirmation.race import constant_score, next_trainings
from widthwise.search.report.verdict import Verdict
from widthwise.tests.search.report.confirmation.confirmation_inputs import (
    BEST,
    FIELD,
    LARGEST,
    RECOMMENDED,
    RULE,
    contender,
    evidence,
    training,
    trainings,
)

DUEL = [RECOMMENDED, LARGEST]


def simulate(
    truth: Mapping[str, float], seed: int, goal: Goal = BEST
) -> tuple[list[ConfirmedRun], Verdict]:
    rng = np.random.default_rng(seed)
    luck = rng.normal(0.0, 1.0, size=16)
    runs: list[ConfirmedRun] = []
    while wanted := next_trainings(DUEL, runs, goal):
        runs += [
            training(item, index, truth[item.label] + luck[index] + rng.normal())
            for item, index in wanted
        ]
    return runs, judge_confirmation(DUEL, runs, evidence(goal)).verdict


def share(verdict: Verdict, truth: Mapping[str, float], races: int, goal: Goal = BEST) -> float:
    return sum(simulate(truth, seed, goal)[1] is verdict for seed in range(races)) / races


def test_a_gain_is_claimed_in_error_as_seldom_as_stated():
    """One-sided 2.5 % of 2,000 races without any difference, and four standard errors."""
    truth = {"recommended": 0.0, "largest that fits": 0.0}
    assert share(Verdict.GAIN, truth, 2000) <= 0.025 + 4 * (0.025 * 0.975 / 2000) ** 0.5


def test_a_gain_is_found_with_the_power_that_is_stated():
    """A gain of twice the deviation of one training: 90 %, and more of the thrice."""
    assert share(Verdict.GAIN, {"recommended": 2.0, "largest that fits": 0.0}, 200) >= 0.85
    assert share(Verdict.GAIN, {"recommended": 3.0, "largest that fits": 0.0}, 200) >= 0.98


def test_too_small_a_network_is_held_to_be_as_good_as_seldom_as_stated():
    """Worse by the whole margin, √2 standard deviations of a training: 5 % at most."""
    goal = Goal(kind=GoalKind.SMALLEST, cost="parameters")
    truth = {"recommended": -(2.0**0.5), "largest that fits": 0.0}
    wrong = share(Verdict.SMALLEST_SUFFICIENT, truth, 1000, goal)
    assert wrong <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


def test_a_network_below_the_target_is_held_to_meet_it_as_seldom_as_stated():
    goal = Goal(kind=GoalKind.SMALLEST, target=0.0, cost="parameters")
    truth = {"recommended": 0.0, "largest that fits": 5.0}
    wrong = share(Verdict.SMALLEST_SUFFICIENT, truth, 1000, goal)
    assert wrong <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


def test_everybody_begins_with_the_same_seeds():
    wanted = next_trainings(FIELD, [], BEST, first_seeds=3)
    assert sorted((item.label, index) for item, index in wanted) == sorted(
        (item.label, index) for item in FIELD for index in range(3)
    )


def test_what_is_missing_of_the_beginning_is_asked_for_alone():
    runs = trainings(RECOMMENDED, [0.9] * 5) + trainings(LARGEST, [0.9] * 3)
    assert next_trainings(DUEL, runs, BEST) == [(LARGEST, 3), (LARGEST, 4)]


def test_a_failed_training_is_not_asked_for_again():
    runs = trainings(RECOMMENDED, [None] * 5) + trainings(LARGEST, [0.9] * 5)
    assert next_trainings(DUEL, runs, BEST) == []


def test_only_what_is_open_gets_more_seeds():
    values = [0.91, 0.95, 0.90, 0.94, 0.93]
    clear_loser = [0.5, 0.52, 0.49, 0.51, 0.5]
    runs = [
        *trainings(RECOMMENDED, values),
        *trainings(LARGEST, [0.89, 0.93, 0.91, 0.92, 0.91]),
        *trainings(RULE, clear_loser),
    ]
    wanted = next_trainings([RECOMMENDED, LARGEST, RULE], runs, BEST)
    assert {(item.label, index) for item, index in wanted} == {
        (item.label, index) for item in (RECOMMENDED, LARGEST) for index in (5, 6)
    }


def test_a_race_ends_with_the_most_seeds():
    for seed in range(50):
        runs, _ = simulate({"recommended": 1.0, "largest that fits": 0.0}, seed)
        assert max(run.seed_index for run in runs) <= 9


def test_the_same_trainings_ask_for_the_same_next_ones():
    runs = trainings(RECOMMENDED, [0.91, 0.95, 0.9, 0.94, 0.93]) + trainings(
        LARGEST, [0.89, 0.93, 0.91, 0.92, 0.91]
    )
    first = next_trainings(DUEL, runs, BEST)
    assert first
    assert next_trainings(DUEL, runs, BEST) == first


def test_spread_out_candidates_get_their_first_seeds_and_no_more():
    spread = contender(SPREAD, 30)
    wanted = next_trainings([*DUEL, spread], [], BEST)
    assert sum(item == spread for item, _ in wanted) == 5
    runs = [
        *trainings(RECOMMENDED, [0.91, 0.95, 0.9, 0.94, 0.93]),
        *trainings(LARGEST, [0.89, 0.93, 0.91, 0.92, 0.91]),
        *trainings(spread, [0.7, 0.71, 0.69, 0.7, 0.72]),
    ]
    assert spread not in [item for item, _ in next_trainings([*DUEL, spread], runs, BEST)]


def test_a_race_of_networks_that_learnt_nothing_ends_at_once():
    runs = trainings(RECOMMENDED, [0.70, 0.71, 0.69, 0.70, 0.71], constant_score=0.715)
    runs += trainings(LARGEST, [0.69, 0.70, 0.70, 0.71, 0.69], constant_score=0.715)
    assert constant_score(runs) == 0.715
    assert next_trainings(DUEL, runs, BEST) == []


def test_spread_out_candidates_that_learnt_something_keep_no_race_alive():
    """The verdict is on the others, who have learnt nothing."""
    spread = contender(SPREAD, 30)
    runs = trainings(RECOMMENDED, [0.71, 0.75, 0.70, 0.74, 0.73], constant_score=0.76)
    runs += trainings(LARGEST, [0.69, 0.73, 0.71, 0.72, 0.71], constant_score=0.76)
    runs += trainings(spread, [0.9, 0.91, 0.89, 0.9, 0.9], constant_score=0.76)
    assert next_trainings([*DUEL, spread], runs, BEST) == []
    answer = judge_confirmation([*DUEL, spread], runs, evidence())
    assert (answer.verdict, answer.complete) == (Verdict.NOT_TRAINED, True)
