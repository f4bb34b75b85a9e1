"""The arrays that compiled attention works on for one head, and what is done with matrices there.

Entry points: `Head`, `head`; `copy`, `turn`, `multiply`, `add_product`, `whole`; `inlined`, how all
of it is compiled.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit

from .attention_tiles import (
    SIDE,
    add_products,
    add_turned,
    filled,
    load,
    load_tile,
    store,
    times,
)
from .dense_table import COMPILE

_Function = TypeVar("_Function", bound=Callable[..., Any])


def inlined(function: _Function) -> _Function:
    """Return a function, compiled into its callers."""
    return cast(_Function, njit(forceinline=True, **COMPILE)(function))


class Head(NamedTuple):
    """Arrays for one head; tokens and sizes are filled up to whole tiles, by zeros at first.

    Attributes:
        queries: tokens x size, times the scale.
        keys: other tokens x size.
        values: Likewise.
        turned_keys: size x other tokens.
        turned_values: Likewise.
        found: tokens x size: the result.
        slopes: Likewise: the gradient with respect to it.
        to_queries: Gradient, tokens x size.
        to_keys: Gradient, other tokens x size.
        to_values: Likewise.
        weights: `SIDE` x other tokens: of a strip, first scores and then their exponentials.
        steep: Likewise: the gradient with respect to the scores.
        numbers: 2 x `SIDE`: two for each row of a strip.
        seen: `SIDE`: how many keys each query of a strip sees.
    """

    queries: Any
    keys: Any
    values: Any
    turned_keys: Any
    turned_values: Any
    found: Any
    slopes: Any
    to_queries: Any
    to_keys: Any
    to_values: Any
    weights: Any
    steep: Any
    numbers: Any
    seen: Any


@inlined
def whole(number: int) -> int:
    """Return a number rounded up to whole tiles."""
    return -(-number // SIDE) * SIDE


@inlined
def head(like: Any, tokens: int, others: int, size: int) -> Head:
    """Return the arrays for a head, of the type of another array."""
    tall, long, wide = whole(tokens), whole(others), whole(size)
    return Head(
        queries=np.zeros((tall, wide), like.dtype),
        keys=np.zeros((long, wide), like.dtype),
        values=np.zeros((long, wide), like.dtype),
        turned_keys=np.zeros((wide, long), like.dtype),
        turned_values=np.zeros((wide, long), like.dtype),
        found=np.zeros((tall, wide), like.dtype),
        slopes=np.zeros((tall, wide), like.dtype),
        to_queries=np.zeros((tall, wide), like.dtype),
        to_keys=np.zeros((long, wide), like.dtype),
        to_values=np.zeros((long, wide), like.dtype),
        weights=np.zeros((SIDE, long), like.dtype),
        steep=np.zeros((SIDE, long), like.dtype),
        numbers=np.zeros((2, SIDE), like.dtype),
        seen=np.zeros(SIDE, np.int64),
    )


@inlined
def copy(source: Any, scale: Any, target: Any, rows: int, columns: int) -> None:
    """Copy the first rows and columns of a matrix, times a number, into another."""
    whole = columns - columns % SIDE
    for row in range(rows):
        for column in range(0, whole, SIDE):
            store(target, row, column, times(load(source, row, column), scale))
        for column in range(whole, columns):
            target[row, column] = source[row, column] * scale


@inlined
def turn(source: Any, target: Any) -> None:
    """Copy a matrix's columns into the rows of another."""
    rows, columns = source.shape
    for column in range(columns):
        for row in range(rows):
            target[column, row] = source[row, column]


@inlined
def multiply(
    left: Any, row: int, terms: int, right: Any, found: Any, top: int, columns: int
) -> None:
    """Put the product of a strip of a matrix with another into place.

    Args:
        left: First factor.
        row: The first of the strip's rows.
        terms: Of each sum: columns of the first factor, rows of the second.
        right: Second factor.
        found: Product.
        top: The first of its rows there.
        columns: Of the product that are wanted, whole tiles.
    """
    for column in range(0, columns, SIDE):
        total = filled(found, 0.0)
        for term in range(terms):
            total = add_products(total, left, row, term, load(right, term, column))
        store(found, top, column, total)


@inlined
def add_product(left: Any, terms: int, right: Any, row: int, found: Any, rows: int) -> None:
    """Add the product of a transposed strip with some rows to what is there.

    Args:
        left: The strip.
        terms: Of each sum: rows of the strip.
        right: Second factor.
        row: The first of its rows.
        found: Product, in whole tiles.
        rows: Of the product that are wanted.
    """
    for column in range(0, found.shape[1], SIDE):
        for top in range(0, rows, SIDE):
            total = load_tile(found, top, column)
            for term in range(terms):
                total = add_turned(total, left, term, top, load(right, row + term, column))
            store(found, top, column, total)
