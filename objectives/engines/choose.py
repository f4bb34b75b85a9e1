"""Which engine: a short calibration on real steps, never slower than the plain loop.

A few candidates of the space, the smallest and the largest among them, take a few steps with every
engine that will have them. From the time of a start and of a step follows what the whole study
costs; an engine that is slower than plain at any of these candidates, or whose losses differ, is
out. Where all of the study would take the plain engine only seconds, nothing is measured.

Entry points: `choose_engine`, `EngineChoice`, `named`.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..data.batches import BatchSampler
from ..errors import ModelError
from .base import Engine, EngineUnsupported, Member, TrainingSetup
from .plain import PlainEngine
from .replay.engine import ReplayEngine
from .stacked.engine import StackedEngine

_log = logging.getLogger(__name__)


def _dense_engine() -> Engine:
    from .dense.engine import DenseEngine  # loads numba

    return DenseEngine()


ENGINES: Mapping[str, Callable[[], Engine]] = {
    "plain": PlainEngine,
    "replay": ReplayEngine,
    "stacked": StackedEngine,
    "dense": _dense_engine,
}

MIN_STUDY_SECONDS = 10.0
"""A study that the plain engine trains in less is not worth a calibration."""

_SLOW_STEP_SECONDS = 0.1
"""Seconds of a step that is all arithmetic: what other engines save does not matter there."""

_WARMUP_STEPS = 4
"""Steps before the clock starts: an engine may watch the first few, or compile."""

_TIMED_STEPS, _TIMING_ROUNDS = 8, 3
_MIN_STACKED_MEMBERS, _MAX_PLAIN_SAMPLES = 4, 8
_MIN_COMPILE_SECONDS = 45.0
"""Seconds of a study from which an engine may compile, which takes up to a third of that once."""

_LOSS_TOLERANCE = 1e-3
"""Relative difference of the first losses, in float32, beyond which an engine is not trusted."""


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """An engine and why.

    Attributes:
        engine: The one to use.
        reason: What was found, for people; empty where nothing was measured.
    """

    engine: Engine
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Seconds: once for all, for a start with its first steps, and for each further step."""

    setup: float
    startup: float
    step: float

    def training_seconds(self, steps: int) -> float:
        """Return what one training of so many steps takes."""
        return self.startup + self.step * max(0, steps - _WARMUP_STEPS)


def choose_engine(
    training: TrainingSetup,
    samples: Sequence[Member],
    *,
    training_count: int,
    stack_samples: Sequence[Member] = (),
    requested: str = "auto",
) -> EngineChoice:
    """Return the engine that trains a study fastest.

    Args:
        training: What the members have in common.
        samples: Candidates of the space, the smallest and the largest among them.
        training_count: Members that are still to be trained.
        stack_samples: Different members, as they would be trained at once; a stack is tried on them.
        requested: A name in `ENGINES`, or "auto".

    Raises:
        ModelError: The engine asked for cannot train these models.
    """
    if requested != "auto":
        return _requested_engine(requested, training, samples)
    steps = BatchSampler(len(training.data.train), training.settings.batch_size, 0).steps_per_epoch
    steps *= training.settings.epochs
    plain_engine = PlainEngine()
    plain_timings: list[_Timing] = []
    expected_losses: list[float] = []
    for sample in samples:
        timing, losses = _time_engine(plain_engine, training, [sample])
        plain_timings.append(timing)
        expected_losses.append(losses[0])
        if timing.step > _SLOW_STEP_SECONDS:
            return EngineChoice(engine=plain_engine)
    plain_seconds = training_count * _mean(
        [timing.training_seconds(steps) for timing in plain_timings]
    )
    if not math.isfinite(plain_seconds) or plain_seconds < MIN_STUDY_SECONDS:
        return EngineChoice(engine=plain_engine)
    best, best_seconds = EngineChoice(engine=plain_engine), plain_seconds
    for name in _candidate_engines(training, len(stack_samples), plain_seconds):
        engine = ENGINES[name]()
        try:
            if name == "stacked":
                engine_seconds = _stacked_seconds(
                    engine, training, stack_samples, steps, plain_seconds
                )
            else:
                engine_seconds = _sequential_seconds(
                    engine, training, samples, plain_timings, expected_losses, steps, training_count
                )
        except Exception as error:  # it cannot serve: whatever the reason, the plain engine does
            _log.debug("engine '%s' is out: %s", name, error)
            continue
        if engine_seconds < best_seconds:
            best_seconds = engine_seconds
            best = EngineChoice(
                engine=engine,
                reason=f"engine '{name}': {plain_seconds / engine_seconds:.1f} × the plain one's speed",
            )
    return best


def _requested_engine(
    requested: str, training: TrainingSetup, samples: Sequence[Member]
) -> EngineChoice:
    engine = ENGINES[requested]()
    try:
        engine.start(training, samples)
    except EngineUnsupported as error:
        raise ModelError(
            f"engine '{requested}' cannot train this model: {error}; set engine = \"auto\"."
        ) from error
    return EngineChoice(engine=engine)


