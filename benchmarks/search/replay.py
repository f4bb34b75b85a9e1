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
from widthwise.search.sampler.suggest import Proposer

from .table import Integers, Table

# Optuna's samplers by name, and whether they are told of the limit.
OPTUNA: dict[str, tuple[Callable[[int], BaseSampler], bool]] = {
    "random": (lambda seed: RandomSampler(seed=seed), False),
    "tpe": (lambda seed: TPESampler(seed=seed), False),
    "tpe-constrained": (lambda seed: TPESampler(seed=seed), True),
    "gp-constrained": (lambda seed: GPSampler(seed=seed, deterministic_objective=False), True),
    "nsgaii-constrained": (lambda seed: NSGAIISampler(seed=seed), True),
}
OURS = ("widthwise", "random-feasible")
SAMPLERS = (*OURS, *OPTUNA)


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """What a sampler trained, in order.

    Attributes:
        rows: The table's rows, [trials].
        seconds: CPU time of each proposal, [trials].
    """

    rows: Integers
    seconds: NDArray[np.float64]


def replay(table: Table, name: str, seed: int, trials: int, batch: int = 1) -> Replay:
    """Let a sampler search a table.

    Args:
        table: What is searched.
        name: One of `SAMPLERS`.
        seed: Of the sampler.
        trials: Trainings; fewer where a sampler runs out of candidates.
        batch: Proposals that Widthwise makes at once, before any of them is trained.
    """
    if name == "widthwise":
        return _widthwise(table, seed, trials, batch)
    if name == "random-feasible":
        rows = np.flatnonzero(table.cost <= table.limit)
        drawn = np.random.default_rng(seed).permutation(rows)[:trials]
        return Replay(rows=drawn, seconds=np.zeros(len(drawn)))
    return _optuna(table, name, seed, trials)


def history(table: Table, rows: Integers) -> History:
    """What trainings of the given rows tell."""
    trained = np.isfinite(table.seen[rows])
    none = table.widths[:0]
    return History(
        observed=table.widths[rows[trained]],
        values=table.seen[rows[trained]],
        pending=none,
        failed=table.widths[rows[~trained]],
    )


def proposer(table: Table) -> Proposer:
    """Widthwise on a table: `WidthSampler` as it stands in anybody's Optuna study.

    A study of `widthwise run` trains the baselines first, to judge the answer by them; a table of
    ranks or of shares does not tell them all, and they are not the sampler's choice.
    """
    return Proposer(feasible=table.feasible_set(), goal=Goal())


def _widthwise(table: Table, seed: int, trials: int, batch: int) -> Replay:
    ours = proposer(table)
    rows: list[int] = []
    seconds: list[float] = []
    while len(rows) < trials:
        known = history(table, np.asarray(rows, dtype=np.int64))
        number = min(batch, trials - len(rows))
        started = time.process_time()
        try:
            found = ours.propose_batch(known, np.random.default_rng((seed, len(rows))), number)
        except Exhausted:
            break
        spent = time.process_time() - started
        widths = np.array([list(one.widths.values()) for one in found], dtype=np.int64)
        rows += table.rows_of(widths).tolist()
        seconds += [spent / len(found)] * len(found)
    return Replay(rows=np.asarray(rows, dtype=np.int64), seconds=np.asarray(seconds))


def _optuna(table: Table, name: str, seed: int, trials: int) -> Replay:
    make, told = OPTUNA[name]
    study = optuna.create_study(direction="maximize", sampler=make(seed))
    levels = [len(width.values) for width in table.space.widths]
    rows, seconds = [], []
    for _ in range(trials):
        started = time.process_time()
        trial = study.ask()
        ranks = [trial.suggest_int(f"w{i}", 0, count - 1) for i, count in enumerate(levels)]
        row = table.nearest(np.asarray(ranks))
        if told:
            trial.set_constraint("cost", float(table.cost[row] / table.limit - 1.0))
        value = float(table.seen[row])
        if np.isfinite(value):
            study.tell(trial, value)
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        seconds.append(time.process_time() - started)
        rows.append(row)
    return Replay(rows=np.asarray(rows, dtype=np.int64), seconds=np.asarray(seconds))
