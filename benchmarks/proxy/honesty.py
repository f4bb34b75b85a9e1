"""How well short trainings rank candidates as long ones do, and how well parameter count does.

The truth is the test accuracy of long trainings, averaged over seeds that no proxy shares, on rows
that no proxy sees. A proxy's ranking is by best validation accuracy. Kendall's tau (b, for ties)
compares the two; `regret` is how much worse the proxy's best candidate is than the true best.

There are two pools: candidates of all sizes, of which the larger are mostly better, and candidates
that fill 90 to 100 % of a parameter limit, among which a search has to choose.

Entry points: `Plan`, `FULL`, `QUICK`, `make_pools`, `measure_rank_fidelity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from widthwise.objectives.data.dataset import Data, Split
from widthwise.objectives.engines.base import Engine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.parametrisation.mup import derive_mup
from widthwise.objectives.parametrisation.standard import Parametrisation, StandardParametrisation
from widthwise.objectives.training.settings import Halving, ProxySettings

from benchmarks.learning_rate.signals import SIGNAL_LENGTH, signals

from .workloads import log_uniform

CPU = torch.device("cpu")
LOW, HIGH = 8, 256
"""Widths of all three hidden layers."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained.

    Attributes:
        candidates: Candidates in each pool.
        rows: Rows of training, validation and test split.
        proxy_epochs: Epochs of the proxies.
        truth_epochs: Epochs of the truth.
        truth_seeds: Seeds that the truth is averaged over.
        proxy_seeds: Seeds of proxies; a multiple of the replicas.
        replicas: Trainings that the more expensive proxies average.
        limit: Parameters that the second pool fills.
    """

    candidates: int
    rows: tuple[int, int, int]
    proxy_epochs: tuple[int, ...]
    truth_epochs: int
    truth_seeds: int
    proxy_seeds: int
    replicas: int = 3
    limit: int = 20_000


FULL = Plan(
    candidates=64,
    rows=(3200, 800, 4000),
    proxy_epochs=(1, 3, 10, 30),
    truth_epochs=60,
    truth_seeds=3,
    proxy_seeds=6,
)
QUICK = Plan(
    candidates=10,
    rows=(320, 200, 400),
    proxy_epochs=(1, 3),
    truth_epochs=6,
    truth_seeds=1,
    proxy_seeds=3,
)


def make_pools(plan: Plan) -> dict[str, list[dict[str, int]]]:
    """Return the candidates: any, and those that fill 90 to 100 % of the limit."""
    draw = log_uniform(LOW, HIGH)
    rng = np.random.default_rng(0)
    any_size: list[dict[str, int]] = []
    near_limit: list[dict[str, int]] = []
    while len(near_limit) < plan.candidates:
        widths = {name: draw(rng) for name in ("hidden1", "hidden2", "hidden3")}
        if len(any_size) < plan.candidates:
            any_size.append(widths)
        if 0.9 * plan.limit <= parameter_count(widths) <= plan.limit and widths not in near_limit:
            near_limit.append(widths)
    return {"all sizes": any_size, f"90-100 % of {plan.limit:,} parameters": near_limit}


def parameter_count(widths: dict[str, int]) -> int:
    """Return the parameters of a perceptron: (inputs + 1) x outputs of every layer."""
    sizes = [SIGNAL_LENGTH, *widths.values(), 10]
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


def measure_rank_fidelity(
    plan: Plan, parametrisation: str, engine: Engine
) -> Iterator[dict[str, Any]]:
    """Yield for each pool and proxy its tau, the standard error over seeds, regret and epochs.

    Args:
        plan: What is trained.
        parametrisation: "standard" or "mup": initial weights and rates, of proxies and truth alike.
        engine: What trains.
    """
    objective = _objective(plan)
    scaling = _parametrisation(objective, parametrisation)
    for pool, candidates in make_pools(plan).items():
        trainer = _Trainer(objective, scaling, candidates, engine)
        truth = trainer.truth(plan)
        parameter_counts = np.array([parameter_count(widths) for widths in candidates], dtype=float)
        row_key = {"pool": pool, "parametrisation": parametrisation}
        yield {
            **row_key,
            "proxy": "parameter count",
            **rank_figures(truth, [parameter_counts]),
            "epochs": 0.0,
        }
        for row in _proxies(plan, trainer, truth):
            yield {**row_key, **row}


def _proxies(plan: Plan, trainer: _Trainer, truth: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield the figures of each proxy; epochs are the mean trained for a candidate."""
    longest = ProxySettings(epochs=max(plan.proxy_epochs), patience=0)
    seeds = [1000 + seed for seed in range(plan.proxy_seeds)]
    curves = [trainer.curves(longest, seed) for seed in seeds]
    for length in plan.proxy_epochs:
        best_scores = [curve_matrix[:, :length].max(axis=1) for curve_matrix in curves]
        replica_means = np.array(best_scores).reshape(-1, plan.replicas, len(truth)).mean(axis=1)
        for replicas, scores in ((1, best_scores), (plan.replicas, list(replica_means))):
            row = {"proxy": f"{length} epochs", "replicas": replicas, **rank_figures(truth, scores)}
            yield {**row, "epochs": float(length * replicas)}
    for length in plan.proxy_epochs[1:]:
        for replicas in (1, plan.replicas):
            halving_settings = ProxySettings(
                epochs=length, patience=0, halving=Halving(), replicas=replicas
            )
            rankings = [
                trainer.halving_ranks(halving_settings, seed) for seed in seeds[:: plan.replicas]
            ]
            row_key = {"proxy": f"{length} epochs, halving", "replicas": replicas}
            mean_epochs = float(np.mean([epochs for _, epochs in rankings])) * replicas
            yield {
                **row_key,
                **rank_figures(truth, [ranks for ranks, _ in rankings]),
                "epochs": mean_epochs,
            }


