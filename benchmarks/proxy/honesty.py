"""How well short trainings rank candidates as long ones do, and how well parameter count does.

The truth is the test accuracy of long trainings, averaged over seeds that no proxy shares, on rows
that no proxy sees. A proxy's ranking is by best validation accuracy. Kendall's tau (b, for ties)
compares the two; `regret` is what the proxy's favourite loses against the truly best.

Two pools: candidates of all sizes, where the larger is mostly the better one, and candidates that
fill 90 to 100 % of a parameter limit, among which a search has to choose.

Entry points: `Plan`, `FULL`, `QUICK`, `pools`, `judge`.
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
from widthwise.objectives.loop.loop import Candidate, train_together
from widthwise.objectives.model.objective import ModuleObjective, make_objective
from widthwise.objectives.parametrisation.mup import derive
from widthwise.objectives.parametrisation.standard import Parametrisation, Standard
from widthwise.objectives.training.settings import Halving, ProxySettings, TrainingResult

from benchmarks.learning_rate.signals import POINTS, signals

from .workloads import log_uniform

CPU = torch.device("cpu")
LOW, HIGH = 8, 256
"""Widths of all three hidden layers."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained.

    Attributes:
        candidates: In each pool.
        rows: Of training, validation and test split.
        lengths: Epochs of the proxies.
        epochs: Of the truth.
        truths: Seeds that the truth is averaged over.
        proxies: Seeds of proxies; a multiple of the replicas.
        replicas: Trainings that the dearer proxies average.
        limit: Parameters that the second pool fills.
    """

    candidates: int
    rows: tuple[int, int, int]
    lengths: tuple[int, ...]
    epochs: int
    truths: int
    proxies: int
    replicas: int = 3
    limit: int = 20_000


FULL = Plan(
    candidates=64,
    rows=(3200, 800, 4000),
    lengths=(1, 3, 10, 30),
    epochs=60,
    truths=3,
    proxies=6,
)
QUICK = Plan(candidates=10, rows=(320, 200, 400), lengths=(1, 3), epochs=6, truths=1, proxies=3)


def pools(plan: Plan) -> dict[str, list[dict[str, int]]]:
    """Return the candidates: any, and those that fill 90 to 100 % of the limit."""
    draw = log_uniform(LOW, HIGH)
    random = np.random.default_rng(0)
    free: list[dict[str, int]] = []
    full: list[dict[str, int]] = []
    while len(full) < plan.candidates:
        widths = {name: draw(random) for name in ("hidden1", "hidden2", "hidden3")}
        if len(free) < plan.candidates:
            free.append(widths)
        if 0.9 * plan.limit <= parameters(widths) <= plan.limit and widths not in full:
            full.append(widths)
    return {"all sizes": free, f"90-100 % of {plan.limit:,} parameters": full}


def parameters(widths: dict[str, int]) -> int:
    """Return how many numbers a perceptron learns: (inputs + 1) x outputs of every layer."""
    sizes = [POINTS, *widths.values(), 10]
    return sum((before + 1) * after for before, after in pairwise(sizes))


def judge(plan: Plan, kind: str, engine: Engine) -> Iterator[dict[str, Any]]:
    """Yield for each pool and proxy its tau, the standard error over seeds, regret and epochs.

    Args:
        plan: What is trained.
        kind: "standard" or "mup": initial weights and rates, of proxies and truth alike.
        engine: What trains.
    """
    objective = _objective(plan)
    scaling = _parametrisation(objective, kind)
    for pool, candidates in pools(plan).items():
        trainer = _Trainer(objective, scaling, candidates, engine)
        truth = trainer.truth(plan)
        count = np.array([parameters(widths) for widths in candidates], dtype=float)
        head = {"pool": pool, "parametrisation": kind}
        yield {**head, "proxy": "parameter count", **_figures(truth, [count]), "epochs": 0.0}
        for row in _proxies(plan, trainer, truth):
            yield {**head, **row}


def _proxies(plan: Plan, trainer: _Trainer, truth: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield the figures of each proxy; epochs are those trained for a candidate, on average."""
    longest = ProxySettings(epochs=max(plan.lengths), patience=0)
    seeds = [1000 + seed for seed in range(plan.proxies)]
    curves = [trainer.curves(longest, seed) for seed in seeds]
    for length in plan.lengths:
        best = [one[:, :length].max(axis=1) for one in curves]
        groups = np.array(best).reshape(-1, plan.replicas, len(truth)).mean(axis=1)
        for replicas, values in ((1, best), (plan.replicas, list(groups))):
            row = {"proxy": f"{length} epochs", "replicas": replicas, **_figures(truth, values)}
            yield {**row, "epochs": float(length * replicas)}
    for length in plan.lengths[1:]:
        for replicas in (1, plan.replicas):
            halved = ProxySettings(epochs=length, patience=0, halving=Halving(), replicas=replicas)
            found = [trainer.halved(halved, seed) for seed in seeds[:: plan.replicas]]
            name = {"proxy": f"{length} epochs, halving", "replicas": replicas}
            spent = float(np.mean([epochs for _, epochs in found])) * replicas
            yield {**name, **_figures(truth, [ranks for ranks, _ in found]), "epochs": spent}


