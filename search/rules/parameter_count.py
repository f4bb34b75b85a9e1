"""Parameters of the reference networks by formula, without torch.

The networks are those of `reference_network`, with one width for all layers; of a convolutional
network it is that of the first block, the others doubling. Tests hold each formula to the network.

    perceptron      w(n + 1) + (k − 1) w(w + 1) + m(w + 1)
    convolutional   Σ 9 w_{i−1} w_i + 2 w_i, then m(w_k + 1)
    transformer     embedding, then 12 w² + 13 w a layer, then m(w + 1)
    LSTM            4 w(n + w) + 8 w a layer, then m(w + 1)

n are the inputs, m the outputs, k the layers, w the width.
Entry points: `count_parameters`, `width_of_parameters`.
"""

from __future__ import annotations

from itertools import pairwise

from .inquiry import Inquiry, Kind, Task

MAX_WIDTH = 2**20
"""The widest layer that is looked at: a million neurons."""


def count_parameters(inquiry: Inquiry, width: int) -> int:
    """Return the parameters of the reference network of a width."""
    head = inquiry.outputs * (last_width(inquiry, width) + 1)
    if inquiry.kind is Kind.MLP:
        return width * (inquiry.inputs + 1) + (inquiry.layers - 1) * width * (width + 1) + head
    if inquiry.kind is Kind.CNN:
        channels = [inquiry.input_shape[0]]
        channels += [width * 2**block for block in range(inquiry.layers)]
        return sum(9 * before * after + 2 * after for before, after in pairwise(channels)) + head
    if inquiry.kind is Kind.TRANSFORMER:
        return _embedding(inquiry, width) + inquiry.layers * (12 * width**2 + 13 * width) + head
    first = width if inquiry.task is Task.LANGUAGE else inquiry.step_features
    vocabulary = inquiry.vocabulary or 0
    layer_inputs = first + (inquiry.layers - 1) * width
    return vocabulary * width + 4 * width * (layer_inputs + inquiry.layers * (width + 2)) + head


def last_width(inquiry: Inquiry, width: int) -> int:
    """Return the width of the last hidden layer, where the width is that of the first."""
    return width * 2 ** (inquiry.layers - 1) if inquiry.kind is Kind.CNN else width


def width_of_parameters(inquiry: Inquiry, parameters: float) -> int:
    """Return the largest width with at most so many parameters; 0 where 1 has more already."""
    low, high = 0, MAX_WIDTH
    while low < high:
        middle = (low + high + 1) // 2
        if count_parameters(inquiry, middle) <= parameters:
            low = middle
        else:
            high = middle - 1
    return low


def _embedding(inquiry: Inquiry, width: int) -> int:
    """Return the parameters of tokens' or steps' embedding, and of the positions."""
    positions = inquiry.steps * width
    if inquiry.task is Task.LANGUAGE:
        assert inquiry.vocabulary is not None
        return inquiry.vocabulary * width + positions
    return (inquiry.step_features + 1) * width + positions
