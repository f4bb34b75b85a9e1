"""Calling a training of the user's own, and what comes of it.

Whatever the function does is an outcome of its trial: it returns a number, a mapping with the
metric, or nothing after its reports; it is a generator of numbers or mappings; it raises, calls
`exit`, runs out of memory, or is stopped by what its reports are answered with.

Entry point: `train_own`.
"""

from __future__ import annotations

import inspect
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import StopTraining, TrainingError, describe_error, describe_value
from ..interrupt import raise_if_interrupt
from ..loop.candidate import Candidate
from ..loop.loop import MilestoneCallback
from ..loop.result import TrainingOutcome, TrainingResult
from ..randomness import Randomness
from ..training.settings import ProxySettings
from ..user_code import is_out_of_memory, user_code_location
from .journal import Journal
from .memory import release_memory
from .numbers import read_metrics, read_number
from .own_training import OwnTraining
from .process_state import restored_process_state
from .progress import FiguresCallback, ReportedProgress
from .trial import Trial

OWN_ENGINE = "own"
"""What stands as the engine of a training of the user's own."""

MAX_CURVE = 1000
"""Points of a curve that are recorded; of more, so many are taken at equal distances."""

_SEED_COUNT = 2**32
"""Seeds that every library takes: numpy, scikit-learn and Lightning refuse larger ones."""

_FILES, _JOURNAL = "files", "reports.jsonl"


def train_own(
    own: OwnTraining,
    candidate: Candidate,
    settings: ProxySettings,
    *,
    epochs: int | None,
    device: torch.device,
    number: int,
    costs: Mapping[str, int],
    folder: Path,
    identity: Mapping[str, Any],
    other_rung_scores: Mapping[float, Sequence[float]] | None = None,
    callback: MilestoneCallback | None = None,
    report: FiguresCallback | None = None,
) -> TrainingResult | BaseException | None:
    """Train a candidate by the user's function.

    Args:
        own: The function and its metric.
        candidate: What to train.
        settings: Of these only halving and its rungs.
        epochs: What the spec says; None where it says nothing.
        device: What to train on.
        number: Of the trial.
        costs: Of the candidate.
        folder: Of the trial: what is left in it by an earlier try is gone on with.
        identity: What a folder has to be of for that, as JSON has it.
        other_rung_scores: Rung to the values that other trials had there.
        callback: Asked at each report; what it raises ends the training and propagates untouched.
        report: Is told each value with its name, and decides nothing.

    Returns:
        The result; what the user's code raised; or None where `callback` gave the trial up.
    """
    files = folder / _FILES
    journal = Journal(folder / _JOURNAL, json.loads(json.dumps(identity)))
    if not journal.is_resumed:
        shutil.rmtree(files, ignore_errors=True)
    files.mkdir(parents=True, exist_ok=True)
    progress = ReportedProgress(
        journal,
        metric=own.metric,
        rungs=settings.rungs,
        halving=settings.halving,
        other_rung_scores=other_rung_scores or {},
        never_pruned=candidate.never_pruned,
        callback=callback,
        tell=report,
    )
    trial = Trial(
        seed=candidate.seed % _SEED_COUNT,
        device=device,
        epochs=epochs,
        number=number,
        costs=costs,
        folder=files,
        progress=progress,
    )
    value: float | None = None
    if progress.journal.pruned_at is None:
        error: BaseException | None = None
        try:
            with Randomness(trial.seed, device), restored_process_state():
                value = _call(own, dict(candidate.widths), trial, progress)
        except BaseException as raised:
            raise_if_interrupt(raised)
            error = raised
        release_memory(device, (error, progress.failure, progress.interruption))
        if progress.interruption is not None:
            raise progress.interruption
        if progress.lost:
            return None
        if error is not None and not progress.stopped:
            return _described(error, own)
        if progress.failure is not None and not progress.stopped:
            return progress.failure
    return _result(value, progress, own, settings, device)


def _call(
    own: OwnTraining, widths: dict[str, int], trial: Trial, progress: ReportedProgress
) -> float | None:
    """Return the value that the function gives; None where its last report counts."""
    returned = own.function(widths, trial)
    if inspect.iscoroutine(returned):
        returned.close()
        raise TrainingError(
            "train(widths, trial) is an async function: let it run its own loop, as with "
            "asyncio.run, and return a number."
        )
    if inspect.isgenerator(returned):
        returned = _exhaust(returned, own, progress)
    if progress.stopped:
        return None
    if returned is None:
        if not progress.journal.curve:
            raise TrainingError(
                "train(widths, trial) returned None and reported nothing: let it return the "
                f"{own.metric.name}, a number, or call trial.report(step, value)."
            )
        return None
    if isinstance(returned, Mapping):
        value, others = read_metrics(returned, own.metric.name, "train(widths, trial) returned")
        progress.log(others)
        return value
    return read_number(returned, "what train(widths, trial) returned")


