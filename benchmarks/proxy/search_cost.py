"""What it costs to find the best of many candidates: halving on a fast engine, and Hyperband.

    full        all candidates are trained to the end, which gives the true winner
    Hyperband   Optuna's pruner over the plain loop, which reports after every epoch
    halving     successive halving of all candidates together

Each has the same seeds, so that a candidate's curve is the same wherever it is trained.

Entry points: `Plan`, `FULL`, `QUICK`, `measure_draws`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
import torch
from optuna.pruners import HyperbandPruner
from optuna.samplers import RandomSampler
from widthwise.objectives.engines.base import Engine
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.objectives.training.settings import Halving, ProxySettings

from .workloads import Workload

CPU = torch.device("cpu")
ETA = 3
TRUTH, HYPERBAND = "full, plain", "Hyperband, plain"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is trained.

    Attributes:
        candidates: Candidates to choose from.
        epochs: Epochs of a full training.
        draw_count: Draws of candidates and seeds on which every way is measured.
        extra_draws: Further draws for the engine alone, whose full training gives the winner there:
            how often halving finds it takes more draws to estimate than what it costs.
        first_rungs: Epochs before the first rung of halving; each is tried.
        batch_size: Rows in a step.
    """

    candidates: int
    epochs: int
    draw_count: int
    extra_draws: int = 0
    first_rungs: tuple[float, ...] = (1.0, 2.0, 3.0)
    batch_size: int = 32


FULL = Plan(candidates=64, epochs=27, draw_count=5, extra_draws=15)
QUICK = Plan(candidates=9, epochs=9, draw_count=1, first_rungs=(1.0,))


def measure_draws(workload: Workload, plan: Plan, engine: Engine) -> Iterator[dict[str, Any]]:
    """Yield for each draw and way: its CPU-seconds, its winner's regret and its share of the cost.

    `regret` is the true winner's metric less that of the chosen candidate, both after a full
    training; `same_winner` says whether it is 0. `cheaper` is Hyperband's seconds over the way's,
    None where Hyperband was not run.
    """
    settings = ProxySettings(epochs=plan.epochs, patience=0, batch_size=plan.batch_size)
    _warm_up(workload, settings, engine)
    for draw in range(plan.draw_count + plan.extra_draws):
        candidates = workload.candidates(plan.candidates, seed=draw)
        methods = _make_methods(workload, candidates, settings, plan.first_rungs, engine)
        if draw >= plan.draw_count:
            methods = {
                name: method for name, method in methods.items() if name.endswith(engine.name)
            }
            methods.pop(HYPERBAND, None)
        results = {name: _timed(method) for name, method in methods.items()}
        truth, _ = next(iter(results.values()))
        if (
            draw >= plan.draw_count
        ):  # the engine's full training gives the winner here, so it has no regret itself
            del results[f"full, {engine.name}"]
        for name, (values, seconds) in results.items():
            regret = float(np.nanmax(truth) - truth[np.nanargmax(values)])
            yield {
                "widths": workload.widths,
                "candidates": plan.candidates,
                "draw": draw,
                "way": name,
                "cpu_seconds": seconds,
                "cheaper": results[HYPERBAND][1] / seconds if HYPERBAND in results else None,
                "regret": regret,
                "same_winner": regret == 0,
            }


def train_with_hyperband(
    objective: ModuleObjective, candidates: Sequence[Candidate], settings: ProxySettings
) -> list[float]:
    """Train candidates one by one under Optuna's Hyperband; NaN for those that it pruned."""
    pruner = HyperbandPruner(min_resource=1, max_resource=settings.epochs, reduction_factor=ETA)
    study = optuna.create_study(
        direction="maximize",
        pruner=pruner,
        # The candidates are given: what a sampler's proposals cost is not Hyperband's.
        sampler=RandomSampler(),
        # A trial's bracket hangs on the study's name: as random as Optuna's own, but repeatable.
        study_name=np.random.default_rng(candidates[0].seed).bytes(16).hex(),
    )

    def train_trial(trial: optuna.Trial) -> float:
        def on_epoch(epoch: int, value: float) -> None:
            trial.report(value, epoch + 1)
            if trial.should_prune():
                raise optuna.TrialPruned

        candidate = candidates[trial.number]
        result = train(
            objective, candidate.widths, settings, seed=candidate.seed, on_epoch=on_epoch
        )
        assert result.value is not None, result.detail
        return result.value

    study.optimize(train_trial, n_trials=len(candidates))
    complete = optuna.trial.TrialState.COMPLETE
    return [
        train_trial.values[0] if train_trial.state == complete else np.nan
        for train_trial in study.trials
    ]


def _make_methods(
    workload: Workload,
    candidates: Sequence[Candidate],
    settings: ProxySettings,
    first_rungs: Sequence[float],
    engine: Engine,
) -> dict[str, Callable[[], list[float]]]:
    def make_halving(first_rung: float) -> Callable[[], list[float]]:
        halving_settings = replace(settings, halving=Halving(eta=ETA, first=first_rung))
        return lambda: train_all(workload, candidates, halving_settings, engine)

    return {
        TRUTH: lambda: train_all(workload, candidates, settings, PlainEngine()),
        HYPERBAND: lambda: train_with_hyperband(workload.objective, candidates, settings),
        f"full, {engine.name}": lambda: train_all(workload, candidates, settings, engine),
        **{
            f"halving from {first_rung:g}, {engine.name}": make_halving(first_rung)
            for first_rung in first_rungs
        },
    }


def train_all(
    workload: Workload, candidates: Sequence[Candidate], settings: ProxySettings, engine: Engine
) -> list[float]:
    """Return each candidate's value; NaN for those that were pruned."""
    results = train_together(workload.objective, candidates, settings, device=CPU, engine=engine)
    values = []
    for result in results:
        assert isinstance(result, TrainingResult), result
        values.append(np.nan if result.value is None else result.value)
    return values


def _warm_up(workload: Workload, settings: ProxySettings, engine: Engine) -> None:
    """Train a little with everything that compiles, so that compiling is not measured."""
    one_epoch = replace(settings, epochs=1)
    for warmed_engine in (engine, PlainEngine()):
        train_all(workload, workload.candidates(2), one_epoch, warmed_engine)


def _timed(work: Callable[[], list[float]]) -> tuple[list[float], float]:
    started = time.process_time()
    values = work()
    return values, time.process_time() - started