def _figures(truth: np.ndarray, proxies: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return mean tau and regret over a proxy's seeds."""
    taus = [kendalltau(truth, one).statistic for one in proxies]
    error = float(np.std(taus, ddof=1) / np.sqrt(len(taus))) if len(taus) > 1 else None
    # Ties at the top are broken by nobody: the mean over all favourites.
    regrets = [float(truth.max() - truth[one == one.max()].mean()) for one in proxies]
    return {
        "tau": float(np.mean(taus)),
        "standard_error": error,
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
        """Return long trainings' test accuracies, averaged over seeds."""
        settings = ProxySettings(epochs=plan.epochs, patience=0)
        found = [self._train(settings, seed) for seed in range(plan.truths)]
        return np.mean([[one.test_value for one in results] for results in found], axis=0)

    def curves(self, settings: ProxySettings, seed: int) -> np.ndarray:
        """Return validation accuracies, `[candidates, epochs]`."""
        return np.array([one.curve for one in self._train(settings, seed)])

    def halved(self, settings: ProxySettings, seed: int) -> tuple[np.ndarray, float]:
        """Return ranks, those that went further standing higher, and the mean epochs trained."""
        results = self._train(settings, seed)
        standings = [(one.fidelity, one.score or 0.0) for one in results]
        ladder = sorted(set(standings))
        ranks = np.array([ladder.index(one) for one in standings], dtype=float)
        return ranks, float(np.mean([one.fidelity for one in results]))

    def _train(self, settings: ProxySettings, seed: int) -> list[TrainingResult]:
        # Each candidate has seeds of its own: shared ones would rank by one draw of batches.
        candidates = [
            Candidate(widths=widths, seed=seed * len(self._pool) + place)
            for place, widths in enumerate(self._pool)
        ]
        results = train_together(
            self._objective,
            candidates,
            settings,
            device=CPU,
            engine=self._engine,
            scaling=self._scaling,
        )
        found = [one for one in results if isinstance(one, TrainingResult)]
        assert len(found) == len(results), results
        return found


def _objective(plan: Plan) -> ModuleObjective:
    train, validation, test = plan.rows
    data = signals(train, validation + test, seed=0)
    return make_objective(family="mlp", data=_with_test(data, validation), base=Path())


def _with_test(data: Data, validation: int) -> Data:
    """Return data whose validation rows but the first so many are the test split."""
    whole = data.validation
    kept, rest = (
        Split(inputs=whole.inputs[part], targets=whole.targets[part])
        for part in (slice(0, validation), slice(validation, None))
    )
    return replace(data, validation=kept, test=rest)


def _parametrisation(objective: ModuleObjective, kind: str) -> Parametrisation:
    if kind == "standard":
        return Standard()
    middle = round((LOW * HIGH) ** 0.5)
    base = dict.fromkeys(("hidden1", "hidden2", "hidden3"), middle)
    others = [{**base, name: 4 * middle} for name in base]
    return derive(objective.build, base, others)
