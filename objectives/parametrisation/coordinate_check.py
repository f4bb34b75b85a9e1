"""The coordinate check: does anything in a model grow with its width while it trains?

Where a parametrisation is right for all widths, the activations of a wide network move as far in a
few steps as those of a narrow one (Tensor Programs V, Yang et al. 2022, arXiv:2203.03466). So
models of growing width take a few steps on the same batch, and for every layer the change of its
output is fitted against the width on logarithmic axes: slope 0 is right. A hidden layer under one
fixed rate of Adam has 1/2 where the updates of its weights add up at random, and 1 where they pull
the same way. It looks at the model as it runs, and so finds what reading its parameters cannot.

Entry point: `coordinate_check`; `coordinate_report` has its report.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from ..data.streams.samples import first_rows
from ..errors import ModelError
from ..model.objective import Objective
from ..randomness import Randomness
from ..training.optimizer import make_adamw
from ..training.settings import ProxySettings
from ..training.step import tensors_in, training_step
from .attention import AttentionRecorder
from .coordinate_report import MODEL_OUTPUT, CoordinateReport, LayerGrowth
from .standard import Parametrisation

UPDATE_STEPS = 4
"""Updates; what an update does to a wide model shows at once."""

_MIN_SIZE = 1e-30
"""Stands for a size of zero, which has no logarithm."""

ActivationSizes = Mapping[str, Sequence[float]]
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
    log_widths = [_log_width(candidate) for candidate in widths]
    if len(set(log_widths)) < 2:
        raise ModelError(
            f"the check of coordinates needs two widths or more, {len(set(log_widths))} given: "
            "widen the space."
        )
    sizes_by_width = [
        _mean_sizes(
            [
                _activation_sizes(objective, parametrisation, candidate, settings, seed)
                for seed in seeds
            ]
        )
        for candidate in widths
    ]
    rows = tuple(_layer_growth(layer, log_widths, sizes_by_width) for layer in sizes_by_width[0])
    return CoordinateReport(kind=parametrisation.name, widths=tuple(widths), rows=rows)


def _log_width(widths: Mapping[str, int]) -> float:
    """Return the logarithm of a candidate's typical width, of layers that are there."""
    present = [width for width in widths.values() if width]
    return sum(map(log, present)) / len(present)


def _activation_sizes(
    objective: Objective,
    parametrisation: Parametrisation,
    widths: Mapping[str, int],
    settings: ProxySettings,
    seed: int,
) -> ActivationSizes:
    """Take the steps with one model."""
    cpu = torch.device("cpu")
    with Randomness(seed, cpu):
        model = objective.build(widths)
        parametrisation.initialise(model, widths)
    optimizer = make_adamw(
        model,
        settings.learning_rate,
        settings.weight_decay,
        parametrisation.learning_rate_factors(widths),
    )
    batch = first_rows(objective.data, settings.batch_size)
    recordings: list[dict[str, Tensor]] = []
    model.train()
    for _ in range(UPDATE_STEPS + 1):
        # The same stream at every step: dropout's masks must not pass for a change.
        with Randomness(seed, cpu), _recorded_activations(model) as activations:
            training_step(model, optimizer, objective.loss, batch)
        recordings.append(dict(activations))
    initial, *later = recordings
    return {
        layer: (_mean_abs(start), *(_mean_abs(step[layer] - start) for step in later))
        for layer, start in initial.items()
    }


@contextmanager
def _recorded_activations(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of all layers that hold parameters, and of the model, in their order.

    What goes into a softmax is collected too: attention bounds its output, however large its
    scores. The last call counts where a layer is called more than once.
    """
    activations: dict[str, Tensor] = {}
    softmax_numbers = count(1)

    def record_scores(scores: Tensor) -> None:
        activations[f"softmax {next(softmax_numbers)}"] = scores.flatten()

    def record_layer(layer: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            flattened = [
                tensor.detach().flatten()
                for tensor in tensors_in(output)
                if tensor.is_floating_point()
            ]
            if flattened:
                activations[layer] = torch.cat(flattened)

        return hook

    hooks = [
        module.register_forward_hook(record_layer(name))
        for name, module in model.named_modules()
        if name and next(module.parameters(recurse=False), None) is not None
    ]
    hooks.append(model.register_forward_hook(record_layer(MODEL_OUTPUT)))
    try:
        with AttentionRecorder(on_scores=record_scores):
            yield activations
    finally:
        for hook in hooks:
            hook.remove()


def _mean_abs(values: Tensor) -> float:
    return float(values.abs().mean())


def _mean_sizes(runs: Sequence[ActivationSizes]) -> ActivationSizes:
    return {
        layer: [sum(parts) / len(runs) for parts in zip(*(run[layer] for run in runs), strict=True)]
        for layer in runs[0]
    }


def _layer_growth(
    layer: str, log_widths: Sequence[float], sizes_by_width: Sequence[ActivationSizes]
) -> LayerGrowth:
    if not all(layer in sizes for sizes in sizes_by_width):
        raise ModelError(f"the layer '{layer}' runs at some widths only: the check cannot compare.")
    start, *change = zip(*(sizes[layer] for sizes in sizes_by_width), strict=True)
    return LayerGrowth(
        layer=layer,
        start=_slope(log_widths, start),
        change=tuple(_slope(log_widths, sizes) for sizes in change),
        sizes=tuple(change[-1]),
    )


def _slope(log_widths: Sequence[float], sizes: Sequence[float]) -> float:
    """Return the slope of the least-squares line through the logarithms."""
    log_sizes = [log(max(size, _MIN_SIZE)) for size in sizes]
    mean_log_width, mean_log_size = (
        sum(log_widths) / len(log_widths),
        sum(log_sizes) / len(log_sizes),
    )
    covariance = sum(
        (x - mean_log_width) * (y - mean_log_size)
        for x, y in zip(log_widths, log_sizes, strict=True)
    )
    return covariance / sum((x - mean_log_width) ** 2 for x in log_widths)
