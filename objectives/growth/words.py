"""A model's growth in words and as JSON.

Entry points: `growth_sentences`, `growth_json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from .estimates import Interval
from .growth import LayerGrowth, ModelGrowth

_NARROW = 0.5
"""A layer is called roomy that uses at most this share of its dimensions."""
_SHOWN = 3

UNIT_NOTE = (
    "First-order gain: loss a unit of what the neuron adds to the next layer's outputs, the unit "
    "being their standard deviation; on held-out rows, 90 % intervals."
)


def growth_sentences(growth: ModelGrowth) -> list[str]:
    """Return what a person should know, the most important first."""
    if not growth.trained:
        assert growth.constant_loss is not None
        return [
            f"Not trained: the held-out loss is {growth.loss}, that of the best constant output "
            f"{growth.constant_loss:.3g}. Give --weights FILE or --epochs N; if it was trained, "
            "feed it as it was then, by --data FILE.py:load. Of an untrained model no layer can be "
            "called the bottleneck."
        ]
    return [*_bottleneck(growth), *_rooms(growth), *_dead(growth)]


def _bottleneck(growth: ModelGrowth) -> Iterator[str]:
    ranked = growth.by_gain
    if not ranked:
        yield "No layer can grow by itself, so that none can be called the bottleneck."
        return
    first = ranked[0]
    assert first.first_order is not None
    second = ranked[1] if len(ranked) > 1 else None
    if growth.bottleneck is not None:
        follower = "" if second is None else f"; the next is {_named(second)} with "
        if second is not None and second.first_order is not None:
            follower += f"{second.first_order.mean:.3g}"
        yield (
            f"{_capital(first.title)} is the bottleneck: one more neuron lowers the loss by "
            f"{first.first_order} a unit of what it adds{follower}."
        )
        if first.gain is not None and first.gain.low > 0:
            yield (
                f"Put in as it is, without further training, that neuron takes {first.gain} off "
                f"the held-out loss of {growth.loss.mean:.3g}, for {first.parameters:,} parameters "
                "more."
            )
        return
    if first.first_order.low <= 0:
        yield (
            "No bottleneck: one more neuron lowers the held-out loss in no layer by more than "
            f"chance; most in {first.title}, {first.first_order} a unit of what it adds."
        )
        return
    assert second is not None
    assert growth.lead is not None
    yield (
        f"No single bottleneck: {first.title} leads with {first.first_order} a unit of what a "
        f"neuron adds, but its lead over {_named(second)}, {growth.lead}, is within chance."
    )


def _rooms(growth: ModelGrowth) -> Iterator[str]:
    """Yield the layers that use few of their dimensions."""
    roomy = [
        (layer, layer.rank)
        for layer in growth.layers
        if layer.rank is not None
        and layer.reader is not None
        and not layer.rank.is_bounded_by_rows
        and layer.rank.srank <= _NARROW * layer.rank.dimensions
        and layer is not growth.bottleneck
    ]
    roomy.sort(key=lambda entry: entry[1].srank / entry[1].dimensions)
    for layer, rank in roomy[:_SHOWN]:
        yield (
            f"{_capital(layer.title)} uses {rank.srank} of {rank.dimensions} dimensions (99 % of "
            "the singular values' sum): it may be narrower."
        )
    if len(roomy) > _SHOWN:
        yield f"So do {len(roomy) - _SHOWN} more layers; the table has them all."


def _dead(growth: ModelGrowth) -> Iterator[str]:
    """Yield the layers with neurons that say nothing."""
    for layer in growth.layers:
        if layer.rank is not None and layer.reader is not None and layer.rank.constant:
            yield (
                f"In {layer.title} {layer.rank.constant} of {layer.width} neurons give the same "
                "for every row."
            )


def growth_json(growth: ModelGrowth) -> dict[str, Any]:
    """Return the growth as JSON."""
    bottleneck = growth.bottleneck
    return {
        "trained": growth.trained,
        "loss": asdict(growth.loss),
        "training_loss": growth.training_loss,
        "constant_loss": growth.constant_loss,
        "rows": growth.rows,
        "held_out_rows": growth.held_out_rows,
        "confidence": 0.9,
        "bottleneck": None if bottleneck is None else bottleneck.layer,
        "lead": _interval_json(growth.lead),
        "layers": [_layer_json(layer) for layer in growth.layers],
        "sentences": growth_sentences(growth),
    }


def _layer_json(layer: LayerGrowth) -> dict[str, Any]:
    rank = layer.rank
    return {
        "layer": layer.layer,
        "number": layer.number,
        "title": layer.title,
        "width": layer.width,
        "read_by": layer.reader,
        "reason": layer.reason,
        "first_order": _interval_json(layer.first_order),
        "gain": _interval_json(layer.gain),
        "size": layer.size,
        "expressivity": layer.expressivity,
        "gradmax": layer.gradmax,
        "parameters": layer.parameters,
        "rank": None
        if rank is None
        else {**asdict(rank), "bounded_by_rows": rank.is_bounded_by_rows},
    }


def _interval_json(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else asdict(interval)


def _named(layer: LayerGrowth) -> str:
    return f"layer {layer.number}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
