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
from widthwise.objectives.engines.base import Engine, Training, Unsuitable
from widthwise.objectives.engines.choose import ENGINES, choose
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.stacked.engine import StackedEngine
from widthwise.objectives.loop.loop import Candidate, train_together
from widthwise.objectives.training.settings import ProxySettings, TrainingResult

from .by_hand import by_hand
from .difference import TOLERANCE, difference, members_of, training_of
from .utilisation import watched
from .workloads import ROWS, Workload

PLAIN, BY_HAND = "plain", "loop by hand"

STUDY = 10_000
"""Trainings that the chooser is told of: enough that compiling is worth it."""

COMPARED_EPOCHS = 2
"""Of the trainings in float64."""

Work = Callable[[], object]
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
        compared: Candidates that are compared in float64.
        batch_sizes: Rows in a step; each is measured.
    """

    candidates: int
    heavy: int
    rows: int
    epochs: int
    rounds: int
    compared: int
    batch_sizes: tuple[int, ...] = (32, 64)


FULL = Plan(candidates=32, heavy=8, rows=ROWS, epochs=5, rounds=3, compared=8)
QUICK = Plan(candidates=4, heavy=4, rows=320, epochs=2, rounds=1, compared=3, batch_sizes=(32,))


def measure(
    workload: Workload, plan: Plan, names: Sequence[str], device: torch.device, batch_size: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each engine, one for the loop by hand, and one for the chooser's pick.

    An engine that serves has `equal` and `max_error`; one that does not has `refused`, the reason.
    `warm_up` is the seconds that its first training took beyond a later one: it compiles, records
    or proves. `stacks` are the sizes of the stacked engine's groups, `utilisation` how busy a GPU
    was, in percent. The row "auto" repeats the figures of the engine `chosen`, where that was
    measured; its warm-up is the calibration.
    """
    case = _Case(
        workload=workload,
        candidates=workload.candidates(plan.heavy if workload.heavy else plan.candidates),
        settings=ProxySettings(epochs=plan.epochs, patience=0, batch_size=batch_size),
        device=device,
    )
    engines: dict[str, Engine] = {PLAIN: PlainEngine()}
    about: dict[str, Figures] = {PLAIN: {"equal": True, "max_error": 0.0}, BY_HAND: {}}
    for name in names:
        engine = ENGINES[name]()
        try:
            about[name] = case.compared(engine, plan.compared)
        except Unsuitable as reason:
            yield {**case.head, "engine": name, "refused": str(reason)}
        else:
            engines[name] = engine
    if "stacked" in engines:
        about["stacked"]["stacks"] = case.stacks()
    works: dict[str, Work] = {name: partial(case.train, one) for name, one in engines.items()}
    figures = _race({**works, BY_HAND: case.by_hand}, plan.rounds, device)
    rows = {name: {**case.head, **one, **about[name]} for name, one in figures.items()}
    yield from ({**row, "engine": name} for name, row in rows.items() if name != PLAIN)
    chosen, seconds = case.chosen()
    if chosen in rows:
        yield {**rows[chosen], "engine": "auto", "chosen": chosen, "warm_up": seconds}


@dataclass(frozen=True, kw_only=True)
class _Case:
    """The same trainings for everybody."""

    workload: Workload
    candidates: Sequence[Candidate]
    settings: ProxySettings
    device: torch.device

    @property
    def head(self) -> Figures:
        """What a row is about."""
        return {
            "family": self.workload.family,
            "widths": self.workload.widths,
            "batch_size": self.settings.batch_size,
            "candidates": len(self.candidates),
            "device": self.device.type,
        }

    def compared(self, engine: Engine, number: int) -> Figures:
        """Return how far the first so many networks are from the plain engine's, in float64."""
        settings = replace(self.settings, epochs=COMPARED_EPOCHS)
        candidates, objective = self.candidates[:number], self.workload.objective
        error = difference(engine, objective, candidates, settings, self.device)
        return {"equal": error <= TOLERANCE[engine.name], "max_error": error}

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

    def by_hand(self) -> None:
        """Train all by the loop."""
        by_hand(self.workload.objective, self.candidates, self.settings, self.device)

    def stacks(self) -> list[int]:
        """Return how many candidates share each stack of the stacked engine."""
        members = members_of(self.candidates, self.settings)
        return [len(group.places) for group in StackedEngine().groups(self._training, members)]

    def chosen(self) -> tuple[str, float]:
        """Return the engine that a long study would be trained with, and what choosing took."""
        members = members_of(self.candidates, self.settings)
        members.sort(key=lambda one: sum(one.widths.values()))
        samples = [members[place] for place in (0, len(members) // 2, -1)]
        clock = _clock(self.device)
        started = clock()
        found = choose(self._training, samples, trainings=STUDY, crowd=members)
        return found.engine.name, clock() - started

    @property
    def _training(self) -> Training:
        return training_of(self.workload.objective, self.settings, self.device)


def _race(works: Mapping[str, Work], rounds: int, device: torch.device) -> dict[str, Figures]:
    """Return everybody's figures; once round without counting, then taking turns."""
    first = {name: _seconds(work, device) for name, work in works.items()}
    busy: dict[str, list[float]] = {}
    found: list[dict[str, float]] = []
    for turn in range(rounds):
        order = list(works)[:: -1 if turn % 2 else 1]
        found.append({})
        for name in order:
            with watched(device) as busy[name]:
                found[-1][name] = _seconds(works[name], device)
    figures = {}
    for name in works:
        seconds = median(one[name] for one in found)
        ratios = [one[PLAIN] / one[name] for one in found]
        figures[name] = {
            "seconds": seconds,
            "ratio_to_plain": median(ratios),
            "ratios": ratios,
            "warm_up": max(0.0, first[name] - seconds),
            **({"utilisation": busy[name][0]} if busy[name] else {}),
        }
    return figures


def _seconds(work: Work, device: torch.device) -> float:
    gc.collect()
    clock = _clock(device)
    started = clock()
    work()
    return clock() - started


def _clock(device: torch.device) -> Callable[[], float]:
    return time.process_time if device.type == "cpu" else time.perf_counter
