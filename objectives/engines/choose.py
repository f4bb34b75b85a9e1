"""Which engine: a short calibration on real steps, never slower than the plain loop.

A few candidates of the space, the smallest and the largest among them, take a few steps with every
engine that supports them. From the time of a start and of a step follows what the whole study
costs; an engine that is slower than plain at any of these candidates, or whose losses differ, is
ruled out. Where all of the study would take the plain engine only seconds, nothing is measured.

Entry points: `choose_engine`, `EngineChoice`; `worth_trying`, the engines that are measured.
"""

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from ..data.batches import BatchSampler
from ..errors import ModelError
from ..interrupt import raise_if_interrupt
from .base import Engine, EngineUnsupported, Member, Session, TrainingSetup
from .plain import PlainEngine
from .registry import ENGINES, PLAIN_ENGINE, EngineDescriptor

_log = logging.getLogger(__name__)

_WARMUP_STEPS = 4
"""Steps before the clock starts: an engine may watch the first few, or compile."""

_TIMED_STEPS, _TIMING_ROUNDS = 8, 3
_MIN_STACKED_MEMBERS, _MAX_PLAIN_SAMPLES = 4, 8

_LOSS_TOLERANCE = 1e-3
"""Relative difference of the first losses, in float32, beyond which an engine is not trusted."""


@dataclass(frozen=True, kw_only=True)
class CalibrationLimits:
    """When a calibration is worth its time; all in seconds.

    Attributes:
        min_study: A study that the plain engine trains in less is not calibrated.
        slow_step: A step that takes longer is all arithmetic: what other engines save does not
            matter there.
        min_compile: A study that the plain engine trains in less is not worth compiling, which
            takes up to a third of that, once.
    """

    min_study: float = 10.0
    slow_step: float = 0.1
    min_compile: float = 45.0


