"""The sampler in ordinary Optuna studies: the contract, feasibility, exhaustion, resuming."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)
from optuna.trial import TrialState
from widthwise.search.errors import Exhausted, NothingFeasible
from widthwise.search.goal import Goal
from widthwise.search.sampler.optuna_history import EXHAUSTED_KEY
from widthwise.search.sampler.optuna_sampler import WidthSampler
from widthwise.search.space.limits import Limits
from widthwise.search.space.space import Order, Space, Width

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE = Space((Width.range("a", 8, 64, step=8), Width.range("b", 8, 64, step=8)))
LIMITS = Limits(parameters=1500)


def cost(candidates: np.ndarray) -> Mapping[str, np.ndarray]:
    return {"parameters": candidates.prod(axis=1), "flops": 2 * candidates.prod(axis=1)}


def quality(a: int, b: int) -> float:
    return -((np.log2(a) - 5.0) ** 2) - (np.log2(b) - 4.5) ** 2


def objective(trial: optuna.Trial) -> float:
    return quality(trial.suggest_int("a", 8, 64, step=8), trial.suggest_int("b", 8, 64, step=8))


def run_study(sampler: BaseSampler, storage: str | None = None) -> optuna.Study:
    return optuna.create_study(
        direction="maximize",
        sampler=sampler,
        storage=storage,
        study_name="widths",
        load_if_exists=True,
    )


def trial_widths(study: optuna.Study) -> list[tuple[int, int]]:
    return [(trial.params["a"], trial.params["b"]) for trial in study.trials]


class TestOptunaContract(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    """Optuna's own tests; the space's widths are asked for by none of them."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: WidthSampler(Space((Width.of("unused", [8, 16]),)), seed=0)


def test_only_feasible_untried_widths_are_trained() -> None:
    study = run_study(WidthSampler(SPACE, LIMITS, cost, seed=0))
    study.optimize(objective, n_trials=25)
    assert len(set(trial_widths(study))) == 25
    assert all(a * b <= 1500 for a, b in trial_widths(study))
    assert study.best_value > -0.25


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda trial: trial.suggest_int("w", 4, 64), id="integer range"),
        pytest.param(lambda trial: trial.suggest_int("w", 4, 64, log=True), id="log range"),
        pytest.param(lambda trial: trial.suggest_categorical("w", [4, 8, 16, 64]), id="choice"),
    ],
)
def test_a_width_may_be_asked_for_in_any_way(ask: Callable[[optuna.Trial], int]) -> None:
    study = run_study(WidthSampler(Space((Width.of("w", [4, 8, 16, 64]),)), seed=0))
    study.optimize(lambda trial: float(ask(trial)), n_trials=4)
    assert sorted(trial.params["w"] for trial in study.trials) == [4, 8, 16, 64]


def test_a_range_that_does_not_hold_the_widths_is_refused_with_both() -> None:
    study = run_study(WidthSampler(Space((Width.of("w", [128, 256]),)), seed=0))
    with pytest.raises(ValueError, match=r"'w'.*high=64.*128 to 256"):
        study.ask().suggest_int("w", 8, 64)


def test_an_exhausted_study_ends_and_says_so() -> None:
    space = Space((Width.of("a", [8, 16]), Width.of("b", [8, 16])))
    study = run_study(WidthSampler(space, Limits(parameters=200), cost, seed=0))
    study.optimize(
        lambda trial: float(trial.suggest_int("a", 8, 16) + trial.suggest_int("b", 8, 16)),
        n_trials=20,
    )
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3 + [
        TrialState.PRUNED
    ]
    assert "every feasible candidate was tried" in study.user_attrs[EXHAUSTED_KEY]
    with pytest.raises(Exhausted, match="every feasible candidate was tried"):
        study.ask().suggest_int("a", 8, 16)


def test_an_empty_feasible_set_is_refused_at_once() -> None:
    with pytest.raises(NothingFeasible, match="parameters"):
        WidthSampler(SPACE, Limits(parameters=10), cost)


def test_a_one_point_space_is_trained_once() -> None:
    study = run_study(WidthSampler(Space((Width.of("a", [8]),)), seed=0))
    study.optimize(lambda trial: float(trial.suggest_int("a", 1, 64)), n_trials=5)
    assert [trial.params.get("a") for trial in study.trials] == [8, None]


def test_the_same_seed_gives_the_same_study_and_another_another() -> None:
    runs = []
    for seed in (0, 0, 1):
        study = run_study(WidthSampler(SPACE, LIMITS, cost, seed=seed))
        study.optimize(objective, n_trials=12)
        runs.append(trial_widths(study))
    assert runs[0] == runs[1] != runs[2]


def test_a_resumed_study_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    uninterrupted = run_study(WidthSampler(SPACE, LIMITS, cost, seed=3))
    uninterrupted.optimize(objective, n_trials=14)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    for _ in range(2):
        part = run_study(WidthSampler(SPACE, LIMITS, cost, seed=3), url)
        part.optimize(objective, n_trials=7)
    assert trial_widths(part) == trial_widths(uninterrupted)


def test_open_trials_are_not_suggested_again() -> None:
    study = run_study(WidthSampler(SPACE, LIMITS, cost, seed=0))
    study.optimize(objective, n_trials=8)
    for _ in range(10):
        trial = study.ask()
        # Only one width is asked for yet: the other is reserved all the same.
        trial.suggest_int("a", 8, 64, step=8)
    open_ = [each_trial for each_trial in study.trials if each_trial.state == TrialState.RUNNING]
    for each_trial in open_:
        trial = optuna.Trial(study, each_trial._trial_id)
        objective(trial)
    assert len(set(trial_widths(study))) == 18


