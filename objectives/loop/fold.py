"""A squad: members that share their data, and the team of an engine that trains them.

Entry points: `Squad`, `Stop`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import final

from ..data.batches import Order
from ..data.dataset import Split
from ..engines.base import Engine, Member, Team, Training
from ..engines.plain import PlainEngine
from ..errors import contained, reason
from ..randomness import Randomness
from ..training.evaluate import score
from ..training.snapshot import Progress, Record, Unfit
from .member import Course


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A point of the training.

    Attributes:
        epochs: How far it is.
        rung: Whether candidates are compared there.
        judged: Whether members are judged there; elsewhere they only pause.
    """

    epochs: float
    rung: bool = False
    judged: bool = True

    @property
    def share(self) -> float:
        """How much of the present epoch is done, in (0, 1]."""
        return self.epochs - math.ceil(self.epochs) + 1

    @property
    def ends_epoch(self) -> bool:
        """Whether every row was seen."""
        return self.share == 1


@final
class Squad:
    """Members that go from stop to stop.

    Attributes:
        courses: How each of them fares.
        engine: What trains them, for people.
    """

    def __init__(
        self,
        training: Training,
        members: Sequence[Member],
        candidates: Sequence[int],
        engine: Engine,
    ) -> None:
        """Build all members.

        Args:
            training: What they have in common.
            members: The networks.
            candidates: For each of them, the place of its candidate.
            engine: What trains them; where it cannot, the plain engine does.
        """
        self._training = training
        self._past: list[Stop] = []
        self._records: Mapping[int, Record] = {}
        self.courses = [self._course(*pair) for pair in zip(members, candidates, strict=True)]
        self._start(engine)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return max(course.order.steps for course in self.courses)

    def go_on_from(self, records: Mapping[int, Record]) -> dict[int, Exception]:
        """Put members where they were, before any has begun.

        Returns:
            Member to why its record does not fit; the squad is of no use then.
        """
        try:
            return self._go_on_from(records)
        except (Exception, SystemExit) as error:
            if isinstance(self._engine, PlainEngine):
                raise
            why = f"{self._engine.name}: {reason(error)}"
        del self._team  # as in `_start_over`
        self._start_anew(range(len(self.courses)), why)
        return self._go_on_from(records)

    def _go_on_from(self, records: Mapping[int, Record]) -> dict[int, Exception]:
        self._records = records
        unfit: dict[int, Exception] = {}
        progress = {}
        for place, record in records.items():
            course = self.courses[place]
            try:
                course.go_on_from(record.course)
                if course.state == "running":
                    progress[place] = _present(record)
            except Exception as error:  # whatever was stored, it must not end a training
                unfit[place] = error
        unfit |= self._team.go_on_from(progress)
        self._team.drop([n for n, one in enumerate(self.courses) if one.state != "running"])
        return unfit

    def record(self, place: int) -> Record:
        """Return where a member stands; raises `Unkeepable` or whatever its own code raises."""
        course = self.courses[place]
        running = course.state == "running"
        return Record(
            course=course.facts(), progress=self._team.progress(place) if running else None
        )

    def running(self) -> list[int]:
        """Return the places of the members that go on."""
        return [place for place, one in enumerate(self.courses) if one.state == "running"]

    def go_to(self, stop: Stop) -> None:
        """Train to a stop, judge there, and end what is out of patience.

        A member that has the stop behind it sits it out.
        """
        self._surely(partial(self._go_to, stop))
        if stop.judged:
            self._past.append(stop)
        if stop.ends_epoch:
            # What has come through an epoch is not likely to break down: the memory is worth more.
            self._records = {
                place: record
                for place, record in self._records.items()
                if self.courses[place].at == record.course["at"]
            }

    def end(self, places: Sequence[int]) -> None:
        """Stop members that fell behind, or that nobody waits for."""
        for place in places:
            self.courses[place].state = "pruned"
        if places:
            self._surely(lambda: self._team.drop(places))

    def _surely(self, work: Callable[[], None]) -> None:
        """Do it, on the plain engine where the present one breaks down."""
        try:
            work()
            return
        except (Exception, SystemExit) as error:
            if isinstance(self._engine, PlainEngine):
                raise
            why = reason(error)
        # Not within the handler: the exception's frames hold the engine's memory.
        self._start_over(why)
        work()

    def _course(self, member: Member, candidate: int) -> Course:
        rows, size = len(self._training.data.train), self._training.settings.batch_size
        return Course(candidate=candidate, member=member, order=Order(rows, size, member.seed))

    def _start(self, engine: Engine) -> None:
        members = [course.member for course in self.courses]
        self._team: Team
        try:
            self._team = engine.start(self._training, members)
        except (Exception, SystemExit) as error:
            if isinstance(engine, PlainEngine):
                raise
            why = reason(error)
        else:
            self._engine, self.engine = engine, engine.name
            for place, course in enumerate(self.courses):
                course.parameters = self._team.parameters(place)
            return
        self._start_plain(f"{engine.name}: {why}")

    def _start_plain(self, why: str) -> None:
        self._start(PlainEngine())
        self.engine = f"plain ({why})"

    def _start_over(self, why: str) -> None:
        """Train what still runs anew, one by one: what one member needs must not end another.

        It begins where it came into this process: the same seeds give the same numbers, so nothing
        but time is lost.
        """
        running, why = self.running(), f"{self._engine.name}: {why}"
        records = {place: one for place, one in self._records.items() if place in running}
        del self._team  # its memory is what may have run out
        self._start_anew(running, why)
        while unfit := self.go_on_from(records):
            records = {place: one for place, one in records.items() if place not in unfit}
            self._start_anew(running, why)
        for stop in self._past:
            self._go_to(stop)

    def _start_anew(self, places: Sequence[int], why: str) -> None:
        for place in places:
            old = self.courses[place]
            self.courses[place] = self._course(old.member, old.candidate)
        self._start_plain(why)

    def _go_to(self, stop: Stop) -> None:
        active = [place for place in self.running() if self.courses[place].at < stop.epochs]
        if not active:
            return
        midway = [place for place in active if self.courses[place].order.midway]
        parts = {place: self.courses[place].order.until(stop.share) for place in active}
        due = {place: part for place, part in parts.items() if part}
        losses = self._team.advance(due, midway) if due else {}
        for place in active:
            self._take(place, losses.get(place), stop)
        if stop.judged:
            self._judge(active, stop)
            self._settle()

    def _take(self, place: int, loss: float | Exception | None, stop: Stop) -> None:
        """Take what came of a member's batches; None where there were none."""
        course = self.courses[place]
        course.at = stop.epochs
        if isinstance(loss, Exception):
            course.fail(loss, built=course.parameters > 0)
            return
        if loss is not None:
            course.trained(loss)
        if stop.judged:
            course.stopped(epoch_ended=stop.ends_epoch)
        held = (course.peak_memory, self._team.peak_memory(place))
        course.peak_memory = max((one for one in held if one is not None), default=None)

    def _judge(self, places: Sequence[int], stop: Stop) -> None:
        metric = self._training.objective.metric
        running = [place for place in places if self.courses[place].state == "running"]
        values = self._scores(running, self._training.data.validation)
        self._team.remember(
            [
                place
                for place, value in values.items()
                if self.courses[place].judged(value, metric, epoch_ended=stop.ends_epoch)
            ]
        )

    def _settle(self) -> None:
        """Judge the best weights of those that are out of patience on the test split."""
        test = self._training.data.test
        tired = [n for n in self.running() if self.courses[n].tired(self._training.settings)]
        if tired and len(test):
            self._team.recall(tired)
            for place, value in self._scores(tired, test).items():
                self.courses[place].test_value = value if math.isfinite(value) else None
        for place in tired:
            if self.courses[place].state == "running":
                self.courses[place].state = "finished"
        self._team.drop([n for n, one in enumerate(self.courses) if one.state != "running"])

    def _scores(self, places: Sequence[int], split: Split) -> dict[int, float]:
        found, targets = {}, split.targets.to(self._training.device)
        for place, output in self._team.predict(places, split.inputs).items():
            try:
                if isinstance(output, Exception):
                    raise output
                with self._streams(place):
                    found[place] = score(self._training.objective, output, targets)
            except (Exception, SystemExit) as error:
                self.courses[place].fail(contained(error))
        return found

    def _streams(self, place: int) -> AbstractContextManager[None]:
        """Return the streams to judge a member in: a user's own metric may draw from them."""
        if self._training.objective.metric.task is not None:
            return nullcontext()
        return Randomness(self.courses[place].member.seed, self._training.device)


def _present(record: Record) -> Progress:
    if record.progress is None:
        raise Unfit("of a member that had not ended, only the course was stored")
    return record.progress
