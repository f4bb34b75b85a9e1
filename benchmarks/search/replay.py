"""One replay: a sampler searches a table with one seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from widthwise.search.errors import Exhausted
from widthwise.search.goal import Goal
from widthwise.search.sampler.history import History
from widthwise.search.sampler.suggest import Suggester

from .table import IntArray, Table

# Optuna's samplers by name, and whether they are given the limit.
OPTUNA_SAMPLERS: dict[str, tuple[Callable[[int], BaseSampler], bool]] = {
    "random": (lambda seed: RandomSampler(seed=seed), False),
    "tpe": (lambda seed: TPESampler(seed=seed), False),
    "tpe-constrained": (lambda seed: TPESampler(seed=seed), True),
    "gp-constrained": (lambda seed: GPSampler(seed=seed, deterministic_objective=False), True),
    "nsgaii-constrained": (lambda seed: NSGAIISampler(seed=seed), True),
}
OWN_SAMPLERS = ("widthwise", "random-feasible")
SAMPLERS = (*OWN_SAMPLERS, *OPTUNA_SAMPLERS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """What a sampler trained, in order.

    Attributes:
        rows: The table's rows, [trials].
        seconds: CPU time of each proposal, [trials].
    """

    rows: IntArray
    seconds: NDArray[np.float64]


def run_replay(table: Table, name: str, seed: int, trials: int, batch: int = 1) -> Replay:
    """Let a sampler search a table.

    Args:
        table: What is searched.
        name: One of `SAMPLERS`.
        seed: Of the sampler.
        trials: Trainings; fewer where a sampler runs out of candidates.
        batch: Proposals that Widthwise makes at once, before any of them is trained.
    """
    if name == "widthwise":
        return _replay_widthwise(table, seed, trials, batch)
    if name == "random-feasible":
        rows = np.flatnonzero(table.cost <= table.limit)
        sampled_rows = np.random.default_rng(seed).permutation(rows)[:trials]
        return Replay(rows=sampled_rows, seconds=np.zeros(len(sampled_rows)))
    return _replay_optuna(table, name, seed, trials)


def make_history(table: Table, rows: IntArray) -> History:
    """Return the history of trainings of the given rows."""
    is_trained = np.isfinite(table.observed_metric[rows])
    no_candidates = table.widths[:0]
    return History(
        observed=table.widths[rows[is_trained]],
        values=table.observed_metric[rows[is_trained]],
        pending=no_candidates,
        failed=table.widths[rows[~is_trained]],
    )


def make_suggester(table: Table) -> Suggester:
    """Return Widthwise on a table: `WidthSampler` as it is in anybody's Optuna study.

    A study of `widthwise run` trains the baselines first, to judge the answer by them; a table of
    ranks or of shares does not tell them all, and they are not the sampler's choice.
    """
    return Suggester(feasible_set=table.feasible_set(), goal=Goal())


def _replay_widthwise(table: Table, seed: int, trials: int, batch: int) -> Replay:
    suggester = make_suggester(table)
    rows: list[int] = []
    seconds: list[float] = []
    while len(rows) < trials:
        observed_history = make_history(table, np.asarray(rows, dtype=np.int64))
        count = min(batch, trials - len(rows))
        started = time.process_time()
        try:
            suggestions = suggester.suggest_batch(
                observed_history, np.random.default_rng((seed, len(rows))), count
            )
        except Exhausted:
            break
        cpu_seconds = time.process_time() - started
        widths = np.array(
            [list(suggestion.widths.values()) for suggestion in suggestions], dtype=np.int64
        )
        rows += table.row_indices(widths).tolist()
        seconds += [cpu_seconds / len(suggestions)] * len(suggestions)
    return Replay(rows=np.asarray(rows, dtype=np.int64), seconds=np.asarray(seconds))


def _replay_optuna(table: Table, name: str, seed: int, trials: int) -> Replay:
    make_sampler, is_constrained = OPTUNA_SAMPLERS[name]
    study = optuna.create_study(direction="maximize", sampler=make_sampler(seed))
    levels = [len(width.values) for width in table.space.widths]
    rows, seconds = [], []
    for _ in range(trials):
        started = time.process_time()
        trial = study.ask()
        ranks = [trial.suggest_int(f"w{i}", 0, count - 1) for i, count in enumerate(levels)]
        row = table.nearest_row(np.asarray(ranks))
        if is_constrained:
            trial.set_constraint("cost", float(table.cost[row] / table.limit - 1.0))
        value = float(table.observed_metric[row])
        if np.isfinite(value):
            study.tell(trial, value)
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        seconds.append(time.process_time() - started)
        rows.append(row)
    return Replay(rows=np.asarray(rows, dtype=np.int64), seconds=np.asarray(seconds))
