"""The check of coordinates: does anything in a model grow with its width while it trains?

Where a parametrisation is true to the widths, the activations of a wide network move as far in a
few steps as those of a narrow one (Tensor Programs V, Yang et al. 2022, arXiv:2203.03466). So
models of growing width take a few steps on the same batch, and for every layer the change of its
output is fitted against the width on logarithmic axes: slope 0 is right. A hidden layer under one
fixed rate of Adam has 1/2 where the updates of its weights add up at random, and 1 where they pull
the same way. It looks at the model as it runs, and so finds what reading its parameters cannot.

Entry point: `coordinate_check`; `growth` has its report.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..model.objective import Objective
from ..randomness import Randomness
from ..training.optimizer import make_optimizer
from ..training.settings import ProxySettings
from ..training.step import tensors_in, training_step
from .attention import Scores
from .coordinate_report import OUTPUT, CoordinateReport, LayerGrowth
from .standard import Parametrisation

STEPS = 4
"""Updates; what an update does to a wide model shows at once."""

_TINY = 1e-30
"""Stands for a size of zero, which has no logarithm."""

Sizes = Mapping[str, Sequence[float]]
"""Layer to its mean |activation| before the first step, then its mean |change| after each."""


def coordinate_check(
    objective: Objective,
    parametrisation: Parametrisation,
    widths: Sequence[Mapping[str, int]],
    settings: ProxySettings,
    *,
    seeds: Sequence[int] = (0, 1, 2),
) -> CoordinateReport:
    """Train models of several widths for a few steps on one batch, and see what grows.

    Args:
        objective: Model, data and loss.
        parametrisation: What is checked.
        widths: Two or more candidates, narrowest first, all widths growing together; a span of 16
            tells more than one of 4.
        settings: Learning rate, decay and batch size of the study. It runs on the CPU.
        seeds: Of the initial weights; sizes are averaged over them.

    Raises:
        ModelError: The builder raised, there are too few widths, or a layer runs at some only.
    """
    scales = [_scale(each) for each in widths]
    if len(set(scales)) < 2:
        raise ModelError(
            f"the check of coordinates needs two widths or more, {len(set(scales))} given: widen "
            "the space."
        )
    found = [
        _mean([_sizes(objective, parametrisation, each, settings, seed) for seed in seeds])
        for each in widths
    ]
    rows = tuple(_growth(layer, scales, found) for layer in found[0])
    return CoordinateReport(kind=parametrisation.kind, widths=tuple(widths), rows=rows)


def _scale(widths: Mapping[str, int]) -> float:
    """Return the logarithm of a candidate's typical width."""
    return sum(map(log, widths.values())) / len(widths)


def _sizes(
    objective: Objective,
    parametrisation: Parametrisation,
    widths: Mapping[str, int],
    settings: ProxySettings,
    seed: int,
) -> Sizes:
    """Take the steps with one model."""
    cpu = torch.device("cpu")
    with Randomness(seed, cpu):
        model = objective.build(widths)
        parametrisation.initialise(model, widths)
    optimizer = make_optimizer(
        model, settings.learning_rate, settings.weight_decay, parametrisation.rates(widths)
    )
    batch = slice(0, settings.batch_size)
    train = objective.data.train
    steps: list[dict[str, Tensor]] = []
    model.train()
    for _ in range(STEPS + 1):
        # The same stream at every step: dropout's masks must not pass for a change.
        with Randomness(seed, cpu), _watched(model) as seen:
            inputs = (train.inputs[batch],)
            training_step(model, optimizer, objective.loss, inputs, train.targets[batch])
        steps.append(dict(seen))
    first, *others = steps
    return {
        layer: (_size(start), *(_size(step[layer] - start) for step in others))
        for layer, start in first.items()
    }


@contextmanager
def _watched(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of all layers that hold parameters, and of the model, in their order.

    What goes into a softmax is collected too: attention bounds its output, however large its
    scores. The last call counts where a layer is called more than once.
    """
    seen: dict[str, Tensor] = {}
    calls = count(1)

    def note_scores(scores: Tensor) -> None:
        seen[f"softmax {next(calls)}"] = scores.flatten()

    def note(layer: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            parts = [
                one.detach().flatten() for one in tensors_in(output) if one.is_floating_point()
            ]
            if parts:
                seen[layer] = torch.cat(parts)

        return hook

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if name and next(module.parameters(recurse=False), None) is not None
    ]
    hooks.append(model.register_forward_hook(note(OUTPUT)))
    try:
        with Scores(note_scores):
            yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _size(values: Tensor) -> float:
    return float(values.abs().mean())


def _mean(runs: Sequence[Sizes]) -> Sizes:
    return {
        layer: [sum(parts) / len(runs) for parts in zip(*(run[layer] for run in runs), strict=True)]
        for layer in runs[0]
    }


def _growth(layer: str, scales: Sequence[float], found: Sequence[Sizes]) -> LayerGrowth:
    if not all(layer in sizes for sizes in found):
        raise ModelError(f"the layer '{layer}' runs at some widths only: the check cannot compare.")
    start, *change = zip(*(sizes[layer] for sizes in found), strict=True)
    return LayerGrowth(
        layer=layer,
        start=_slope(scales, start),
        change=tuple(_slope(scales, sizes) for sizes in change),
        sizes=tuple(change[-1]),
    )


def _slope(scales: Sequence[float], sizes: Sequence[float]) -> float:
    """Return the slope of the least-squares line through the logarithms."""
    heights = [log(max(size, _TINY)) for size in sizes]
    centre, level = sum(scales) / len(scales), sum(heights) / len(heights)
    products = sum((x - centre) * (y - level) for x, y in zip(scales, heights, strict=True))
    return products / sum((x - centre) ** 2 for x in scales)
