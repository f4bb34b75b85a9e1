"""Training several candidates together: the rules that all engines obey.

A candidate is trained once for each fold, replica and learning rate (its members). All members go
from stop to stop side by side; a stop is an epoch's end or a rung. There they are judged, the best
weights are kept, those out of patience end, and at a rung the candidates that fall behind are
stopped. Nothing that one member does changes another's numbers.

Entry points: `Candidate`, `train_together`.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from .course import Course
from .engines.base import Engine, Member, Training
from .engines.plain import PlainEngine
from .folds import folds_of
from .merging import Merged, better_share, hopeless, merged
from .objective import Objective
from .parametrisation.standard import Parametrisation
from .proxy import ProxySettings, TrainingResult
from .squad import Squad, Stop

After = Callable[[float, Mapping[int, float]], Collection[int]]
"""`(epochs so far, candidate trained until now -> its metric there) -> candidates to give up`."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate to train.

    Attributes:
        widths: What to build.
        seed: Of its first replica; the others' follow from it.
        spared: Never stopped for falling behind.
    """

    widths: Mapping[str, int]
    seed: int
    spared: bool = False


def train_together(
    objective: Objective,
    candidates: Sequence[Candidate],
    settings: ProxySettings,
    *,
    device: torch.device,
    engine: Engine | None = None,
    scaling: Parametrisation | None = None,
    earlier: Mapping[float, Sequence[float]] | None = None,
    after: After | None = None,
) -> list[TrainingResult | Exception | None]:
    """Train candidates side by side and judge each.

    Args:
        objective: Model, data, loss and metric.
        candidates: What to train; may be empty.
        settings: How.
        device: Where.
        engine: Who computes; None for the plain engine.
        scaling: Initial weights and rates by width; None for the model's own and one rate.
        earlier: Rung (in epochs) to the scores that other trials had there, to be compared with.
        after: Called at every stop; what it raises ends all and propagates untouched.

    Returns:
        In the order of the candidates: the result; the exception that its code raised; or None for
        one that `after` gave up.
    """
    cohort = _Cohort(
        objective, candidates, settings, device, engine or PlainEngine(), scaling, earlier or {}
    )
    for stop in _stops(settings):
        running = cohort.running()
        if not running:
            break
        cohort.go_to(stop)
        if after is not None:
            cohort.give_up(after(stop.epochs, cohort.metrics(running)))
    return cohort.results()


def replica_seed(seed: int, replica: int) -> int:
    """Return the seed of a candidate's replica; the first one's is the candidate's own."""
    if replica == 0:
        return seed
    word = np.random.SeedSequence([seed, 2, replica]).generate_state(1, np.uint64)[0]
    return int(word >> np.uint64(1))


def _stops(settings: ProxySettings) -> Iterator[Stop]:
    rungs = settings.rungs
    for epochs in sorted({*map(float, range(1, settings.epochs + 1)), *rungs}):
        yield Stop(epochs=epochs, rung=epochs in rungs)


