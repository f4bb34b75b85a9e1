"""Rules by a layer's role: channels rise with depth, dense layers fall, encoder layers are equal.

Entry point: `role_rule`.
"""

from __future__ import annotations

from ...objectives.model.family_registry import doubling
from .inquiry import Inquiry, Kind
from .rule import RuleRange
from .size_rules import pyramid_rule

_FIRST_CHANNELS = 64
_MOST_CHANNELS = 512
"""VGG begins with 64 channels, doubles them after each pooling, and stops at 512 (table 1)."""


def role_rule(inquiry: Inquiry) -> RuleRange:
    """Return how the widths follow each other in a network of this kind."""
    if inquiry.kind is Kind.MLP:
        return pyramid_rule(inquiry)
    if inquiry.kind is Kind.CNN:
        return _rising_channels(inquiry)
    return _equal_layers(inquiry)


def _rising_channels(inquiry: Inquiry) -> RuleRange:
    doubled = doubling(_FIRST_CHANNELS, inquiry.layers)
    channels = [int(min(width, _MOST_CHANNELS)) for width in doubled]
    return RuleRange(
        rule="channels rise with depth",
        formula="64 × 2^(i−1) for block i, at most 512",
        low=channels[0],
        high=channels[-1],
        unit=inquiry.kind.unit,
        source="Simonyan and Zisserman, Very Deep Convolutional Networks (2015), table 1; He et "
        "al., Deep Residual Learning (2016), section 3.3: twice the channels where the side halves",
        applies_to="convolutional networks that classify; a generator's fall",
        caveat="made for 224 pixels and a million images; small ones take a quarter and less",
        widths=channels,
    )


def _equal_layers(inquiry: Inquiry) -> RuleRange:
    if inquiry.kind is Kind.LSTM:
        return RuleRange(
            rule="stacked layers are equal",
            formula="one width for all layers",
            low=20,
            high=200,
            unit=inquiry.kind.unit,
            source="Greff et al., LSTM: A Search Space Odyssey (2017), arXiv 1503.04069: 20 to 200 "
            "units were searched; larger is better, and slower",
            applies_to="recurrent layers",
            caveat="a range that was tried, not a proof; nothing forces the equality",
        )
    return RuleRange(
        rule="encoder layers are equal",
        formula="one width for all layers, 4 × that inside each",
        low=256,
        high=1024,
        unit=inquiry.kind.unit,
        source="Vaswani et al., Attention Is All You Need (2017), arXiv 1706.03762, section 3.1: "
        "the residual stream has one width; table 3 tries 256 to 1,024",
        applies_to="transformer encoders and decoders",
        caveat="a range that was tried, not a proof; the residual sums force the equality",
    )
