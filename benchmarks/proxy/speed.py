"""How many trials a second each engine trains, beside the plain one.

Seconds are of this process's CPU time, so that other work on the machine does not count; on a GPU
of the clock. All contestants take turns within a round, and a ratio is the median over rounds.

Entry points: `Plan`, `FULL`, `QUICK`, `measure`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch
from widthwise.objectives.engines.base import Engine, EngineUnsupported, TrainingSetup
from widthwise.objectives.engines.choose import EngineChoice, choose_engine
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.registry import ENGINES, EngineDescriptor
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.training.settings import ProxySettings

from .by_hand import train_by_hand
from .difference import make_members, make_training, max_difference
from .utilisation import measure_utilisation
from .workloads import TRAIN_ROWS, Workload

PLAIN, BY_HAND = "plain", "loop by hand"

STUDY_TRAININGS = 10_000
"""Trainings of the study that an engine is chosen for: enough that compiling is worth it."""

COMPARED_EPOCHS = 2
"""Epochs of the trainings that are compared in float64."""

Task = Callable[[], object]
Figures = dict[str, Any]
Chooser = Callable[..., EngineChoice]
"""What has the arguments of `choose_engine`."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured.

    Attributes:
        candidates: Trained together.
        heavy: Likewise, of networks that take long.
        rows: Most rows in a training split.
        epochs: Epochs of each training, validated after each.
        rounds: Rounds, in each of which every contestant trains all candidates once.
        compared_candidates: Candidates that are compared in float64.
        batch_sizes: Rows in a step; each is measured.
    """

    candidates: int
    heavy: int
    rows: int
    epochs: int
    rounds: int
    compared_candidates: int
    batch_sizes: tuple[int, ...] = (32, 64)


FULL = Plan(candidates=32, heavy=8, rows=TRAIN_ROWS, epochs=5, rounds=3, compared_candidates=8)
QUICK = Plan(
    candidates=4, heavy=4, rows=320, epochs=2, rounds=1, compared_candidates=3, batch_sizes=(32,)
)


def measure(
    workload: Workload,
    plan: Plan,
    names: Sequence[str],
    device: torch.device,
    batch_size: int,
    *,
    engines: Mapping[str, EngineDescriptor] = ENGINES,
    choose: Chooser = choose_engine,
) -> Iterator[Figures]:
    """Yield a row for each engine, one for the loop by hand, and one for the engine chosen.

    An engine that can train the networks has `equal` and `max_error`; another has `refused`, the
    reason. `warm_up` is the seconds that its first training took beyond a later one: it compiles,
    records or compares. `stacks` are the sizes of the stacked engine's groups, `utilisation` how
    busy a GPU was, in percent. The row "auto" repeats the figures of the engine `chosen`, where
    that was measured; its warm-up is the calibration.

    Args:
        workload: What is trained.
        plan: How much is measured.
        names: Engines to measure beside the plain one.
        device: Where to train.
        batch_size: Rows in a step.
        engines: All engines, by name.
        choose: Chooses an engine.
    """
    comparison = _Comparison(
        workload=workload,
        candidates=workload.candidates(plan.heavy if workload.heavy else plan.candidates),
        settings=ProxySettings(epochs=plan.epochs, patience=0, batch_size=batch_size),
        device=device,
    )
    measured: dict[str, Engine] = {PLAIN: PlainEngine()}
    extra_figures: dict[str, Figures] = {PLAIN: {"equal": True, "max_error": 0.0}, BY_HAND: {}}
    for name in names:
        engine = engines[name].create()
        try:
            error = comparison.max_difference(engine, plan.compared_candidates)
        except EngineUnsupported as reason:
            yield {**comparison.row_key, "engine": name, "refused": str(reason)}
            continue
        measured[name] = engine
        extra_figures[name] = {"equal": error <= engines[name].tolerance, "max_error": error}
        if isinstance(engine, StackedEngine):
            extra_figures[name]["stacks"] = comparison.stack_sizes(engine)
    tasks: dict[str, Task] = {
        name: partial(comparison.train, engine) for name, engine in measured.items()
    }
    figures = _time_in_turns({**tasks, BY_HAND: comparison.train_by_hand}, plan.rounds, device)
    rows = {
        name: {**comparison.row_key, **entry, **extra_figures[name]}
        for name, entry in figures.items()
    }
    yield from ({**row, "engine": name} for name, row in rows.items() if name != PLAIN)
    chosen, seconds = comparison.choose(choose)
    if chosen in rows:
        yield {**rows[chosen], "engine": "auto", "chosen": chosen, "warm_up": seconds}


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """The trainings that every contestant does."""

    workload: Workload
    candidates: Sequence[Candidate]
    settings: ProxySettings
    device: torch.device

    @property
    def row_key(self) -> Figures:
        """What tells the rows of this comparison from others."""
        return {
            "family": self.workload.family,
            "widths": self.workload.widths,
            "batch_size": self.settings.batch_size,
            "candidates": len(self.candidates),
            "device": self.device.type,
        }

    def max_difference(self, engine: Engine, count: int) -> float:
        """Return how far the first so many networks are from the plain engine's, in float64."""
        settings = replace(self.settings, epochs=COMPARED_EPOCHS)
        candidates, objective = self.candidates[:count], self.workload.objective
        return max_difference(engine, objective, candidates, settings, self.device)

    def train(self, engine: Engine) -> None:
        """Train all candidates with an engine, which must not fall back to the plain one."""
        results = train_together(
            self.workload.objective,
            self.candidates,
            self.settings,
            device=self.device,
            engine=engine,
        )
        for result in results:
            assert isinstance(result, TrainingResult), result
            assert result.engine == engine.name, result.engine

    def train_by_hand(self) -> None:
        """Train all candidates with the loop by hand."""
        train_by_hand(self.workload.objective, self.candidates, self.settings, self.device)

    def stack_sizes(self, engine: StackedEngine) -> list[int]:
        """Return how many candidates share each stack of the stacked engine."""
        members = make_members(self.candidates, self.settings)
        return [len(group.indices) for group in engine.plan_stacks(self._training, members)]

    def choose(self, choose: Chooser) -> tuple[str, float]:
        """Return the engine that a long study would be trained with, and what choosing took."""
        members = make_members(self.candidates, self.settings)
        members.sort(key=lambda member: sum(member.widths.values()))
        samples = [members[index] for index in (0, len(members) // 2, -1)]
        clock = _clock(self.device)
        started = clock()
        choice = choose(
            self._training, samples, training_count=STUDY_TRAININGS, stack_samples=members
        )
        return choice.engine.name, clock() - started

    @property
    def _training(self) -> TrainingSetup:
        return make_training(self.workload.objective, self.settings, self.device)


def _time_in_turns(
    tasks: Mapping[str, Task], rounds: int, device: torch.device
) -> dict[str, Figures]:
    """Return the figures of each task: a first round that does not count, then in turns."""
    first_seconds = {name: _seconds(task, device) for name, task in tasks.items()}
    utilisations: dict[str, list[float]] = {}
    rounds_seconds: list[dict[str, float]] = []
    for round_index in range(rounds):
        order = list(tasks)[:: -1 if round_index % 2 else 1]
        rounds_seconds.append({})
        for name in order:
            with measure_utilisation(device) as utilisations[name]:
                rounds_seconds[-1][name] = _seconds(tasks[name], device)
    figures = {}
    for name in tasks:
        seconds = median(round_seconds[name] for round_seconds in rounds_seconds)
        ratios = [round_seconds[PLAIN] / round_seconds[name] for round_seconds in rounds_seconds]
        figures[name] = {
            "seconds": seconds,
            "ratio_to_plain": median(ratios),
            "ratios": ratios,
            "warm_up": max(0.0, first_seconds[name] - seconds),
            **({"utilisation": utilisations[name][0]} if utilisations[name] else {}),
        }
    return figures


def _seconds(task: Task, device: torch.device) -> float:
    gc.collect()
    clock = _clock(device)
    started = clock()
    task()
    return clock() - started


def _clock(device: torch.device) -> Callable[[], float]:
    return time.process_time if device.type == "cpu" else time.perf_counter