def rank_figures(truth: np.ndarray, proxies: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return mean tau and regret over a proxy's seeds."""
    taus = [kendalltau(truth, scores).statistic for scores in proxies]
    standard_error = float(np.std(taus, ddof=1) / np.sqrt(len(taus))) if len(taus) > 1 else None
    # Ties at the top are not broken: the mean over all the best.
    regrets = [float(truth.max() - truth[scores == scores.max()].mean()) for scores in proxies]
    return {
        "tau": float(np.mean(taus)),
        "standard_error": standard_error,
        "regret": float(np.mean(regrets)),
    }


class _Trainer:
    """Trains one pool."""

    def __init__(
        self,
        objective: ModuleObjective,
        scaling: Parametrisation,
        pool: Sequence[dict[str, int]],
        engine: Engine,
    ) -> None:
        self._objective, self._scaling, self._pool = objective, scaling, pool
        self._engine = engine

    def truth(self, plan: Plan) -> np.ndarray:
        """Return the test accuracies of long trainings, averaged over seeds."""
        settings = ProxySettings(epochs=plan.truth_epochs, patience=0, judge_test=True)
        results_by_seed = [self._train(settings, seed) for seed in range(plan.truth_seeds)]
        return np.mean(
            [[result.test_value for result in results] for results in results_by_seed], axis=0
        )

    def curves(self, settings: ProxySettings, seed: int) -> np.ndarray:
        """Return validation accuracies, `[candidates, epochs]`."""
        return np.array([result.curve for result in self._train(settings, seed)])

    def halving_ranks(self, settings: ProxySettings, seed: int) -> tuple[np.ndarray, float]:
        """Return ranks, higher for those that reached a later rung, and the mean epochs trained."""
        results = self._train(settings, seed)
        ranking_keys = [(entry.fidelity, entry.score or 0.0) for entry in results]
        sorted_keys = sorted(set(ranking_keys))
        ranks = np.array([sorted_keys.index(entry) for entry in ranking_keys], dtype=float)
        return ranks, float(np.mean([entry.fidelity for entry in results]))

    def _train(self, settings: ProxySettings, seed: int) -> list[TrainingResult]:
        # Each candidate has seeds of its own: shared ones would rank by one draw of batches.
        candidates = [
            Candidate(widths=widths, seed=seed * len(self._pool) + index)
            for index, widths in enumerate(self._pool)
        ]
        results = train_together(
            self._objective,
            candidates,
            settings,
            device=CPU,
            engine=self._engine,
            parametrisation=self._scaling,
        )
        trained = [result for result in results if isinstance(result, TrainingResult)]
        assert len(trained) == len(results), results
        return trained


def _objective(plan: Plan) -> ModuleObjective:
    train, validation, test = plan.rows
    data = signals(train, validation + test, seed=0)
    return make_objective(family="mlp", data=_with_test(data, validation), base=Path())


def _with_test(data: Data, validation: int) -> Data:
    """Return data whose validation rows beyond the first so many are the test split."""
    validation_split = data.validation
    kept_split, test_split = (
        Split(
            inputs=validation_split.inputs[row_slice], targets=validation_split.targets[row_slice]
        )
        for row_slice in (slice(0, validation), slice(validation, None))
    )
    return replace(data, validation=kept_split, test=test_split)


def _parametrisation(objective: ModuleObjective, parametrisation: str) -> Parametrisation:
    if parametrisation == "standard":
        return StandardParametrisation()
    middle = round((LOW * HIGH) ** 0.5)
    base = dict.fromkeys(("hidden1", "hidden2", "hidden3"), middle)
    probe_widths = [{**base, name: 4 * middle} for name in base]
    return derive_mup(objective.build, base, probe_widths)
