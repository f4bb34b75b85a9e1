"""The dense engine: multi-layer perceptrons on the CPU, each at its exact widths, compiled.

For small networks torch's time goes into calling operators, not into numbers. Here one call trains
a member through all its batches (`kernel`), with the plain engine's result up to rounding.

Entry point: `DenseEngine`.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, final

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from ...data.dataset import Task
from ...model.losses import LOSSES
from ...model.objective import ModuleObjective, Objective
from ..base import EngineUnsupported, Member, TrainingSetup
from ..sequential import Sequential
from .compile import Array, compile_module
from .kernel import CompiledKernels
from .network import DenseNetwork, allocate_workspace
from .program import LossKind, TrainingArrays

_LOSS_KINDS = {
    "cross_entropy": LossKind.CROSS_ENTROPY,
    "mse": LossKind.MSE,
    "mae": LossKind.MAE,
    "huber": LossKind.HUBER,
}


@final
class DenseEngine:
    """Trains multi-layer perceptrons, one after the other, in compiled code."""

    name = "dense"

    def start(self, training: TrainingSetup, members: Sequence[Member]) -> "DenseSession":
        """Build all members.

        Raises:
            EngineUnsupported: A network, loss or setting that the compiled code does not know.
        """
        return DenseSession(training, members)


@cache
def _compiled_kernels(dtype: torch.dtype) -> CompiledKernels:
    model = nn.Sequential(nn.Linear(1, 1)).to(dtype)
    program = compile_module(model, (1,), dtype)
    numpy_dtype = program.coefficients.dtype
    arrays = TrainingArrays(
        loss=int(LossKind.MSE),
        inputs=np.zeros((1, 1), numpy_dtype),
        labels=np.empty(0, np.int64),
        targets=np.zeros((1, 1), numpy_dtype),
    )

    def warm_up(kernels: CompiledKernels) -> None:
        network = DenseNetwork(
            program, model, seed=0, learning_rate=0.0, weight_decay=0.0, learning_rate_factors={}
        )
        workspace = allocate_workspace(numpy_dtype, [program], 1)
        network.train(kernels, arrays, np.zeros(1, np.int64), [1], workspace)
        network.predict(kernels, arrays.inputs, workspace)

    return CompiledKernels(warm_up)


@cache
def _blas_controller() -> ThreadpoolController:
    """Return what limits BLAS to one thread: products this small lose by sharing the work."""
    return ThreadpoolController()


@final
class DenseSession(Sequential[DenseNetwork]):
    """The members of a dense engine; see `Session`."""

    def __init__(self, training: TrainingSetup, members: Sequence[Member]) -> None:
        """Build all members; one that cannot be built has failed.

        Raises:
            EngineUnsupported: See `DenseEngine.start`.
        """
        self._training = training
        self._arrays = _training_arrays(training)
        super().__init__(members, self._build_network)
        self._kernels = _compiled_kernels(training.arrays.train.inputs.dtype)
        self._workspace = allocate_workspace(
            self._arrays.inputs.dtype,
            [network.program for network in self._networks.values()],
            training.settings.batch_size,
        )

    def advance(
        self, batches: Mapping[int, Sequence[Tensor]], mid_epoch: Collection[int] = ()
    ) -> dict[int, float]:
        """Train members on batches of their own; see `Session`."""
        losses = {}
        with _blas_controller().limit(limits=1, user_api="blas"):
            for index, network in self._working(batches):
                with self._own_failure(index):
                    losses[index] = self._train(network, batches[index], index in mid_epoch)
        return losses

    def predict(self, members: Sequence[int], inputs: Tensor) -> dict[int, Any]:
        """Return the members' outputs for all rows; see `Session`."""
        outputs, rows = {}, _flatten_rows(inputs)
        with _blas_controller().limit(limits=1, user_api="blas"):
            for index, network in self._working(members):
                with self._own_failure(index):
                    output = network.predict(self._kernels, rows, self._workspace)
                    outputs[index] = torch.from_numpy(output)
        return outputs

    def peak_memory(self, member: int) -> int | None:  # noqa: ARG002
        """Return None: there is no GPU."""
        return None

    def _build_network(self, member: Member) -> DenseNetwork:
        training = self._training
        model, _ = training.build(member)
        inputs = training.arrays.train.inputs
        program = compile_module(model, training.arrays.input_shape, inputs.dtype)
        _require_matching_targets(self._arrays, program.output_width)
        return DenseNetwork(
            program,
            model,
            seed=member.seed,
            learning_rate=member.learning_rate,
            weight_decay=training.settings.weight_decay,
            learning_rate_factors=training.learning_rate_factors(member),
        )

    def _train(self, network: DenseNetwork, batches: Sequence[Tensor], mid_epoch: bool) -> float:
        sizes, max_rows = [batch.shape[0] for batch in batches], self._training.settings.batch_size
        smallest, largest = min(sizes, default=0), max(sizes, default=0)
        if not 1 <= smallest <= largest <= max_rows:
            raise ValueError(
                f"batches have {smallest} to {largest} rows: give each 1 to {max_rows}."
            )
        row_order = torch.cat(list(batches)).numpy()
        rows = len(self._arrays.inputs)
        if not 0 <= row_order.min() <= row_order.max() < rows:
            raise IndexError(f"a batch names rows outside the {rows} of the training split")
        if network.program.has_batch_norm and 1 in sizes:
            raise ValueError(
                "a batch of one row has no variance, and the model has batch normalisation: "
                "make batches of two rows or more."
            )
        arrays = self._arrays
        if self._training.noise_scale is not None:
            arrays = self._noisy_arrays(network, row_order, sizes)
            row_order = np.arange(len(row_order))
        return network.train(
            self._kernels,
            arrays,
            row_order,
            sizes,
            self._workspace,
            mid_epoch,
            self._training.schedule_factor,
        )

    def _noisy_arrays(
        self, network: DenseNetwork, row_order: Array, sizes: Sequence[int]
    ) -> TrainingArrays:
        """Return the rows of batches in their order, their inputs with the noise of each step."""
        training, arrays = self._training, self._arrays
        batches = torch.split(torch.from_numpy(row_order), list(sizes))
        rows = training.arrays.train.inputs
        inputs = torch.cat(
            [
                training.noisy(rows[batch], network.seed, network.step + step)
                for step, batch in enumerate(batches)
            ]
        )
        return arrays._replace(
            inputs=_flatten_rows(inputs),
            labels=arrays.labels[row_order] if len(arrays.labels) else arrays.labels,
            targets=arrays.targets[row_order] if len(arrays.targets) else arrays.targets,
        )