def _exhaust(generator: Any, own: OwnTraining, progress: ReportedProgress) -> Any:
    """Report what a generator yields, a number or a mapping a step; return what it returns."""
    try:
        while True:
            try:
                item = next(generator)
            except StopIteration as end:
                return end.value
            others: dict[str, Any] = {}
            if isinstance(item, Mapping):
                value, others = read_metrics(item, own.metric.name, "train(widths, trial) yielded")
                step = others.pop("step", progress.next_step)
            elif item is None or isinstance(item, str | bytes):
                raise TrainingError(
                    f"train(widths, trial) yielded {describe_value(item)}: expected the "
                    f"{own.metric.name}, one number, or a mapping with it."
                )
            else:
                step, value = progress.next_step, item
            progress.report(step, value, others)
    except BaseException:
        try:
            generator.close()
        except BaseException as error:  # what ended it before says more
            raise_if_interrupt(error)
        raise


def _described(error: BaseException, own: OwnTraining) -> BaseException:
    """Return what the user's code raised as a sentence; memory and devices speak for themselves."""
    if is_out_of_memory(error) or isinstance(error, torch.AcceleratorError):
        return error
    if isinstance(error, TrainingError):
        return error
    if isinstance(error, StopTraining):
        error_text = "StopTraining by itself, which is trial.report's to raise"
    elif isinstance(error, SystemExit):
        error_text = f"{describe_error(error)}: let it return or raise an exception instead"
    else:
        error_text = f"{describe_error(error)}{user_code_location(error)}"
    described = TrainingError(f"{own.name} raised {error_text}.")
    described.__cause__ = error  # with its traceback
    return described


def _result(
    value: float | None,
    progress: ReportedProgress,
    own: OwnTraining,
    settings: ProxySettings,
    device: torch.device,
) -> TrainingResult:
    journal = progress.journal
    curve, pruned_at, detail = journal.curve, journal.pruned_at, None
    if value is None and curve:
        value = curve[-1][1]
    not_finite = progress.not_finite
    if not_finite is None and pruned_at is None and value is not None and not math.isfinite(value):
        not_finite = f"the {own.metric.name} returned is {value}"
    outcome = TrainingOutcome.COMPLETE
    if not_finite is not None:
        outcome, detail, value = TrainingOutcome.NAN, not_finite, None
    elif pruned_at is not None:
        outcome = TrainingOutcome.PRUNED
        step = next((step for step, _ in curve if step >= pruned_at), pruned_at)
        value = _known(_score_at(pruned_at, curve, value))
        detail = _pruned_detail(value, step, own, settings)
    is_complete = outcome is TrainingOutcome.COMPLETE
    # One that ended before a rung has its value there, too.
    rung_scores = [
        (rung, _known(_score_at(rung, curve, value)))
        for rung in settings.rungs
        if value is not None and rung <= (math.inf if pruned_at is None else pruned_at)
    ]
    thinned = _thinned(curve)
    return TrainingResult(
        outcome=outcome,
        value=value if is_complete else None,
        score=value,
        fidelity=float(settings.epochs) if pruned_at is None else pruned_at,
        rung_scores=tuple(rung_scores),
        test_value=None,
        best_epoch=None,
        epochs=math.ceil(curve[-1][0]) if curve else 0,
        curve=tuple(score for _, score in thinned),
        steps=tuple(step for step, _ in thinned),
        losses=(),
        validation_losses=(),
        spread=None,
        scores=(_known(value),) if is_complete else (),
        learning_rate=None,
        engine=OWN_ENGINE,
        seconds=progress.seconds,
        device=str(device),
        parameters=0,
        peak_memory=None,
        detail=detail,
        reported=dict(journal.logged),
    )


def _score_at(
    rung: float, curve: Sequence[tuple[float, float]], last: float | None
) -> float | None:
    """Return the value at the first report at a rung or beyond it; else the last one."""
    return next((score for step, score in curve if step >= rung), last)


def _known(value: float | None) -> float:
    assert value is not None, "a training without a value was refused"
    return value


def _pruned_detail(score: float, step: float, own: OwnTraining, settings: ProxySettings) -> str:
    assert settings.halving is not None, "only halving prunes"
    return (
        f"its {own.metric.name} of {score:.4g} at step {step:g} of {settings.epochs} is not among "
        f"the best 1/{settings.halving.eta}"
    )


def _thinned(curve: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return at most `MAX_CURVE` points of a curve, its last one among them."""
    every = math.ceil(len(curve) / MAX_CURVE)
    return curve if every <= 1 else curve[::-1][::every][::-1]
