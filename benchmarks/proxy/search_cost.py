"""What it costs to find the best of many candidates: halving on a fast engine, and Hyperband.

    full        all of them to the end, which names the true winner
    Hyperband   Optuna's pruner over the plain loop, which reports after every epoch
    halving     successive halving of all of them together

Each has the same seeds, so that a candidate's curve is the same wherever it is trained.

Entry points: `Plan`, `FULL`, `QUICK`, `draws`.
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
from widthwise.objectives.loop.loop import Candidate, train_together
from widthwise.objectives.loop.train import train
from widthwise.objectives.model.objective import ModuleObjective
from widthwise.objectives.training.settings import Halving, ProxySettings, TrainingResult

from .workloads import Workload

CPU = torch.device("cpu")
ETA = 3
TRUTH, HYPERBAND = "full, plain", "Hyperband, plain"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is trained.

    Attributes:
        candidates: To choose from.
        epochs: Of a full training.
        draws: Times that other candidates are drawn, with other seeds, and everybody chooses.
        more: Further draws for the engine alone, whose full training names the winner there: how
            often halving finds it takes more draws to tell than what it costs.
        firsts: Epochs before the first rung of halving; each is tried.
        batch_size: Rows in a step.
    """

    candidates: int
    epochs: int
    draws: int
    more: int = 0
    firsts: tuple[float, ...] = (1.0, 2.0, 3.0)
    batch_size: int = 32


FULL = Plan(candidates=64, epochs=27, draws=5, more=15)
QUICK = Plan(candidates=9, epochs=9, draws=1, firsts=(1.0,))


def draws(workload: Workload, plan: Plan, engine: Engine) -> Iterator[dict[str, Any]]:
    """Yield for each draw and way: its CPU-seconds, its winner's regret and its share of the cost.

    `regret` is the true winner's metric less that of the chosen candidate, both after a full
    training; `same_winner` says that it is none. `cheaper` is Hyperband's seconds over the way's,
    None where Hyperband was not run.
    """
    settings = ProxySettings(epochs=plan.epochs, patience=0, batch_size=plan.batch_size)
    _warm_up(workload, settings, engine)
    for draw in range(plan.draws + plan.more):
        candidates = workload.candidates(plan.candidates, seed=draw)
        ways = _ways(workload, candidates, settings, plan.firsts, engine)
        if draw >= plan.draws:
            ways = {name: way for name, way in ways.items() if name.endswith(engine.name)}
            ways.pop(HYPERBAND, None)
        found = {name: _timed(way) for name, way in ways.items()}
        truth, _ = next(iter(found.values()))
        if draw >= plan.draws:  # the engine's full training judges here, and cannot be judged
            del found[f"full, {engine.name}"]
        for name, (values, seconds) in found.items():
            regret = float(np.nanmax(truth) - truth[np.nanargmax(values)])
            yield {
                "widths": workload.widths,
                "candidates": plan.candidates,
                "draw": draw,
                "way": name,
                "cpu_seconds": seconds,
                "cheaper": found[HYPERBAND][1] / seconds if HYPERBAND in found else None,
                "regret": regret,
                "same_winner": regret == 0,
            }


def hyperband(
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

    def one(trial: optuna.Trial) -> float:
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

    study.optimize(one, n_trials=len(candidates))
    complete = optuna.trial.TrialState.COMPLETE
    return [one.values[0] if one.state == complete else np.nan for one in study.trials]


def _ways(
    workload: Workload,
    candidates: Sequence[Candidate],
    settings: ProxySettings,
    firsts: Sequence[float],
    engine: Engine,
) -> dict[str, Callable[[], list[float]]]:
    def halving(first: float) -> Callable[[], list[float]]:
        halved = replace(settings, halving=Halving(eta=ETA, first=first))
        return lambda: _together(workload, candidates, halved, engine)

    return {
        TRUTH: lambda: _together(workload, candidates, settings, PlainEngine()),
        HYPERBAND: lambda: hyperband(workload.objective, candidates, settings),
        f"full, {engine.name}": lambda: _together(workload, candidates, settings, engine),
        **{f"halving from {first:g}, {engine.name}": halving(first) for first in firsts},
    }


def _together(
    workload: Workload, candidates: Sequence[Candidate], settings: ProxySettings, engine: Engine
) -> list[float]:
    """Return each candidate's value; NaN for those that fell behind."""
    results = train_together(workload.objective, candidates, settings, device=CPU, engine=engine)
    found = []
    for result in results:
        assert isinstance(result, TrainingResult), result
        found.append(np.nan if result.value is None else result.value)
    return found


def _warm_up(workload: Workload, settings: ProxySettings, engine: Engine) -> None:
    """Have everybody compile what it compiles."""
    once = replace(settings, epochs=1)
    for one in (engine, PlainEngine()):
        _together(workload, workload.candidates(2), once, one)


def _timed(work: Callable[[], list[float]]) -> tuple[list[float], float]:
    started = time.process_time()
    found = work()
    return found, time.process_time() - started
