"""Attention in compiled code: softmax(scale · Q Kᵀ) V, and its gradients, for one head.

Of a head of some 20 tokens with 8 numbers torch's kernel computes for a fraction of its time; the
rest goes into calls and blocks made for large ones. Here a head is copied side by side, its rows
filled up to whole tiles, and worked on in strips of `SIDE` queries, whose scores are all that is
kept of the square of tokens.

Entry points: `forward`, `backward`.
"""

from typing import Any

import numpy as np

from .attention_head import Head, add_product, copy, inlined, multiply, turn, whole
from .attention_math import exponential, largest, logarithm, sums
from .attention_tiles import (
    SIDE,
    filled,
    first_of,
    larger,
    less_each,
    load,
    load_tile,
    store,
    times_each,
)


@inlined
def _look(seen: Any, first: int, others: int, causal: bool) -> int:
    """Put down how many keys each query of a strip sees; returns the last one's."""
    for place in range(SIDE):
        seen[place] = min(first + place + 1, others) if causal else others
    return seen[SIDE - 1]  # type: ignore[no-any-return]


@inlined
def _hide(strip: Any, seen: Any, columns: int, number: float) -> None:
    """Put a number in place of what belongs to keys that a query does not see."""
    for column in range(seen[0] - seen[0] % SIDE, columns, SIDE):
        store(strip, 0, column, first_of(load_tile(strip, 0, column), seen, column, number))


@inlined
def _exponentiate(scores: Any, columns: int, numbers: Any) -> None:
    """Put exp(score - largest) in the place of a strip's scores.

    Where all are minus infinity, the result is to be 0, and the logarithm is 0, as in torch.

    Args:
        scores: `SIDE` rows.
        columns: To look at, whole tiles.
        numbers: Where the logarithms of the sums of exp(score) are put, and below them 1 / the sums
            of what is put into place.
    """
    most, total = filled(scores, -np.inf), filled(scores, 0.0)
    for column in range(0, columns, SIDE):
        most = larger(load_tile(scores, 0, column), most)
    store(numbers, 0, 0, largest(most))
    for place in range(SIDE):
        if numbers[0, place] == -np.inf:
            numbers[0, place] = 0
    top = load(numbers, 0, 0)
    for column in range(0, columns, SIDE):
        powers = exponential(less_each(load_tile(scores, 0, column), top))
        store(scores, 0, column, powers)
        total = total + powers
    store(numbers, 1, 0, sums(total))
    for place in range(SIDE):
        if numbers[1, place] == 0:
            numbers[1, place] = 1
    store(numbers, 0, 0, top + logarithm(load(numbers, 1, 0)))
    for place in range(SIDE):
        numbers[1, place] = 1 / numbers[1, place]


@inlined
def forward(
    queries: Any,
    keys: Any,
    values: Any,
    scale: Any,
    causal: bool,
    found: Any,
    logarithms: Any,
    own: Head,
) -> None:
    """Put one head's result into place.

    Args:
        queries: tokens x size; all rows are contiguous.
        keys: other tokens x size.
        values: Likewise.
        scale: Of the scores.
        causal: Whether a query sees no keys beyond its own place.
        found: The result, tokens x size.
        logarithms: tokens: of the sums of the scores' exponentials.
        own: Arrays for it.
    """
    tokens, size = queries.shape
    others, one = len(keys), own.found.dtype.type(1)
    copy(queries, scale, own.queries, tokens, size)
    turn(keys, own.turned_keys)
    copy(values, one, own.values, others, size)
    for first in range(0, tokens, SIDE):
        most = _look(own.seen, first, others, causal)
        columns = whole(most)
        multiply(own.queries, first, size, own.turned_keys, own.weights, 0, columns)
        _hide(own.weights, own.seen, columns, -np.inf)
        _exponentiate(own.weights, columns, own.numbers)
        multiply(own.weights, 0, most, own.values, own.found, first, own.found.shape[1])
        share = load(own.numbers, 1, 0)
        for column in range(0, own.found.shape[1], SIDE):
            strip = times_each(load_tile(own.found, first, column), share)
            store(own.found, first, column, strip)
        for place in range(min(SIDE, tokens - first)):
            logarithms[first + place] = own.numbers[0, place]
    copy(own.found, one, found, tokens, size)


@inlined
def backward(
    slopes: Any,
    queries: Any,
    keys: Any,
    values: Any,
    found: Any,
    logarithms: Any,
    scale: Any,
    causal: bool,
    to_queries: Any,
    to_keys: Any,
    to_values: Any,
    own: Head,
) -> None:
    """Put one head's gradients into place.

    With P the weights of the values, S = scale · Q Kᵀ their scores, dO the gradient that came in:
    dV = Pᵀ dO; dS = P · (dO Vᵀ - rowsum(dO · O)); dQ = scale · dS K; dK = scale · dSᵀ Q
    (Dao et al., 2022, appendix B.2).

    Args:
        slopes: Gradient with respect to `found`, of its shape.
        queries: See `forward`, also for what follows up to `causal`.
        keys: Likewise.
        values: Likewise.
        found: Likewise.
        logarithms: Likewise.
        scale: Likewise.
        causal: Likewise.
        to_queries: Gradient with respect to the queries.
        to_keys: To the keys.
        to_values: To the values.
        own: Arrays for it.
    """
    tokens, size = queries.shape
    others, one = len(keys), own.found.dtype.type(1)
    copy(queries, scale, own.queries, tokens, size)
    copy(slopes, one, own.slopes, tokens, size)
    copy(found, one, own.found, tokens, size)
    copy(keys, one, own.keys, others, size)
    turn(keys, own.turned_keys)
    turn(values, own.turned_values)
    own.to_keys[:] = 0
    own.to_values[:] = 0
    for first in range(0, tokens, SIDE):
        rows, most = min(SIDE, tokens - first), _look(own.seen, first, others, causal)
        columns = whole(most)
        for place in range(rows):
            own.numbers[0, place] = logarithms[first + place]
        multiply(own.queries, first, size, own.turned_keys, own.weights, 0, columns)
        multiply(own.slopes, first, size, own.turned_values, own.steep, 0, columns)
        _weigh(own, first, columns)
        add_product(own.weights, rows, own.slopes, first, own.to_values, most)
        add_product(own.steep, rows, own.queries, first, own.to_keys, most)
        multiply(own.steep, 0, most, own.keys, own.to_queries, first, own.found.shape[1])
    copy(own.to_queries, scale, to_queries, tokens, size)
    copy(own.to_keys, one, to_keys, others, size)
    copy(own.to_values, one, to_values, others, size)


@inlined
def _weigh(own: Head, first: int, columns: int) -> None:
    """Turn a strip's scores into weights, and the gradients of these into those of the scores."""
    products = filled(own.found, 0.0)
    for column in range(0, own.found.shape[1], SIDE):
        slopes, found = load_tile(own.slopes, first, column), load_tile(own.found, first, column)
        products = products + slopes * found
    middle, logarithms = sums(products), load(own.numbers, 0, 0)
    for column in range(0, columns, SIDE):
        weights = exponential(less_each(load_tile(own.weights, 0, column), logarithms))
        store(own.weights, 0, column, weights)
        store(own.steep, 0, column, weights * less_each(load_tile(own.steep, 0, column), middle))
    _hide(own.weights, own.seen, columns, 0.0)
    _hide(own.steep, own.seen, columns, 0.0)
