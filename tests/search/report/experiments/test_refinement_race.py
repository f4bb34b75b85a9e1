"""Refining, on trainings whose truth is planted: what it finds, and what it does not make up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from widthwise.search.goal import Goal
from widthwise.search.report.experiments.experiment_run import ExperimentRun
from widthwise.search.report.experiments.refinement import judge_refinement
from widthwise.search.report.experiments.refinement_axes import Axis, Option, Setting, wider_axis
from widthwise.search.report.experiments.refinement_race import (
    FIRST_SEEDS,
    MOST_SEEDS,
    Need,
    OptionVerdict,
    RaceState,
    race,
)
from widthwise.storage.ledger.slot import TrialOutcome
from widthwise.tests.search.report.experiments.runs import planted_run

NOISE = 0.004
BASE = Setting(widths={"a": 8, "b": 4})
SEEDS, FRESH = list(range(10)), list(range(100, 110))
Truth = Callable[[Setting], float]


def rate_option(rate: float) -> Option:
    return Option(text=f"learning rate {rate:g}", overrides={"proxy.learning_rate": rate})


AXES = [
    Axis(
        name="learning rate",
        group=0,
        options=[rate_option(0.0003), rate_option(0.003)],
        next_options={"learning rate 0.003": rate_option(0.01)},
    ),
    Axis(name="normalisation", group=1, note="the family cnn has none"),
    Axis(
        name="schedule",
        group=1,
        options=[Option(text="schedule cosine", overrides={"proxy.schedule": "cosine"})],
    ),
    Axis(
        name="weight decay",
        group=2,
        options=[Option(text="weight decay 0.1", overrides={"proxy.weight_decay": 0.1})],
    ),
    Axis(
        name="dropout",
        group=2,
        options=[
            Option(text=f"dropout {share}", overrides={"model.dropout": share})
            for share in (0.1, 0.3)
        ],
    ),
    wider_axis([{"a": 10, "b": 5}, {"a": 12, "b": 6}]),
]


class Simulation:
    """Trainings with a planted truth, done as they are asked for."""

    def __init__(self, truth: Truth, seed: int, *, sign: float = 1.0) -> None:
        self.truth, self.sign, self.runs = truth, sign, list[ExperimentRun]()
        self.rng = np.random.default_rng(seed)
        self.blocks = {key: 2 * NOISE * self.rng.standard_normal() for key in (*SEEDS, *FRESH)}

    def train(self, need: Need) -> ExperimentRun:
        value = self.truth(need.setting) + self.blocks[need.seed]
        value += NOISE * self.rng.standard_normal()
        return planted_run(
            need.seed,
            self.sign * value,
            widths=need.setting.widths,
            overrides=dict(need.setting.overrides),
        )

    def state(self, **options: Any) -> RaceState:
        return race(
            self.runs, AXES, BASE, sign=self.sign, seeds=SEEDS, fresh_seeds=FRESH, **options
        )

    def finish(self, **options: Any) -> RaceState:
        for _ in range(40):
            state = self.state(**options)
            if not state.needs:
                return state
            self.runs += map(self.train, state.needs)
        raise AssertionError("it has no end")


def nothing_helps(setting: Setting) -> float:
    return 0.9 - 0.01 * len(setting.overrides)


def no_difference(setting: Setting) -> float:
    del setting
    return 0.9


def rate_and_decay(setting: Setting) -> float:
    """A rate ten times as large brings 4 points, decay 2; all else nothing or harm."""
    rate = setting.overrides.get("proxy.learning_rate", 0.001)
    value = {0.0003: 0.80, 0.001: 0.85, 0.003: 0.87, 0.01: 0.89}[rate]
    value += 0.02 * (setting.overrides.get("proxy.weight_decay", 0) > 0)
    return value - 0.01 * (setting.overrides.get("model.dropout", 0) > 0)


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["maximize", "minimize"])
def test_what_helps_is_found_and_its_gain_is_told(sign: float) -> None:
    found, covered = 0, 0
    for seed in range(20):
        state = Simulation(rate_and_decay, seed, sign=sign).finish()
        found += state.best.overrides == {"proxy.learning_rate": 0.01, "proxy.weight_decay": 0.1}
        assert state.gain is not None
        assert state.gain.is_positive
        truth = rate_and_decay(state.best) - rate_and_decay(BASE)
        covered += abs(state.gain.mean - truth) <= state.gain.half_width
    assert found >= 19
    assert covered >= 18  # of intervals of 95 %


@pytest.mark.parametrize("truth", [nothing_helps, no_difference])
def test_no_gain_is_made_up(truth: Truth) -> None:
    claims = 0
    for seed in range(100):
        state = Simulation(truth, seed).finish()
        claims += state.gain is not None and state.gain.is_positive
    assert claims <= 5  # 2.5 % at most: the fresh seeds decide


def test_a_wider_net_may_win() -> None:
    def wider_helps(setting: Setting) -> float:
        return 0.9 + 0.01 * (setting.widths["a"] - 8)

    state = Simulation(wider_helps, 0).finish()
    assert state.best == Setting(widths={"a": 12, "b": 6})
    assert state.gain is not None
    assert state.gain.is_positive


def test_of_several_winners_what_is_applied_is_what_is_said_to_be_taken() -> None:
    """Both dropouts help, the smaller more; weight decay helps alone, and nothing on top."""

    def either_helps(setting: Setting) -> float:
        dropout = {0: 0.0, 0.1: 0.06, 0.3: 0.04}[setting.overrides.get("model.dropout", 0)]
        decay = 0.04 * (setting.overrides.get("proxy.weight_decay", 0) > 0)
        others = len(setting.overrides.keys() - {"model.dropout", "proxy.weight_decay"})
        return 0.8 + max(dropout, decay) - 0.02 * others - 0.01 * (setting.widths["a"] > 8)

    state = Simulation(either_helps, 0).finish()
    better = [item.text for item in state.decisions if item.verdict is OptionVerdict.BETTER]
    assert better == ["weight decay 0.1", "dropout 0.1", "dropout 0.3"]
    assert state.best.overrides == {"model.dropout": 0.1}
    assert dict(state.taken) == {"dropout": "dropout 0.1"}
    found = judge_refinement(
        state,
        [],
        BASE,
        study="s",
        follow_up=None,
        metric="accuracy",
        goal=Goal(),
        splits=1,
    )
    assert found.verdict_text.startswith("Set dropout 0.1: +")


def test_of_a_rate_that_is_raised_twice_the_last_is_taken() -> None:
    state = Simulation(rate_and_decay, 0).finish()
    assert dict(state.taken) == {
        "learning rate": "learning rate 0.01",
        "weight decay": "weight decay 0.1",
    }


def test_a_best_setting_that_fails_with_a_fresh_seed_is_not_taken() -> None:
    class Failing(Simulation):
        def train(self, need: Need) -> ExperimentRun:
            run = super().train(need)
            if need.seed not in FRESH or "proxy.weight_decay" not in need.setting.overrides:
                return run
            return planted_run(
                need.seed, None, widths=run.widths, overrides=dict(run.overrides),
                outcome=TrialOutcome.NAN,
            )  # fmt: skip

    state = Failing(rate_and_decay, 0).finish()
    assert state.best.overrides == {"proxy.learning_rate": 0.01}
    assert dict(state.taken) == {"learning rate": "learning rate 0.01"}
    assert state.gain is not None


def test_the_learning_rate_comes_first_and_what_follows_stands_on_it() -> None:
    simulation = Simulation(rate_and_decay, 1)
    first = simulation.state()
    assert {need.setting.key for need in first.needs} == {BASE.key}
    simulation.runs += map(simulation.train, first.needs)
    second = simulation.state().needs
    assert {need.label for need in second} == {"learning rate 0.0003", "learning rate 0.003"}
    assert [need.seed for need in second] == [0, 1, 2, 0, 1, 2]
    state = simulation.finish()
    axes = list(dict.fromkeys(decision.axis for decision in state.decisions))
    assert axes == [axis.name for axis in AXES]
    later = [run for run in simulation.runs if "proxy.schedule" in run.overrides]
    assert {run.overrides["proxy.learning_rate"] for run in later} == {0.01}


def test_what_is_no_better_costs_no_more_than_the_first_seeds() -> None:
    simulation = Simulation(nothing_helps, 2)
    state = simulation.finish()
    assert state.best == BASE
    assert state.gain is None
    assert {run.seed for run in simulation.runs} <= set(SEEDS[:MOST_SEEDS])
    dropped = [decision for decision in state.decisions if decision.difference]
    assert all(decision.difference.seeds == FIRST_SEEDS for decision in dropped[:2])  # type: ignore[union-attr]


def test_the_state_follows_from_the_trainings_in_whatever_order_they_are_read() -> None:
    simulation = Simulation(rate_and_decay, 3)
    expected = simulation.finish()
    simulation.runs.reverse()
    again = simulation.state()
    assert not again.needs
    assert again.best == expected.best
    assert [decision.text for decision in again.decisions] == [
        decision.text for decision in expected.decisions
    ]
    # One that got lost is asked for again, and nothing else.
    lost = simulation.runs.pop(4)
    (need,) = simulation.state().needs
    assert (need.seed, need.setting.overrides) == (lost.seed, lost.overrides)


def test_a_failing_option_is_out_and_says_why() -> None:
    class Failing(Simulation):
        def train(self, need: Need) -> ExperimentRun:
            run = super().train(need)
            if need.setting.overrides.get("proxy.learning_rate") != 0.003 or need.seed != 1:
                return run
            return planted_run(
                need.seed, None, widths=run.widths, overrides=dict(run.overrides),
                outcome=TrialOutcome.NAN, detail="the training loss became nan in epoch 3",
            )  # fmt: skip

    state = Failing(rate_and_decay, 0).finish()
    (failed,) = [d for d in state.decisions if d.verdict is OptionVerdict.FAILED]
    assert failed.text == "learning rate 0.003"
    assert failed.detail == "the training loss became nan in epoch 3"
    assert "proxy.learning_rate" not in state.best.overrides


def test_a_study_whose_own_setting_fails_is_not_refined() -> None:
    class Failing(Simulation):
        def train(self, need: Need) -> ExperimentRun:
            if need.setting != BASE:
                return super().train(need)
            return planted_run(
                need.seed, None, widths=BASE.widths, outcome=TrialOutcome.OUT_OF_MEMORY
            )

    state = Failing(rate_and_decay, 0).finish()
    assert state.failed == "out of memory"
    assert not state.decisions


@pytest.mark.parametrize("budget", [3, 20, 25, 40, 60])
def test_a_budget_is_kept_and_leaves_room_for_the_fresh_seeds(budget: int) -> None:
    simulation = Simulation(rate_and_decay, 4)
    state = simulation.finish(budget=budget)
    assert len(simulation.runs) <= budget
    assert (state.best == BASE) == (state.gain is None)
    skipped = [d for d in state.decisions if d.verdict is OptionVerdict.NOT_TRIED and not d.text]
    assert any("not enough" in (decision.detail or "") for decision in skipped) == (budget < 60)
    if budget < 60:
        assert skipped[-1].axis == "wider"
