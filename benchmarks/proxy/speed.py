"""Trials a second of each engine beside the plain one.

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
from widthwise.objectives.engines.choose import ENGINES, choose_engine
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.loop.candidate import Candidate
from widthwise.objectives.loop.loop import train_together
from widthwise.objectives.loop.result import TrainingResult
from widthwise.objectives.training.settings import ProxySettings

from .by_hand import train_by_hand
from .difference import EQUALITY_TOLERANCE, make_members, make_training, max_difference
from .utilisation import measure_utilisation
from .workloads import TRAIN_ROWS, Workload

PLAIN, BY_HAND = "plain", "loop by hand"

STUDY_TRAININGS = 10_000
"""Trainings that the chooser is told of: enough that compiling is worth it."""

COMPARED_EPOCHS = 2
"""Of the trainings in float64."""

Task = Callable[[], object]
Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured.

    Attributes:
        candidates: Trained together.
        heavy: Likewise, of networks that take long.
        rows: Most in a training split.
        epochs: Of each training, judged after each.
        rounds: In which every contestant trains all candidates once.
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
    workload: Workload, plan: Plan, names: Sequence[str], device: torch.device, batch_size: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each engine, one for the loop by hand, and one for the chooser's pick.

    An engine that serves has `equal` and `max_error`; one that does not has `refused`, the reason.
    `preload_imports` is the seconds that its first training took beyond a later one: it compiles, records
    or proves. `stack_sizes` are the sizes of the stacked engine's groups, `utilisation` how busy a GPU
    was, in percent. The row "auto" repeats the figures of the engine `chosen`, where that was
    measured; its warm-up is the calibration.
    """
    comparison = _Comparison(
        workload=workload,
        candidates=workload.candidates(plan.heavy if workload.heavy else plan.candidates),
        settings=ProxySettings(epochs=plan.epochs, patience=0, batch_size=batch_size),
        device=device,
    )
    engines: dict[str, Engine] = {PLAIN: PlainEngine()}
    extra_figures: dict[str, Figures] = {PLAIN: {"equal": True, "max_error": 0.0}, BY_HAND: {}}
    for name in names:
        engine = ENGINES[name]()
        try:
            extra_figures[name] = comparison.compare(engine, plan.compared_candidates)
        except EngineUnsupported as error:
            yield {**comparison.row_key, "engine": name, "refused": str(error)}
        else:
            engines[name] = engine
    if "stacked" in engines:
        extra_figures["stacked"]["stacks"] = comparison.stack_sizes()
    tasks: dict[str, Task] = {
        name: partial(comparison.train, entry) for name, entry in engines.items()
    }
    figures = _time_in_turns({**tasks, BY_HAND: comparison.train_by_hand}, plan.rounds, device)
    rows = {
        name: {**comparison.row_key, **entry, **extra_figures[name]}
        for name, entry in figures.items()
    }
    yield from ({**row, "engine": name} for name, row in rows.items() if name != PLAIN)
    chosen, seconds = comparison.choose_engine()
    if chosen in rows:
        yield {**rows[chosen], "engine": "auto", "chosen": chosen, "warm_up": seconds}


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """The same trainings for everybody."""

    workload: Workload
    candidates: Sequence[Candidate]
    settings: ProxySettings
    device: torch.device

    @property
    def row_key(self) -> Figures:
        """What a row is about."""
        return {
            "family": self.workload.family,
            "widths": self.workload.widths,
            "batch_size": self.settings.batch_size,
            "candidates": len(self.candidates),
            "device": self.device.type,
        }

    def compare(self, engine: Engine, count: int) -> Figures:
        """Return how far the first so many networks are from the plain engine's, in float64."""
        settings = replace(self.settings, epochs=COMPARED_EPOCHS)
        candidates, objective = self.candidates[:count], self.workload.objective
        error = max_difference(engine, objective, candidates, settings, self.device)
        return {"equal": error <= EQUALITY_TOLERANCE[engine.name], "max_error": error}

    def train(self, engine: Engine) -> None:
        """Train all by an engine, which must not leave it to another."""
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
        """Train all by the loop."""
        train_by_hand(self.workload.objective, self.candidates, self.settings, self.device)

    def stack_sizes(self) -> list[int]:
        """Return how many candidates share each stack of the stacked engine."""
        members = make_members(self.candidates, self.settings)
        return [
            len(group.indices) for group in StackedEngine().plan_stacks(self._training, members)
        ]

    def choose_engine(self) -> tuple[str, float]:
        """Return the engine that a long study would be trained with, and what choosing took."""
        members = make_members(self.candidates, self.settings)
        members.sort(key=lambda member: sum(member.widths.values()))
        samples = [members[index] for index in (0, len(members) // 2, -1)]
        clock = _clock(self.device)
        started = clock()
        choice = choose_engine(
            self._training, samples, training_count=STUDY_TRAININGS, stack_samples=members
        )
        return choice.engine.name, clock() - started

    @property
    def _training(self) -> TrainingSetup:
        return make_training(self.workload.objective, self.settings, self.device)


def _time_in_turns(
    tasks: Mapping[str, Task], rounds: int, device: torch.device
) -> dict[str, Figures]:
    """Return everybody's figures; once round without counting, then taking turns."""
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
