"""Which engine: a short calibration on real steps, never slower than the plain loop.

A few candidates of the space, the smallest and the largest among them, take a few steps with every
engine that will have them. From the time of a start and of a step follows what the whole study
costs; an engine that is slower than plain at any of these candidates, or whose losses differ, is
out. Where all of the study would take the plain engine only seconds, nothing is measured.

Entry points: `choose`, `Choice`, `named`.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..data.batches import Order
from ..errors import ModelError
from .base import Engine, Member, Training, Unsuitable
from .dense.engine import DenseEngine
from .plain import PlainEngine
from .replay.engine import ReplayEngine
from .stacked.engine import StackedEngine

_log = logging.getLogger(__name__)

ENGINES: Mapping[str, Callable[[], Engine]] = {
    "plain": PlainEngine,
    "replay": ReplayEngine,
    "stacked": StackedEngine,
    "dense": DenseEngine,
}

WORTH_SECONDS = 10.0
"""A study that the plain engine trains in less is not worth a calibration."""

_SLOW_STEP = 0.1
"""Seconds of a step that is all arithmetic: what other engines save does not matter there."""

_WARM = 4
"""Steps before the clock starts: an engine may watch the first few, or compile."""

_TIMED, _ROUNDS = 8, 3
_FEWEST_STACKED, _ASKED = 4, 8
_WORTH_COMPILING = 45.0
"""Seconds of a study from which an engine may compile, which takes up to a third of that once."""

_SAME_LOSS = 1e-3
"""Relative difference of the first losses, in float32, beyond which an engine is not trusted."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An engine and why.

    Attributes:
        engine: The one to use.
        sentence: What was found, for people; empty where nothing was measured.
    """

    engine: Engine
    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class _Price:
    """Seconds: once for all, for a start with its first steps, and for each further step."""

    once: float
    start: float
    step: float

    def of(self, steps: int) -> float:
        """Return what one training of so many steps takes."""
        return self.start + self.step * max(0, steps - _WARM)


def choose(
    training: Training,
    samples: Sequence[Member],
    *,
    trainings: int,
    crowd: Sequence[Member] = (),
    wanted: str = "auto",
) -> Choice:
    """Return the engine that trains a study fastest.

    Args:
        training: What the members have in common.
        samples: Candidates of the space, the smallest and the largest among them.
        trainings: Members that are still to be trained.
        crowd: Different members, as they would be trained at once; a stack is tried on them.
        wanted: A name in `ENGINES`, or "auto".

    Raises:
        ModelError: The engine asked for cannot train these models.
    """
    if wanted != "auto":
        return _asked_for(wanted, training, samples)
    steps = Order(len(training.data.train), training.settings.batch_size, 0).steps
    steps *= training.settings.epochs
    plain_engine = PlainEngine()
    plain: list[_Price] = []
    expected: list[float] = []
    for sample in samples:
        price, losses = _priced(plain_engine, training, [sample])
        plain.append(price)
        expected.append(losses[0])
        if price.step > _SLOW_STEP:
            return Choice(engine=plain_engine)
    total = trainings * _mean([price.of(steps) for price in plain])
    if not math.isfinite(total) or total < WORTH_SECONDS:
        return Choice(engine=plain_engine)
    best, best_total = Choice(engine=plain_engine), total
    for name in _candidates(training, len(crowd), total):
        engine = ENGINES[name]()
        try:
            if name == "stacked":
                mine = _stacked(engine, training, crowd, steps, total)
            else:
                mine = _alone(engine, training, samples, plain, expected, steps, trainings)
        except Exception as reason:  # it cannot serve: whatever the reason, the plain engine does
            _log.debug("engine '%s' is out: %s", name, reason)
            continue
        if mine < best_total:
            best_total = mine
            best = Choice(
                engine=engine,
                sentence=f"engine '{name}': {total / mine:.1f} × the plain one's speed",
            )
    return best


def _asked_for(wanted: str, training: Training, samples: Sequence[Member]) -> Choice:
    engine = ENGINES[wanted]()
    try:
        engine.start(training, samples)
    except Unsuitable as reason:
        raise ModelError(
            f"engine '{wanted}' cannot train this model: {reason}; set engine = \"auto\"."
        ) from reason
    return Choice(engine=engine)


def _candidates(training: Training, crowd: int, total: float) -> list[str]:
    """Return the engines worth a try on this device."""
    stacked = ["stacked"] if crowd >= _FEWEST_STACKED else []
    if training.device.type != "cpu":
        return stacked
    compiled = ["dense"] if total > _WORTH_COMPILING else []
    return [*compiled, "replay", *stacked]


def _alone(
    engine: Engine,
    training: Training,
    samples: Sequence[Member],
    plain: Sequence[_Price],
    expected: Sequence[float],
    steps: int,
    trainings: int,
) -> float:
    """Return the seconds of a study whose members train one by one.

    Raises:
        Unsuitable: The engine cannot train a sample, gives other losses, or is slower there.
    """
    prices = []
    for sample, its, loss in zip(samples, plain, expected, strict=True):
        price, losses = _twice(engine, training, [sample])
        _require_same(losses[0], loss)
        if price.of(steps) > its.of(steps):
            raise Unsuitable(f"it is slower than plain at the widths {dict(sample.widths)}")
        prices.append(price)
    once = max(price.once for price in prices)
    return once + trainings * _mean([price.of(steps) for price in prices])


def _stacked(
    engine: Engine, training: Training, crowd: Sequence[Member], steps: int, total: float
) -> float:
    """Return the seconds of a study whose members train in stacks, by a crowd of them.

    Raises:
        Unsuitable: The engine cannot train the crowd, or gives other losses.
    """
    few = crowd[:: max(1, len(crowd) // _ASKED)]
    plain = [_priced(PlainEngine(), training, [member]) for member in few]
    price, losses = _twice(engine, training, crowd)
    _require_same(losses[0], plain[0][1][0])
    mine = price.of(steps) / len(crowd)
    return price.once + total * mine / _mean([one.of(steps) for one, _ in plain])


def _twice(
    engine: Engine, training: Training, members: Sequence[Member]
) -> tuple[_Price, list[float]]:
    """Return what a team costs, and apart from it what only the first one of its kind costs."""
    first, losses = _priced(engine, training, members)
    again, _ = _priced(engine, training, members)
    price = _Price(
        once=max(0.0, first.start - again.start),
        start=min(first.start, again.start),
        step=min(first.step, again.step),
    )
    return price, losses


def _require_same(loss: float, expected: float) -> None:
    if not math.isclose(loss, expected, rel_tol=_SAME_LOSS):
        raise Unsuitable(f"its first losses are {loss} instead of {expected}")


def _priced(
    engine: Engine, training: Training, members: Sequence[Member]
) -> tuple[_Price, list[float]]:
    """Return what a team costs, and each member's mean loss over the first steps.

    Raises:
        Exception: A member failed.
    """
    started = time.perf_counter()
    team = engine.start(training, members)
    batches = _batches(training, members[0].seed)
    losses = _advanced(team.advance(dict.fromkeys(range(len(members)), batches[:_WARM])))
    start = time.perf_counter() - started
    timed = batches[_WARM:]
    spent = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        _advanced(team.advance(dict.fromkeys(range(len(members)), timed)))
        spent.append(time.perf_counter() - started)
        if spent[0] > _SLOW_STEP * len(timed):
            break
    return _Price(once=0.0, start=start, step=min(spent) / len(timed)), losses


def _batches(training: Training, seed: int) -> list[Tensor]:
    """Return full batches for warming up and for the clock; a small epoch's come round again."""
    order = Order(len(training.data.train), training.settings.batch_size, seed)
    found: list[Tensor] = []
    while len(found) < _WARM + _TIMED:
        epoch = order.until(1.0)
        found += [batch for batch in epoch if len(batch) == len(epoch[0])]
    return found[: _WARM + _TIMED]


def _advanced(found: Mapping[int, float | Exception]) -> list[float]:
    """Return the losses in the members' order, or raise what one of them raised."""
    losses = []
    for place in sorted(found):
        loss = found[place]
        if isinstance(loss, Exception):
            raise loss
        losses.append(loss)
    return losses


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
