"""The dense engine: multi-layer perceptrons on the CPU, each at its exact widths, compiled.

For small networks torch's time goes into calling operators, not into numbers. Here one call trains
a member through all its batches (`dense_kernel`), with the plain engine's result up to rounding.

Entry point: `DenseEngine`.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
from typing import Any, final

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from ...data.dataset import Task
from ...model.losses import LOSSES
from ...model.objective import ModuleObjective, Objective
from ..base import Member, Training, Unsuitable
from ..sequential import Turns
from .compile import Numbers, recognise
from .kernel import Compiled
from .network import Network, workspace
from .program import Loss, Problem

_LOSSES = {
    "cross_entropy": Loss.CROSS_ENTROPY,
    "mse": Loss.SQUARED,
    "mae": Loss.ABSOLUTE,
    "huber": Loss.HUBER,
}


@final
class DenseEngine:
    """Trains multi-layer perceptrons, one after the other, in compiled code."""

    name = "dense"

    def start(self, training: Training, members: Sequence[Member]) -> "DenseTeam":
        """Build all members.

        Raises:
            Unsuitable: A network, loss or setting that the compiled code does not know.
        """
        return DenseTeam(training, members)


@cache
def _compiled(dtype: torch.dtype) -> Compiled:
    model = nn.Sequential(nn.Linear(1, 1)).to(dtype)
    layout = recognise(model, (1,), dtype)
    numbers = layout.numbers.dtype
    problem = Problem(
        loss=int(Loss.SQUARED),
        inputs=np.zeros((1, 1), numbers),
        labels=np.empty(0, np.int64),
        targets=np.zeros((1, 1), numbers),
    )

    def attempt(compiled: Compiled) -> None:
        network = Network(layout, model, seed=0, learning_rate=0.0, weight_decay=0.0, factors={})
        space = workspace(numbers, [layout], 1)
        network.train(compiled, problem, np.zeros(1, np.int64), [1], space)
        network.predict(compiled, problem.inputs, space)

    return Compiled(attempt)


@cache
def _threads() -> ThreadpoolController:
    """Return what sets the threads of BLAS: products this small lose by sharing them out."""
    return ThreadpoolController()


@final
class DenseTeam(Turns[Network]):
    """Members that take turns; see `Team`."""

    def __init__(self, training: Training, members: Sequence[Member]) -> None:
        """Build all members.

        Raises:
            Unsuitable: See `DenseEngine.start`.
        """
        self._training = training
        self._problem = _problem(training)
        super().__init__(members, self._network)
        self._compiled = _compiled(training.data.train.inputs.dtype)
        self._space = workspace(
            self._problem.inputs.dtype,
            [network.layout for network in self._networks.values()],
            training.settings.batch_size,
        )

    def advance(
        self, batches: Mapping[int, Sequence[Tensor]], midway: Collection[int] = ()
    ) -> dict[int, float | Exception]:
        """Train members on batches of their own; see `Team`."""
        with _threads().limit(limits=1, user_api="blas"):
            return {
                place: self.each(
                    place, partial(self._advance, batches=mine, midway=place in midway)
                )
                for place, mine in batches.items()
            }

    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return each member's outputs for all rows; see `Team`."""
        rows = _rows(inputs)
        with _threads().limit(limits=1, user_api="blas"):
            return {
                place: self.each(place, partial(self._predict, inputs=rows)) for place in members
            }

    def peak_memory(self, member: int) -> int | None:  # noqa: ARG002
        """Return None: there is no GPU."""
        return None

    def _network(self, member: Member) -> Network:
        training = self._training
        model, _ = training.build(member)
        inputs = training.data.train.inputs
        layout = recognise(model, training.data.input_shape, inputs.dtype)
        _require_fit(self._problem, layout.outputs)
        return Network(
            layout,
            model,
            seed=member.seed,
            learning_rate=member.learning_rate,
            weight_decay=training.settings.weight_decay,
            factors=training.factors(member),
        )

    def _advance(self, network: Network, batches: Sequence[Tensor], midway: bool) -> float:
        sizes, most = [batch.shape[0] for batch in batches], self._training.settings.batch_size
        fewest, largest = min(sizes, default=0), max(sizes, default=0)
        if not 1 <= fewest <= largest <= most:
            raise ValueError(f"batches have {fewest} to {largest} rows: give each 1 to {most}.")
        order = torch.cat(list(batches)).numpy()
        rows = len(self._problem.inputs)
        if not 0 <= order.min() <= order.max() < rows:
            raise IndexError(f"a batch names rows outside the {rows} of the training split")
        if network.layout.batch_norms and 1 in sizes:
            raise ValueError(
                "a batch of one row has no variance, and the model has batch normalisation: "
                "make batches of two rows or more."
            )
        return network.train(self._compiled, self._problem, order, sizes, self._space, midway)

    def _predict(self, network: Network, inputs: Numbers) -> Tensor:
        return torch.from_numpy(network.predict(self._compiled, inputs, self._space))


def _rows(inputs: Tensor) -> Numbers:
    """Return inputs as rows x features."""
    flat = inputs.detach().reshape(len(inputs), -1) if len(inputs) else inputs.flatten(1)
    return np.ascontiguousarray(flat.numpy())


def _problem(training: Training) -> Problem:
    """Return what is to be learnt.

    Raises:
        Unsuitable: Nothing that the compiled code knows.
    """
    data, settings = training.data, training.settings
    inputs, targets = data.train.inputs, data.train.targets
    if training.device.type != "cpu" or settings.autocast is not None:
        raise Unsuitable("it computes on the CPU, in the model's own precision")
    if settings.accumulate != 1:
        raise Unsuitable(f"it takes a batch at once, accumulate is {settings.accumulate}")
    if inputs.dtype not in (torch.float32, torch.float64) or inputs.ndim < 2:
        raise Unsuitable(f"the inputs are {inputs.dtype} in {inputs.ndim} dimensions")
    if any(len(one) and one.inputs.dtype != inputs.dtype for one in (data.validation, data.test)):
        raise Unsuitable("the splits are of several types")
    loss, task = _loss(training.objective)
    if task != data.task:
        raise Unsuitable(f"its loss is for a {task}, the data asks for a {data.task}")
    rows, classes = _rows(inputs), task == "classification"
    if targets.dtype != (torch.int64 if classes else inputs.dtype):
        raise Unsuitable(f"the targets of this {task} are {targets.dtype}")
    if targets.ndim > (1 if classes else 2):
        raise Unsuitable(f"the targets of this {task} have {targets.ndim} dimensions")
    return Problem(
        loss=int(loss),
        inputs=rows,
        labels=targets.numpy() if classes else np.empty(0, np.int64),
        targets=np.empty((0, 0), rows.dtype) if classes else _rows(targets),
    )


def _loss(objective: Objective) -> tuple[Loss, Task]:
    if isinstance(objective, ModuleObjective):
        for name, loss in _LOSSES.items():
            task, function = LOSSES[name]
            if objective.loss_function is function:
                return loss, task
    raise Unsuitable("it knows the built-in losses only")


def _require_fit(problem: Problem, outputs: int) -> None:
    """Raise `Unsuitable` for outputs that are no match for the targets."""
    if problem.loss == Loss.CROSS_ENTROPY:
        low, high = problem.labels.min(), problem.labels.max()
        if low < 0 or high >= outputs:
            raise Unsuitable(f"the classes run from {low} to {high}, the outputs are {outputs}")
    elif problem.targets.shape[1] != outputs:
        raise Unsuitable(
            f"the targets have {problem.targets.shape[1]} columns, the outputs are {outputs}"
        )