_LIMITS = CalibrationLimits()


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """An engine and why.

    Attributes:
        engine: The one to use.
        reason: What was measured, for people; empty where nothing was.
    """

    engine: Engine
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Seconds that members take: once for all, for a start with its first steps, and for a step."""

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
    engines: Mapping[str, EngineDescriptor] = ENGINES,
    limits: CalibrationLimits = _LIMITS,
) -> EngineChoice:
    """Return the engine that trains a study fastest.

    Args:
        training: What the members have in common.
        samples: Candidates of the space, the smallest and the largest among them.
        training_count: Members that are still to be trained.
        stack_samples: Different members, as they would be trained at once; a stack is tried on
            them.
        requested: The name of an engine, or "auto".
        engines: Those there are, by name.
        limits: When a calibration is worth its time.

    Raises:
        ModelError: The engine requested cannot train these models.
    """
    if requested != "auto":
        return _requested_engine(engines[requested], training, samples)
    plain = EngineChoice(engine=PlainEngine())
    calibration = _Calibration(training, samples, training_count, limits)
    plain_seconds = calibration.time_plain(plain.engine)
    if not limits.min_study <= plain_seconds < math.inf:
        return plain
    best, best_seconds = plain, plain_seconds
    for descriptor in worth_trying(
        engines.values(), training.device, len(stack_samples), plain_seconds, limits
    ):
        engine = descriptor.create()
        try:
            if descriptor.takes_stack:
                seconds = calibration.time_stacked(engine, stack_samples)
            else:
                seconds = calibration.time_sequential(engine)
        except BaseException as error:  # whatever the reason, the plain engine serves
            raise_if_interrupt(error)
            _log.debug("engine '%s' is ruled out: %s", descriptor.name, error)
            continue
        if seconds < best_seconds:
            best_seconds = seconds
            speedup = f"{plain_seconds / seconds:.1f} × the plain one's speed"
            best = EngineChoice(engine=engine, reason=f"engine '{descriptor.name}': {speedup}")
    return best


def worth_trying(
    engines: Iterable[EngineDescriptor],
    device: torch.device,
    stack_size: int,
    plain_seconds: float,
    limits: CalibrationLimits = _LIMITS,
) -> list[EngineDescriptor]:
    """Return the engines that are worth measuring beside the plain one.

    Args:
        engines: Those there are.
        device: Where the study is trained.
        stack_size: Members that would be trained at once.
        plain_seconds: What the study takes the plain engine.
        limits: When a calibration is worth its time.
    """
    return [
        engine
        for engine in engines
        if engine.name != PLAIN_ENGINE.name
        and (device.type == "cpu" or not engine.cpu_only)
        and (stack_size >= _MIN_STACKED_MEMBERS or not engine.takes_stack)
        and (plain_seconds > limits.min_compile or not engine.needs_compiling)
    ]


def _requested_engine(
    descriptor: EngineDescriptor, training: TrainingSetup, samples: Sequence[Member]
) -> EngineChoice:
    engine = descriptor.create()
    try:
        engine.start(training, samples)
    except EngineUnsupported as error:
        raise ModelError(
            f"engine '{descriptor.name}' cannot train this model: {error}; set engine = \"auto\"."
        ) from error
    return EngineChoice(engine=engine)


class _Calibration:
    """What a study costs with each engine, measured on a few of its candidates."""

    def __init__(
        self,
        training: TrainingSetup,
        samples: Sequence[Member],
        training_count: int,
        limits: CalibrationLimits,
    ) -> None:
        self._training, self._samples, self._limits = training, samples, limits
        self._training_count = training_count
        self._steps = training.total_steps
        self._plain_timings: list[_Timing] = []
        self._plain_losses: list[float] = []

    def time_plain(self, plain: Engine) -> float:
        """Return the seconds of the study with the plain engine; infinite where steps are slow."""
        for sample in self._samples:
            timing, losses = self._time(plain, [sample])
            if timing.step > self._limits.slow_step:
                return math.inf
            self._plain_timings.append(timing)
            self._plain_losses.append(losses[0])
        return self._study_seconds(self._plain_timings)

    def time_sequential(self, engine: Engine) -> float:
        """Return the seconds of the study with an engine that trains members one by one.

        Raises:
            EngineUnsupported: It cannot train a sample, gives other losses, or is slower there.
        """
        timings = []
        for sample, plain_timing, plain_loss in zip(
            self._samples, self._plain_timings, self._plain_losses, strict=True
        ):
            timing, losses = self._time_setup_and_steps(engine, [sample])
            _require_same_loss(losses[0], plain_loss)
            if timing.training_seconds(self._steps) > plain_timing.training_seconds(self._steps):
                raise EngineUnsupported(
                    f"it is slower than plain at the widths {dict(sample.widths)}"
                )
            timings.append(timing)
        return max(timing.setup for timing in timings) + self._study_seconds(timings)

    def time_stacked(self, engine: Engine, stack: Sequence[Member]) -> float:
        """Return the seconds of the study with an engine that trains such a stack at once.

        Raises:
            EngineUnsupported: It cannot train the stack, or gives other losses.
        """
        plain_samples = stack[:: max(1, len(stack) // _MAX_PLAIN_SAMPLES)]
        plain_results = [self._time(PlainEngine(), [member]) for member in plain_samples]
        timing, losses = self._time_setup_and_steps(engine, stack)
        _require_same_loss(losses[0], plain_results[0][1][0])
        member_seconds = timing.training_seconds(self._steps) / len(stack)
        plain_member_seconds = fmean(
            plain_timing.training_seconds(self._steps) for plain_timing, _ in plain_results
        )
        study_seconds = self._study_seconds(self._plain_timings)
        return timing.setup + study_seconds * member_seconds / plain_member_seconds

    def _study_seconds(self, timings: Sequence[_Timing]) -> float:
        return self._training_count * fmean(
            timing.training_seconds(self._steps) for timing in timings
        )

    def _time_setup_and_steps(
        self, engine: Engine, members: Sequence[Member]
    ) -> tuple[_Timing, list[float]]:
        """Return what members cost, and apart from it what only the first start costs."""
        cold, losses = self._time(engine, members)
        warm, _ = self._time(engine, members)
        timing = _Timing(
            setup=max(0.0, cold.startup - warm.startup),
            startup=min(cold.startup, warm.startup),
            step=min(cold.step, warm.step),
        )
        return timing, losses

    def _time(self, engine: Engine, members: Sequence[Member]) -> tuple[_Timing, list[float]]:
        """Return what members cost, and each one's mean loss over the first steps.

        Raises:
            Exception: A member failed.
        """
        started = time.perf_counter()
        session = engine.start(self._training, members)
        batches = _calibration_batches(self._training, members[0].seed)
        losses = _advance_all(session, members, batches[:_WARMUP_STEPS])
        startup = time.perf_counter() - started
        timed_batches = batches[_WARMUP_STEPS:]
        elapsed: list[float] = []
        for _ in range(_TIMING_ROUNDS):
            started = time.perf_counter()
            _advance_all(session, members, timed_batches)
            elapsed.append(time.perf_counter() - started)
            if elapsed[0] > self._limits.slow_step * len(timed_batches):
                break
        return _Timing(setup=0.0, startup=startup, step=min(elapsed) / len(timed_batches)), losses


def _require_same_loss(loss: float, expected: float) -> None:
    if not math.isclose(loss, expected, rel_tol=_LOSS_TOLERANCE):
        raise EngineUnsupported(f"its first losses are {loss} instead of {expected}")


def _calibration_batches(training: TrainingSetup, seed: int) -> list[Tensor]:
    """Return full batches for warming up and for the clock; a small epoch's come round again."""
    order = BatchSampler(len(training.arrays.train), training.settings.batch_size, seed)
    full_batches: list[Tensor] = []
    while len(full_batches) < _WARMUP_STEPS + _TIMED_STEPS:
        epoch = order.batches_until(1.0)
        full_batches += [batch for batch in epoch if len(batch) == len(epoch[0])]
    return full_batches[: _WARMUP_STEPS + _TIMED_STEPS]


def _advance_all(
    session: Session, members: Sequence[Member], batches: Sequence[Tensor]
) -> list[float]:
    """Train all members on the same batches; return their losses, or raise what one raised."""
    losses = session.advance(dict.fromkeys(range(len(members)), batches))
    for error in session.failures.values():
        raise error
    return [losses[index] for index in range(len(members))]
