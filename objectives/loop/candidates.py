"""A cohort: candidates trained side by side, each by its members in squads of one fold.

Entry point: `Cohort`.
"""

import logging
import math
import time
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import final

import torch

from ..data.batches import placed
from ..data.split import folds_of
from ..engines.base import Engine, Training
from ..errors import reason
from ..model.objective import Objective
from ..parametrisation.standard import Parametrisation
from ..training.settings import ProxySettings, TrainingResult
from ..training.snapshot import Record, Snapshot
from .aggregate import Merged, better_share, hopeless, merged, result_of
from .candidate import Candidate, Story, members_of, opened, terms
from .fold import Squad, Stop
from .member import Course

_log = logging.getLogger(__name__)


@final
class Cohort:
    """All candidates, their members in squads of one fold each."""

    def __init__(
        self,
        objective: Objective,
        candidates: Sequence[Candidate],
        settings: ProxySettings,
        *,
        device: torch.device,
        engine: Engine,
        scaling: Parametrisation | None,
        earlier: Mapping[float, Sequence[float]],
        saved: Mapping[int, Snapshot],
    ) -> None:
        """Build all networks, and put those that were saved where they were.

        Args:
            objective: Model, data, loss and metric.
            candidates: What to train.
            settings: How.
            device: Where.
            engine: Who computes.
            scaling: Initial weights and rates by width; None for the model's own and one rate.
            earlier: Rung to the scores that other trials had there.
            saved: Candidate to where it goes on from; one that does not fit is said in a warning.
        """
        started = time.perf_counter()
        self._candidates, self._settings, self._device = candidates, settings, device
        self._metric, self._earlier, self._engine = objective.metric, earlier, engine
        self._stories = [Story() for _ in candidates]
        self._trainings = [
            Training(
                objective=objective,
                data=placed(data, device, settings.data_on),
                settings=settings,
                device=device,
                scaling=scaling,
            )
            for data in folds_of(objective.data, settings.folds)
            if candidates
        ]
        self._terms = terms(settings, [len(one.data.train) for one in self._trainings])
        self._start(saved)
        self._charge(range(len(candidates)), started)

    @property
    def steps(self) -> int:
        """Batches in an epoch, of the fold with the most."""
        return max((squad.steps for squad in self._squads), default=1)

    @property
    def at(self) -> float:
        """How far those are that go on, the last of them; infinite where none does."""
        running = (one for courses in self._courses() for one in courses if one.state == "running")
        return min((one.at for one in running), default=math.inf)

    def running(self) -> list[int]:
        """Return the candidates of which a member goes on."""
        return self._behind(math.inf)

    def go_to(self, stop: Stop) -> list[int]:
        """Train all to a stop; end what failed, and at a rung the candidates that fall behind.

        Returns:
            The candidates that were trained: the others have ended, or have the stop behind them.
        """
        started, trained = time.perf_counter(), self._behind(stop.epochs)
        for squad in self._squads:
            squad.go_to(stop)
        if stop.judged:
            self._end([one for courses in self._courses() for one in hopeless(courses)])
        if stop.rung:
            self._compare(stop.epochs, trained)
        for place in trained:
            self._stories[place].here = True
        self._charge(trained, started)
        return trained

    def metrics(self, places: Collection[int]) -> dict[int, float]:
        """Return the present metric of those candidates that have one."""
        found = {place: one.present for place, one in enumerate(self._merged()) if place in places}
        return {place: metric for place, metric in found.items() if metric is not None}

    def give_up(self, places: Collection[int]) -> None:
        """Stop candidates that nobody waits for any more."""
        for place in places:
            self._stories[place].given_up = True
        self._end_candidates(places)

    def results(self) -> list[TrainingResult | Exception | None]:
        """Return what came of each candidate."""
        return [
            result_of(
                story,
                found,
                self._settings,
                metric=self._metric,
                engines=story.trained_by(self._engines()),
                device=self._device,
            )
            for story, found in zip(self._stories, self._merged(), strict=True)
        ]

    def version(self, place: int) -> Hashable:
        """Return what is another one whenever a candidate's snapshot is."""
        return tuple((one.at, one.state) for one in self._courses()[place])

    def snapshot(self, place: int) -> Snapshot | None:
        """Return where a candidate stands; None where it is to begin anew.

        That is one whose code raised, and one that ran out of memory, of which another machine may
        have more.

        Raises:
            Exception: Its network has a state that cannot be stored, or its own code raised.
        """
        story, courses = self._stories[place], self._courses()[place]
        found = merged(courses, self._metric)
        if story.given_up or found.error is not None or found.outcome == "out_of_memory":
            return None
        return Snapshot.of(
            epochs=max(one.at for one in courses),
            records=[self._squads[fold].record(n) for fold, n in self._spots(place)],
            facts={**self._terms, "story": story.facts(self._engines())},
        )

    def _start(self, saved: Mapping[int, Snapshot]) -> None:
        """Build the squads, and anew without those that turn out not to fit."""
        self._build()
        found: dict[int, tuple[Story, list[Record]]] = {}
        for place, snapshot in saved.items():
            try:
                found[place] = opened(snapshot, self._terms, len(self._spots(place)))
            except Exception as error:  # whatever was stored, it must not end a training
                _say_unfit(self._candidates[place], error)
        while unfit := self._go_on_from(found):
            for place, why in unfit.items():
                _say_unfit(self._candidates[place], why)
                del found[place]
            self._build()
        for place, (story, _) in found.items():
            self._stories[place] = story

    def _build(self) -> None:
        members = [
            (place, member)
            for place, one in enumerate(self._candidates)
            for member in members_of(one, self._settings)
        ]
        self._squads: list[Squad] = []  # the memory of those before is given up first
        for training in self._trainings:
            self._squads.append(
                Squad(
                    training,
                    [member for _, member in members],
                    [place for place, _ in members],
                    self._engine,
                )
            )

    def _go_on_from(
        self, found: Mapping[int, tuple[Story, Sequence[Record]]]
    ) -> dict[int, Exception]:
        """Put members where they were; return candidates that do not fit, and why."""
        by_fold: list[dict[int, Record]] = [{} for _ in self._squads]
        for place, (_, records) in found.items():
            for (fold, n), record in zip(self._spots(place), records, strict=True):
                by_fold[fold][n] = record
        unfit = {}
        for squad, mine in zip(self._squads, by_fold, strict=True):
            for n, error in squad.go_on_from(mine).items():
                unfit[squad.courses[n].candidate] = error
        return unfit

    def _compare(self, epochs: float, trained: Collection[int]) -> None:
        """Stop the candidates that fall behind at a rung.

        One that has the rung behind it is judged no more, but its score there counts for others.
        """
        scores = {}
        for place, found in enumerate(self._merged()):
            story = self._stories[place]
            if story.given_up or found.error is not None:
                continue
            if found.score is not None and not story.pruned:
                story.rungs.setdefault(epochs, found.score)
            if epochs in story.rungs:
                scores[place] = story.rungs[epochs]
        assert self._settings.halving is not None
        kept = better_share(
            scores, self._earlier.get(epochs, ()), self._settings.halving.eta, self._metric
        )
        out = [
            place
            for place in self.running()
            if place in trained
            and place in scores
            and place not in kept
            and not self._candidates[place].spared
        ]
        for place in out:
            self._stories[place].pruned = True
        self._end_candidates(out)

    def _end_candidates(self, places: Collection[int]) -> None:
        courses = self._courses()
        self._end([one for place in places for one in courses[place]])

    def _end(self, courses: Collection[Course]) -> None:
        ending = {id(one) for one in courses}
        for squad in self._squads:
            squad.end([n for n in squad.running() if id(squad.courses[n]) in ending])

    def _behind(self, epochs: float) -> list[int]:
        """Return the candidates of which a member goes on that is not yet so far."""
        return [
            place
            for place, courses in enumerate(self._courses())
            if any(one.state == "running" and one.at < epochs for one in courses)
        ]

    def _spots(self, place: int) -> list[tuple[int, int]]:
        """Return where a candidate's members are: the fold, and the place in its squad."""
        return [
            (fold, n)
            for fold, squad in enumerate(self._squads)
            for n, one in enumerate(squad.courses)
            if one.candidate == place
        ]

    def _courses(self) -> list[list[Course]]:
        """Return every candidate's trainings."""
        found: list[list[Course]] = [[] for _ in self._candidates]
        for squad in self._squads:
            for one in squad.courses:
                found[one.candidate].append(one)
        return found

    def _engines(self) -> tuple[str, ...]:
        return tuple(squad.engine for squad in self._squads)

    def _merged(self) -> list[Merged]:
        return [merged(courses, self._metric) for courses in self._courses()]

    def _charge(self, places: Collection[int], started: float) -> None:
        """Share the time since then among the candidates that used it."""
        spent = time.perf_counter() - started
        for place in places:
            self._stories[place].seconds += spent / len(places)


def _say_unfit(candidate: Candidate, error: Exception) -> None:
    _log.warning(
        "the training of %s begins anew, its checkpoint does not fit: %s",
        dict(candidate.widths),
        reason(error),
    )
