"""One network in the dense engine: its arrays, and what the compiled code is called with.

Entry points: `Network`, `workspace`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...model.keyed_dropout import key_of
from ...training.snapshot import Progress, require_alike, require_in_step
from ..base import EpochLoss
from .activations import CHUNK
from .compile import Layout, Numbers, Shelf
from .kernel import Compiled
from .passes import room_to_turn
from .program import Problem, Space

_ROWS_AT_ONCE = 256
"""Rows of a pass of evaluation: few enough for the cache."""


def workspace(dtype: npt.DTypeLike, layouts: Iterable[Layout], rows: int) -> Space:
    """Return what networks that take turns share, for batches of so many rows."""
    rows = max(rows, _ROWS_AT_ONCE)
    layouts = list(layouts)
    widest = max((one.widest for one in layouts), default=0)
    outputs = max((one.outputs for one in layouts), default=0)
    scratch = np.empty((2, max(CHUNK, widest, outputs * rows)))
    return Space(
        room=np.empty(max((one.room for one in layouts), default=0) * rows, dtype),
        deltas=np.empty((2, widest * rows), dtype),
        turned=np.empty(room_to_turn(widest), dtype),
        scratch=scratch,
        words=scratch[1].view(np.int64),
    )


@final
class Network:
    """Weights, moments and statistics of one network, flat.

    Attributes:
        layout: What they mean.
        steps: Updates so far.
    """

    def __init__(
        self,
        layout: Layout,
        model: nn.Module,
        *,
        seed: int,
        learning_rate: float,
        weight_decay: float,
        factors: Mapping[str, float],
    ) -> None:
        """Copy a module's weights; the other arguments are the training's."""
        self.layout, self.steps, self._seed = layout, 0, seed
        dtype = layout.numbers.dtype
        self._values = np.zeros((4, layout.parameters), dtype)
        self._statistics = np.zeros(layout.statistics, dtype)
        self._counters: dict[str, int] = {}
        for shelf, value in zip(layout.shelves, model.state_dict().values(), strict=True):
            if shelf.where == "counter":
                self._counters[shelf.name] = int(value)
            else:
                self._array(shelf.where)[shelf.slice] = _flat(value)
        self._counted, self._loss = 0, EpochLoss()
        self._best: tuple[Numbers, Numbers, int] | None = None
        self._groups, self._rates = _groups(layout, learning_rate, weight_decay, factors)

    @property
    def parameters(self) -> int:
        """Return the numbers in the network's parameters."""
        return self.layout.parameters

    def train(
        self,
        compiled: Compiled,
        problem: Problem,
        order: Numbers,
        sizes: Sequence[int],
        space: Space,
        midway: bool = False,
    ) -> float:
        """Train on batches and return the mean loss of their rows.

        Args:
            compiled: The functions.
            problem: What to learn.
            order: Row numbers, int64, one batch after the other.
            sizes: Rows in each batch.
            space: Space.
            midway: Whether the mean is to be over the rows of the calls before, too.
        """
        batches = len(sizes)
        total = compiled.train(
            self.layout.table,
            self.layout.numbers,
            problem,
            order,
            np.cumsum(sizes, dtype=np.int64),
            self._keys(batches),
            self.steps,
            self._groups,
            self._rates,
            self._values,
            self._statistics,
            space,
            self._loss.so_far(midway),
            True,
        )
        self.steps += batches
        self._counted += batches
        return self._loss.now(total, sum(sizes))

    def predict(self, compiled: Compiled, inputs: Numbers, space: Space) -> Numbers:
        """Return the outputs for rows of inputs, in evaluation mode."""
        found = np.empty((len(inputs), self.layout.outputs), inputs.dtype)
        compiled.evaluate(
            self.layout.table,
            self.layout.numbers,
            inputs,
            self._values[0],
            self._statistics,
            np.empty(0, np.int64),
            space,
            _ROWS_AT_ONCE,
            found,
            False,
        )
        return found

    def remember(self) -> None:
        """Keep a copy of weights and statistics."""
        self._best = self._copy()

    def recall(self) -> None:
        """Put the copy back into place."""
        assert self._best is not None, "it was remembered"
        self._values[0], self._statistics[:], self._counted = self._best

    def state(self) -> dict[str, Tensor]:
        """Return a copy of weights and statistics as the module's `state_dict`."""
        return self._shown(self._copy())

    def progress(self) -> Progress:
        """Return all that the next step depends on."""
        states = {"model": self._copy()} | ({} if self._best is None else {"best": self._best})
        tensors = {
            f"{kind}.{name}": value
            for kind, state in states.items()
            for name, value in self._shown(state).items()
        }
        for kind, values in zip(("exp_avg", "exp_avg_sq"), self._values[2:], strict=True):
            for shelf in self._trained():
                tensors[f"{kind}.{shelf.name}"] = _taken(values, shelf)
                tensors[f"updates.{shelf.name}"] = torch.tensor(float(self.steps))
        return Progress(tensors=tensors, facts={"step": self.steps, "loss": self._loss.facts})

    def go_on_from(self, progress: Progress) -> None:
        """Be where it was, before the first step.

        Raises:
            Unfit: It is of another network.
        """
        require_alike(progress.of("model"), self.state(), "the state")
        best = progress.of("best")
        if best:
            require_alike(best, self.state(), "the best state")
            self._best = self._arranged(best)
        self._values[0], self._statistics[:], self._counted = self._arranged(progress.of("model"))
        self.steps = require_in_step(progress)
        for kind, values in zip(("exp_avg", "exp_avg_sq"), self._values[2:], strict=True):
            kept = progress.of(kind)
            for shelf in self._trained():
                if shelf.name in kept:
                    values[shelf.slice] = _flat(kept[shelf.name])
        self._loss = EpochLoss(*progress.facts["loss"])

    def _trained(self) -> list[Shelf]:
        return [shelf for shelf in self.layout.shelves if shelf.where == "parameters"]

    def _shown(self, copy: tuple[Numbers, Numbers, int]) -> dict[str, Tensor]:
        parameters, statistics, counted = copy
        arrays = {"parameters": parameters, "statistics": statistics}
        return {
            shelf.name: torch.tensor(self._counters[shelf.name] + counted)
            if shelf.where == "counter"
            else _taken(arrays[shelf.where], shelf)
            for shelf in self.layout.shelves
        }

    def _arranged(self, state: Mapping[str, Tensor]) -> tuple[Numbers, Numbers, int]:
        """Return a `state_dict` as it is remembered."""
        parameters, statistics, counted = self._copy()
        arrays = {"parameters": parameters, "statistics": statistics}
        for shelf in self.layout.shelves:
            if shelf.where == "counter":
                counted = int(state[shelf.name]) - self._counters[shelf.name]
            else:
                arrays[shelf.where][shelf.slice] = _flat(state[shelf.name])
        return parameters, statistics, counted

    def _array(self, where: str) -> Numbers:
        return self._values[0] if where == "parameters" else self._statistics

    def _copy(self) -> tuple[Numbers, Numbers, int]:
        return self._values[0].copy(), self._statistics.copy(), self._counted

    def _keys(self, batches: int) -> Numbers:
        """Return the keys of the dropout masks, batches x layers."""
        layers = self.layout.dropouts
        keys = np.empty((batches, layers), np.int64)
        for batch, layer in np.ndindex(keys.shape):
            keys[batch, layer] = key_of(self._seed, layer, self.steps + batch)
        return keys


def _taken(values: Numbers, shelf: Shelf) -> Tensor:
    """Return a copy of what lies on a shelf, in its own shape."""
    return torch.from_numpy(values[shelf.slice].reshape(shelf.shape[::-1]).T.copy(order="C"))


def _flat(value: Tensor) -> Numbers:
    return value.numpy().T.ravel()


def _groups(
    layout: Layout, learning_rate: float, weight_decay: float, factors: Mapping[str, float]
) -> tuple[Numbers, Numbers]:
    """Return where each run of parameters with one rate ends, and each run's rate and shrinkage."""
    ends: list[int] = []
    found: list[float] = []
    shelves = [shelf for shelf in layout.shelves if shelf.where == "parameters"]
    for shelf in shelves:
        factor = factors.get(shelf.name, 1.0)
        if found and found[-1] == factor:
            ends.pop()
        else:
            found.append(factor)
        ends.append(shelf.slice.stop)
    rates = [[learning_rate * one, learning_rate * one * (weight_decay / one)] for one in found]
    return np.array(ends, np.int64), np.array(rates, np.float64)