def _flatten_rows(inputs: Tensor) -> Array:
    """Return inputs as rows x features."""
    flat = inputs.detach().reshape(len(inputs), -1) if len(inputs) else inputs.flatten(1)
    return np.ascontiguousarray(flat.numpy())


def _training_arrays(training: TrainingSetup) -> TrainingArrays:
    """Return the training data as arrays.

    Raises:
        EngineUnsupported: A setting, type, loss or task that the compiled code does not know.
    """
    data, settings = training.arrays, training.settings
    inputs, targets = data.train.inputs, data.train.targets
    if training.device.type != "cpu" or settings.autocast is not None:
        raise EngineUnsupported("it computes on the CPU, in the model's own precision")
    if settings.accumulate != 1:
        raise EngineUnsupported(f"it takes a batch at once, accumulate is {settings.accumulate}")
    if inputs.dtype not in (torch.float32, torch.float64) or inputs.ndim < 2:
        raise EngineUnsupported(f"the inputs are {inputs.dtype} in {inputs.ndim} dimensions")
    if any(
        len(split) and split.inputs.dtype != inputs.dtype for split in (data.validation, data.test)
    ):
        raise EngineUnsupported("the splits are of several types")
    loss, task = _loss_kind(training.objective)
    if task != data.task:
        raise EngineUnsupported(f"its loss is for a {task}, the data asks for a {data.task}")
    rows, is_classification = _flatten_rows(inputs), task == Task.CLASSIFICATION
    if targets.dtype != (torch.int64 if is_classification else inputs.dtype):
        raise EngineUnsupported(f"the targets of this {task} are {targets.dtype}")
    if targets.ndim > (1 if is_classification else 2):
        raise EngineUnsupported(f"the targets of this {task} have {targets.ndim} dimensions")
    return TrainingArrays(
        loss=int(loss),
        inputs=rows,
        labels=targets.numpy() if is_classification else np.empty(0, np.int64),
        targets=np.empty((0, 0), rows.dtype) if is_classification else _flatten_rows(targets),
    )


def _loss_kind(objective: Objective) -> tuple[LossKind, Task]:
    if isinstance(objective, ModuleObjective):
        for name, loss in _LOSS_KINDS.items():
            task, function = LOSSES[name]
            if objective.loss_function is function:
                return loss, task
    raise EngineUnsupported("it knows the built-in losses only")


def _require_matching_targets(arrays: TrainingArrays, output_width: int) -> None:
    """Raise `EngineUnsupported` for outputs that do not match the targets."""
    if arrays.loss == LossKind.CROSS_ENTROPY:
        lowest, highest = arrays.labels.min(), arrays.labels.max()
        if lowest < 0 or highest >= output_width:
            raise EngineUnsupported(
                f"the classes run from {lowest} to {highest}, the outputs are {output_width}"
            )
    elif arrays.targets.shape[1] != output_width:
        raise EngineUnsupported(
            f"the targets have {arrays.targets.shape[1]} columns, the outputs are {output_width}"
        )