def test_two_workers_that_ask_at_once_never_hold_the_same_widths() -> None:
    study = run_study(WidthSampler(SPACE, LIMITS, cost, seed=0))
    study.optimize(objective, n_trials=30, n_jobs=4)
    assert len(set(trial_widths(study))) == 30


def test_enqueued_widths_are_kept_and_completed_feasibly() -> None:
    study = run_study(WidthSampler(SPACE, LIMITS, cost, seed=0))
    study.optimize(objective, n_trials=6)
    study.enqueue_trial({"a": 40})
    study.optimize(objective, n_trials=1)
    assert study.trials[-1].params["a"] == 40
    assert study.trials[-1].params["b"] <= 1500 / 40


def test_a_minimized_study_looks_for_the_lowest() -> None:
    study = optuna.create_study(
        direction="minimize", sampler=WidthSampler(SPACE, LIMITS, cost, seed=0)
    )
    study.optimize(lambda trial: -objective(trial), n_trials=20)
    assert study.best_value < 0.25


def test_failed_trials_are_not_tried_again() -> None:
    study = run_study(WidthSampler(SPACE, LIMITS, cost, seed=0))

    def failing(trial: optuna.Trial) -> float:
        value = objective(trial)
        return float("nan") if trial.params["a"] > 32 else value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.optimize(failing, n_trials=25)
    assert len(set(trial_widths(study))) == 25
    assert max(trial.value for trial in study.trials if trial.value is not None) > -0.3


def test_companion_parameters_are_searched() -> None:
    study = run_study(WidthSampler(SPACE, LIMITS, cost, seed=0))

    def with_companions(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        kind = trial.suggest_categorical("kind", ["tanh", "relu"])
        return objective(trial) - (np.log10(rate) + 2.0) ** 2 - (kind == "tanh")

    study.optimize(with_companions, n_trials=35)
    best = study.best_trial
    assert best.params["kind"] == "relu"
    assert abs(np.log10(best.params["rate"]) + 2.0) < 0.6
    answer = WidthSampler(SPACE, LIMITS, cost).recommend(study)
    assert answer is not None
    assert set(answer.companions) == {"rate", "kind"}


def test_a_measured_limit_is_learned() -> None:
    study = run_study(WidthSampler(SPACE, LIMITS, cost, seed=0, measured=["latency"]))

    def measuring(trial: optuna.Trial) -> float:
        value = objective(trial)
        # The best widths without it, a = 32, break it.
        trial.set_constraint("latency", np.log2(trial.params["a"]) - 4.5)
        return value

    study.optimize(measuring, n_trials=18)
    kept = [trial for trial in study.trials if trial.constraints["latency"] <= 0]
    assert max(trial.value for trial in kept) == quality(16, 24)
    answer = WidthSampler(SPACE, LIMITS, cost, measured=["latency"]).recommend(study)
    assert answer is not None
    assert answer.widths["a"] == 16


@pytest.mark.parametrize("seed", range(3))
def test_the_recommendation_sees_through_luck(seed: int) -> None:
    rng = np.random.default_rng(seed)
    study = run_study(WidthSampler(SPACE, LIMITS, cost, seed=seed))
    study.optimize(lambda trial: objective(trial) + rng.normal(0, 0.4), n_trials=25)
    answer = WidthSampler(SPACE, LIMITS, cost).recommend(study)
    assert answer is not None
    truth = quality(**answer.widths)
    assert truth > -0.5
    assert answer.low - 0.1 <= truth <= answer.high + 0.1
    assert answer.trained == (tuple(answer.widths.values()) in trial_widths(study))


def test_nothing_is_recommended_before_a_trial_is_complete() -> None:
    sampler = WidthSampler(SPACE, LIMITS, cost)
    assert sampler.recommend(run_study(sampler)) is None


def test_the_smallest_that_meets_a_target_is_recommended() -> None:
    goal = Goal(kind="smallest", target=-0.6, cost="parameters")
    sampler = WidthSampler(SPACE, LIMITS, cost, seed=0, goal=goal)
    study = run_study(sampler)
    study.optimize(objective, n_trials=25)
    answer = sampler.recommend(study)
    assert answer is not None
    assert quality(**answer.widths) > -0.7
    good = [a * b for a in range(8, 65, 8) for b in range(8, 65, 8) if quality(a, b) >= -0.6]
    assert np.prod(list(answer.widths.values())) <= 1.5 * min(good)


def test_shorter_trainings_inform_without_counting() -> None:
    study = run_study(WidthSampler(SPACE, LIMITS, cost, seed=0))
    for trial in range(16):
        asked_trial = study.ask()
        asked_trial.set_user_attr("epochs", 20 if trial % 4 == 0 else 2)
        study.tell(asked_trial, objective(asked_trial) - (0.0 if trial % 4 == 0 else 3.0))
    sampler = WidthSampler(SPACE, LIMITS, cost, seed=0, fidelity="epochs")
    answer = sampler.recommend(study)
    assert answer is not None
    assert quality(**answer.widths) > -0.5
    # In the unit of the full training, not of the short ones.
    assert abs(answer.mean - quality(**answer.widths)) < 0.7


def test_order_constraints_hold_in_a_study() -> None:
    space = Space(SPACE.widths, (Order(("a", "b"), "non-increasing"),))
    study = run_study(WidthSampler(space, LIMITS, cost, seed=0))
    study.optimize(objective, n_trials=12)
    assert all(a >= b for a, b in trial_widths(study))
