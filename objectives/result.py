"""The result of a candidate, from its trainings and its story.

Entry point: `result_of`.
"""

from collections.abc import Sequence

import torch

from .merging import Merged
from .metrics import Metric
from .proxy import ProxySettings, TrainingResult
from .story import Story


def result_of(
    story: Story,
    found: Merged,
    settings: ProxySettings,
    *,
    metric: Metric,
    engines: Sequence[str],
    device: torch.device,
) -> TrainingResult | Exception | None:
    """Return what came of a candidate: None if it was given up, or what its code raised.

    Args:
        story: Its own.
        found: Its trainings, merged.
        settings: Of all.
        metric: What it was judged by.
        engines: What trained it.
        device: Where.
    """
    if story.given_up:
        return None
    if found.error is not None:
        return found.error
    pruned = story.pruned and found.outcome == "complete"
    complete = found.outcome == "complete" and not pruned
    rungs = dict(story.rungs)
    if complete and found.score is not None:
        # One that ran out of patience has its score at all rungs that follow.
        rungs = dict.fromkeys(settings.rungs, found.score) | rungs
    return TrainingResult(
        outcome="pruned" if pruned else found.outcome,
        value=found.score if complete else None,
        score=found.score,
        fidelity=max(story.rungs) if pruned else float(settings.epochs),
        rungs=tuple(rungs.items()),
        test_value=found.test_value if complete else None,
        best_epoch=found.best_epoch if complete else None,
        epochs=len(found.curve),
        curve=found.curve,
        losses=found.losses,
        spread=found.spread if complete else None,
        learning_rate=found.learning_rate,
        engine=", ".join(dict.fromkeys(engines)),
        seconds=story.seconds,
        device=str(device),
        parameters=found.parameters,
        peak_memory=found.peak_memory,
        detail=_fell_behind(story, settings, metric) if pruned else found.detail,
    )


def _fell_behind(story: Story, settings: ProxySettings, metric: Metric) -> str:
    assert settings.halving is not None, "only halving prunes"
    epochs = max(story.rungs)
    return (
        f"its {metric.name} of {story.rungs[epochs]:.4g} after {epochs:g} of {settings.epochs} "
        f"epochs is not among the best 1/{settings.halving.eta}"
    )