@final
class _Cohort:
    """All candidates, their members in squads of one fold each."""

    def __init__(
        self,
        objective: Objective,
        candidates: Sequence[Candidate],
        settings: ProxySettings,
        device: torch.device,
        engine: Engine,
        scaling: Parametrisation | None,
        earlier: Mapping[float, Sequence[float]],
    ) -> None:
        started = time.perf_counter()
        self._candidates, self._settings, self._device = candidates, settings, device
        self._metric, self._earlier = objective.metric, earlier
        self._seconds = [0.0] * len(candidates)
        self._rungs: list[list[tuple[float, float]]] = [[] for _ in candidates]
        self._pruned: set[int] = set()
        self._given_up: set[int] = set()
        members = [
            (place, Member(widths=one.widths, seed=replica_seed(one.seed, k), learning_rate=rate))
            for place, one in enumerate(candidates)
            for k in range(settings.replicas)
            for rate in (settings.learning_rate * factor for factor in settings.rate_factors)
        ]
        self._squads = [
            Squad(
                Training(
                    objective=objective,
                    data=data.to(device),
                    settings=settings,
                    device=device,
                    scaling=scaling,
                ),
                [member for _, member in members],
                [place for place, _ in members],
                engine,
            )
            for data in folds_of(objective.data, settings.folds)
            if members
        ]
        self._charge(range(len(candidates)), started)

    def running(self) -> list[int]:
        """Return the candidates of which a member goes on."""
        return sorted(
            {squad.courses[n].candidate for squad in self._squads for n in squad.running()}
        )

    def go_to(self, stop: Stop) -> None:
        """Train all to a stop; end what failed, and at a rung the candidates that fall behind."""
        started, running = time.perf_counter(), self.running()
        for squad in self._squads:
            squad.go_to(stop)
        self._end([one for courses in self._courses() for one in hopeless(courses)])
        if stop.rung:
            self._compare(stop.epochs)
        self._charge(running, started)

    def metrics(self, places: Collection[int]) -> dict[int, float]:
        """Return the present metric of those candidates that have one."""
        found = {place: one.present for place, one in enumerate(self._merged()) if place in places}
        return {place: metric for place, metric in found.items() if metric is not None}

    def give_up(self, places: Collection[int]) -> None:
        """Stop candidates that nobody waits for any more."""
        self._given_up.update(places)
        self._end_candidates(places)

    def results(self) -> list[TrainingResult | Exception | None]:
        """Return what came of each candidate."""
        return [
            None if place in self._given_up else self._result(place, found)
            for place, found in enumerate(self._merged())
        ]

    def _compare(self, epochs: float) -> None:
        scores = {}
        for place, found in enumerate(self._merged()):
            out = place in self._pruned | self._given_up or found.error is not None
            if found.score is not None and not out:
                scores[place] = found.score
                self._rungs[place].append((epochs, found.score))
        assert self._settings.halving is not None
        kept = better_share(
            scores, self._earlier.get(epochs, ()), self._settings.halving.eta, self._metric
        )
        behind = [
            place
            for place in self.running()
            if place in scores and place not in kept and not self._candidates[place].spared
        ]
        self._pruned.update(behind)
        self._end_candidates(behind)

    def _end_candidates(self, places: Collection[int]) -> None:
        courses = self._courses()
        self._end([one for place in places for one in courses[place]])

    def _end(self, courses: Collection[Course]) -> None:
        ending = {id(one) for one in courses}
        for squad in self._squads:
            squad.end([n for n in squad.running() if id(squad.courses[n]) in ending])

    def _courses(self) -> list[list[Course]]:
        """Return every candidate's trainings."""
        found: list[list[Course]] = [[] for _ in self._candidates]
        for squad in self._squads:
            for one in squad.courses:
                found[one.candidate].append(one)
        return found

    def _merged(self) -> list[Merged]:
        return [merged(courses, self._metric) for courses in self._courses()]

    def _result(self, place: int, found: Merged) -> TrainingResult | Exception:
        if found.error is not None:
            return found.error
        pruned = place in self._pruned and found.outcome == "complete"
        complete = found.outcome == "complete" and not pruned
        rungs = dict(self._rungs[place])
        if complete and found.score is not None:
            # One that ran out of patience has its score at all rungs that follow.
            rungs = dict.fromkeys(self._settings.rungs, found.score) | rungs
        return TrainingResult(
            outcome="pruned" if pruned else found.outcome,
            value=found.score if complete else None,
            score=found.score,
            fidelity=self._rungs[place][-1][0] if pruned else float(self._settings.epochs),
            rungs=tuple(rungs.items()),
            test_value=found.test_value if complete else None,
            best_epoch=found.best_epoch if complete else None,
            epochs=len(found.curve),
            curve=found.curve,
            losses=found.losses,
            spread=found.spread if complete else None,
            learning_rate=found.learning_rate,
            engine=", ".join(dict.fromkeys(squad.engine for squad in self._squads)),
            seconds=self._seconds[place],
            device=str(self._device),
            parameters=found.parameters,
            peak_memory=found.peak_memory,
            detail=self._behind(place) if pruned else found.detail,
        )

    def _behind(self, place: int) -> str:
        assert self._settings.halving is not None, "only halving prunes"
        epochs, score = self._rungs[place][-1]
        return (
            f"its {self._metric.name} of {score:.4g} after {epochs:g} of {self._settings.epochs} "
            f"epochs is not among the best 1/{self._settings.halving.eta}"
        )

    def _charge(self, places: Collection[int], started: float) -> None:
        """Share the time since then among the candidates that used it."""
        spent = time.perf_counter() - started
        for place in places:
            self._seconds[place] += spent / len(places)
