"""A table of finished trainings: widths, metric runs and a cost, and what a limit leaves of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from widthwise.search.space.feasible_set import FeasibleSet
from widthwise.search.space.limits import Limits
from widthwise.search.space.neighbourhood import hash_rows
from widthwise.search.space.space import Space, Width
from widthwise.search.surrogate.observations import Floats

IntArray = NDArray[np.int64]


class TableError(Exception):
    """The table, or a name in it, is not what the replay needs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Candidates with everything there is to know about them.

    Attributes:
        widths: Lattice values of each row, [n, d]; ranks from 1 where a column holds anything but
            positive integers.
        ranks: Each row's positions among its columns' values, [n, d], from 0.
        observed_metric: Metric of the run that a search sees, [n], higher is better; NaN failed.
        held_out_metric: Mean metric of the other runs, [n]; of the same run where it is the only
            one.
        cost: What the limit bounds, [n].
        limit: The largest cost that is feasible.
        space: The lattice that the rows lie on; not every point of it need be a row.
    """

    widths: IntArray
    ranks: IntArray
    observed_metric: Floats
    held_out_metric: Floats
    cost: Floats
    limit: float
    space: Space

    @cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """Which rows keep the limit and have a metric, [n]."""
        return (self.cost <= self.limit) & np.isfinite(self.observed_metric)

    @cached_property
    def optimum(self) -> float:
        """The best observed metric of all feasible rows."""
        return float(self.observed_metric[self.feasible].max())

    @cached_property
    def _sorted_hashes(self) -> tuple[NDArray[np.uint64], IntArray]:
        hashes = hash_rows(self.widths)
        order = np.argsort(hashes)
        return hashes[order], order

    def row_indices(self, widths: IntArray) -> IntArray:
        """Return indices of rows by their widths, [m]; each must be there."""
        hashes, order = self._sorted_hashes
        return order[np.searchsorted(hashes, hash_rows(widths))]

    def nearest_row(self, ranks: IntArray) -> int:
        """Return the row at a lattice point, or the nearest by ranks if there is none."""
        return int(np.argmin(((self.ranks - ranks) ** 2).sum(axis=1)))

    def feasible_set(self) -> FeasibleSet:
        """Return the rows within the limit, as the sampler takes them."""

        def cost(widths: IntArray) -> Mapping[str, IntArray]:
            costs = np.asarray(np.round(self.cost[self.row_indices(widths)]), dtype=np.int64)
            return {"flops": costs, "parameters": costs}

        is_within = self.cost <= self.limit
        return FeasibleSet.from_candidates(self.space, Limits(), cost, self.widths[is_within])


def read_table(
    path: Path, metric: str, cost: str, percentile: float, *, observed_run: int = 0
) -> Table:
    """Read a table from .npz (arrays) or .csv (columns `width…`, metric or metric_0 …, cost).

    Args:
        path: The file.
        metric: Name of the metric's array.
        cost: Name of the cost's array.
        percentile: Of the cost: the limit.
        observed_run: Which run a search sees, from 0, round and round; the others are held out.

    Raises:
        TableError: A name is not there, the shapes disagree or nothing is left.
    """
    arrays = _read_csv(path, metric) if path.suffix == ".csv" else dict(np.load(path))
    for name in ("widths", metric, cost):
        if name not in arrays:
            raise TableError(
                f"{path}: no array {name!r}; there are {', '.join(sorted(arrays)) or 'none'}"
            )
    raw = np.asarray(arrays["widths"])
    runs = np.asarray(arrays[metric], dtype=np.float64)
    runs = runs[:, None] if runs.ndim == 1 else runs
    costs = np.asarray(arrays[cost], dtype=np.float64)
    if raw.ndim != 2 or not len(raw) == len(runs) == len(costs) or costs.ndim != 1:
        raise TableError(
            f"{path}: widths are {raw.shape}, {metric} {runs.shape}, {cost} {costs.shape}; "
            "expected [n, d], [n] or [n, runs], and [n]"
        )
    _, first_indices = np.unique(raw, axis=0, return_index=True)
    raw, runs, costs = (
        raw[np.sort(first_indices)],
        runs[np.sort(first_indices)],
        costs[np.sort(first_indices)],
    )
    columns = [_parse_column(f"width{index}", values) for index, values in enumerate(raw.T)]
    limit = float(np.percentile(costs, percentile))
    observed = observed_run % runs.shape[1]
    held_out = np.delete(runs, observed, axis=1) if runs.shape[1] > 1 else runs
    table = Table(
        widths=np.column_stack([values for _, values, _ in columns]),
        ranks=np.column_stack([ranks for _, _, ranks in columns]),
        observed_metric=runs[:, observed],
        held_out_metric=held_out.mean(axis=1),
        cost=costs,
        limit=limit,
        space=Space(tuple(width for width, _, _ in columns)),
    )
    if not table.feasible.any():
        raise TableError(f"{path}: no row with a metric has a {cost} of at most {limit:g}")
    return table


def _parse_column(name: str, raw: NDArray[np.generic]) -> tuple[Width, IntArray, IntArray]:
    """Return a column as a width: itself where it holds positive integers, else its ranks."""
    levels, ranks = np.unique(raw, return_inverse=True)
    is_numeric = np.issubdtype(raw.dtype, np.number)
    is_integer = is_numeric and bool((levels == np.round(levels)).all() and levels[0] >= 1)
    if is_integer:
        return Width.of(name, [int(level) for level in levels]), raw.astype(np.int64), ranks
    return Width.range(name, 1, len(levels), scale="linear"), ranks + 1, ranks


def _read_csv(path: Path, metric: str) -> dict[str, NDArray[np.float64]]:
    import pandas as pd

    frame = pd.read_csv(path)
    arrays = {str(name): frame[name].to_numpy() for name in frame.columns}
    widths = [name for name in frame.columns if str(name).startswith("width")]
    arrays["widths"] = frame[widths].to_numpy()
    runs = [name for name in frame.columns if str(name).startswith(f"{metric}_")]
    if metric not in arrays and runs:
        arrays[metric] = frame[runs].to_numpy()
    return arrays