def _candidate_engines(training: TrainingSetup, stack_size: int, plain_seconds: float) -> list[str]:
    """Return the engines worth a try on this device."""
    stacked = ["stacked"] if stack_size >= _MIN_STACKED_MEMBERS else []
    if training.device.type != "cpu":
        return stacked
    compiled = ["dense"] if plain_seconds > _MIN_COMPILE_SECONDS else []
    return [*compiled, "replay", *stacked]


def _sequential_seconds(
    engine: Engine,
    training: TrainingSetup,
    samples: Sequence[Member],
    plain_timings: Sequence[_Timing],
    expected_losses: Sequence[float],
    steps: int,
    training_count: int,
) -> float:
    """Return the seconds of a study whose members train one by one.

    Raises:
        EngineUnsupported: The engine cannot train a sample, gives other losses, or is slower there.
    """
    timings = []
    for sample, plain_timing, loss in zip(samples, plain_timings, expected_losses, strict=True):
        timing, losses = _time_setup_and_steps(engine, training, [sample])
        _require_same_loss(losses[0], loss)
        if timing.training_seconds(steps) > plain_timing.training_seconds(steps):
            raise EngineUnsupported(f"it is slower than plain at the widths {dict(sample.widths)}")
        timings.append(timing)
    setup = max(timing.setup for timing in timings)
    return setup + training_count * _mean([timing.training_seconds(steps) for timing in timings])


def _stacked_seconds(
    engine: Engine,
    training: TrainingSetup,
    stack_samples: Sequence[Member],
    steps: int,
    plain_seconds: float,
) -> float:
    """Return the seconds of a study whose members train in stacks, by a crowd of them.

    Raises:
        EngineUnsupported: The engine cannot train the crowd, or gives other losses.
    """
    plain_samples = stack_samples[:: max(1, len(stack_samples) // _MAX_PLAIN_SAMPLES)]
    plain_results = [_time_engine(PlainEngine(), training, [member]) for member in plain_samples]
    timing, losses = _time_setup_and_steps(engine, training, stack_samples)
    _require_same_loss(losses[0], plain_results[0][1][0])
    member_seconds = timing.training_seconds(steps) / len(stack_samples)
    return timing.setup + plain_seconds * member_seconds / _mean(
        [plain_timing.training_seconds(steps) for plain_timing, _ in plain_results]
    )


def _time_setup_and_steps(
    engine: Engine, training: TrainingSetup, members: Sequence[Member]
) -> tuple[_Timing, list[float]]:
    """Return what a team costs, and apart from it what only the first one of its kind costs."""
    cold, losses = _time_engine(engine, training, members)
    warm, _ = _time_engine(engine, training, members)
    timing = _Timing(
        setup=max(0.0, cold.startup - warm.startup),
        startup=min(cold.startup, warm.startup),
        step=min(cold.step, warm.step),
    )
    return timing, losses


def _require_same_loss(loss: float, expected: float) -> None:
    if not math.isclose(loss, expected, rel_tol=_LOSS_TOLERANCE):
        raise EngineUnsupported(f"its first losses are {loss} instead of {expected}")


def _time_engine(
    engine: Engine, training: TrainingSetup, members: Sequence[Member]
) -> tuple[_Timing, list[float]]:
    """Return what a team costs, and each member's mean loss over the first steps.

    Raises:
        Exception: A member failed.
    """
    started = time.perf_counter()
    session = engine.start(training, members)
    batches = _calibration_batches(training, members[0].seed)
    losses = _losses_or_raise(
        session.advance(dict.fromkeys(range(len(members)), batches[:_WARMUP_STEPS]))
    )
    startup = time.perf_counter() - started
    timed_batches = batches[_WARMUP_STEPS:]
    elapsed = []
    for _ in range(_TIMING_ROUNDS):
        started = time.perf_counter()
        _losses_or_raise(session.advance(dict.fromkeys(range(len(members)), timed_batches)))
        elapsed.append(time.perf_counter() - started)
        if elapsed[0] > _SLOW_STEP_SECONDS * len(timed_batches):
            break
    return _Timing(setup=0.0, startup=startup, step=min(elapsed) / len(timed_batches)), losses


def _calibration_batches(training: TrainingSetup, seed: int) -> list[Tensor]:
    """Return full batches for warming up and for the clock; a small epoch's come round again."""
    order = BatchSampler(len(training.data.train), training.settings.batch_size, seed)
    full_batches: list[Tensor] = []
    while len(full_batches) < _WARMUP_STEPS + _TIMED_STEPS:
        epoch = order.batches_until(1.0)
        full_batches += [batch for batch in epoch if len(batch) == len(epoch[0])]
    return full_batches[: _WARMUP_STEPS + _TIMED_STEPS]


def _losses_or_raise(results: Mapping[int, float | Exception]) -> list[float]:
    """Return the losses in the members' order, or raise what one of them raised."""
    losses = []
    for index in sorted(results):
        loss = results[index]
        if isinstance(loss, Exception):
            raise loss
        losses.append(loss)
    return losses


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
