"""One network in the dense engine: its arrays, and how the compiled code is called with them.

Entry points: `DenseNetwork`, `allocate_workspace`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...model.keyed_dropout import mask_key
from ...training.snapshot import NetworkState, matching_states, require_equal_updates
from ..base import EpochLoss
from .activations import CHUNK
from .compile import Array, DenseProgram, ParameterSlot
from .kernel import CompiledKernels
from .passes import transpose_size
from .program import TrainingArrays, Workspace

_EVAL_BATCH = 256
"""Rows of a batch in evaluation: few enough for the cache."""


def allocate_workspace(
    dtype: npt.DTypeLike, programs: Iterable[DenseProgram], rows: int
) -> Workspace:
    """Return the workspace that networks share in turn, for batches of up to so many rows."""
    rows = max(rows, _EVAL_BATCH)
    programs = list(programs)
    max_width = max((program.max_width for program in programs), default=0)
    output_width = max((program.output_width for program in programs), default=0)
    scratch = np.empty((2, max(CHUNK, max_width, output_width * rows)))
    return Workspace(
        buffers=np.empty(
            max((program.buffer_width for program in programs), default=0) * rows, dtype
        ),
        deltas=np.empty((2, max_width * rows), dtype),
        transposed=np.empty(transpose_size(max_width), dtype),
        scratch=scratch,
        scratch_bits=scratch[1].view(np.int64),
    )


@final
class DenseNetwork:
    """Weights, moments and statistics of one network, flat.

    Attributes:
        program: The network's operations, and where its numbers lie.
        step: Updates so far.
        seed: The member's.
    """

    def __init__(
        self,
        program: DenseProgram,
        model: nn.Module,
        *,
        seed: int,
        learning_rate: float,
        weight_decay: float,
        learning_rate_factors: Mapping[str, float],
    ) -> None:
        """Copy a module's weights; the other arguments are those of the training."""
        self.program, self.step, self.seed = program, 0, seed
        dtype = program.coefficients.dtype
        self._parameter_state = np.zeros((4, program.parameter_count), dtype)
        self._statistics = np.zeros(program.statistic_count, dtype)
        self._initial_counters: dict[str, int] = {}
        for slot, value in zip(program.slots, model.state_dict().values(), strict=True):
            if slot.array == "counter":
                self._initial_counters[slot.name] = int(value)
            else:
                self._array_named(slot.array)[slot.span] = _transposed_flat(value)
        self._batch_count, self._epoch_loss = 0, EpochLoss()
        self._best_arrays: tuple[Array, Array, int] | None = None
        self._group_ends, self._rates = _rate_groups(
            program, learning_rate, weight_decay, learning_rate_factors
        )

    @property
    def parameter_count(self) -> int:
        """Return the numbers in the network's parameters."""
        return self.program.parameter_count

    def train(
        self,
        kernels: CompiledKernels,
        arrays: TrainingArrays,
        row_order: Array,
        batch_sizes: Sequence[int],
        workspace: Workspace,
        mid_epoch: bool = False,
        schedule_factor: Callable[[int], float] = lambda _step: 1.0,
    ) -> float:
        """Train on batches and return the mean loss of their rows.

        Args:
            kernels: The compiled functions.
            arrays: The training data.
            row_order: Row numbers, int64, one batch after the other.
            batch_sizes: Rows in each batch.
            workspace: Memory for intermediate results.
            mid_epoch: Whether the mean is over the earlier rows of the epoch, too.
            schedule_factor: Returns what the rates are multiplied by in a step, from 0.
        """
        batch_count = len(batch_sizes)
        total = kernels.train(
            self.program.table,
            self.program.coefficients,
            arrays,
            row_order,
            np.cumsum(batch_sizes, dtype=np.int64),
            self._dropout_keys(batch_count),
            self.step,
            self._group_ends,
            self._rates,
            np.array([schedule_factor(self.step + batch) for batch in range(batch_count)]),
            self._parameter_state,
            self._statistics,
            workspace,
            self._epoch_loss.resume_total(mid_epoch),
            True,
        )
        self.step += batch_count
        self._batch_count += batch_count
        return self._epoch_loss.update(total, sum(batch_sizes))

    def predict(self, kernels: CompiledKernels, inputs: Array, workspace: Workspace) -> Array:
        """Return the outputs for rows of inputs, in evaluation mode."""
        outputs = np.empty((len(inputs), self.program.output_width), inputs.dtype)
        kernels.evaluate(
            self.program.table,
            self.program.coefficients,
            inputs,
            self._parameter_state[0],
            self._statistics,
            np.empty(0, np.int64),
            workspace,
            _EVAL_BATCH,
            outputs,
            False,
        )
        return outputs

    def save_best(self) -> None:
        """Keep a copy of weights and statistics."""
        self._best_arrays = self._copy_arrays()

    def restore_best(self) -> None:
        """Put the copy back into place."""
        assert self._best_arrays is not None, "save_best comes first"
        self._parameter_state[0], self._statistics[:], self._batch_count = self._best_arrays

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of weights and statistics as the module's `state_dict`."""
        return self._to_state_dict(self._copy_arrays())

    def network_state(self) -> NetworkState:
        """Return all that the next step depends on."""
        states = {"model": self._copy_arrays()} | (
            {} if self._best_arrays is None else {"best": self._best_arrays}
        )
        tensors = {
            f"{kind}.{name}": value
            for kind, state in states.items()
            for name, value in self._to_state_dict(state).items()
        }
        for kind, values in zip(("exp_avg", "exp_avg_sq"), self._parameter_state[2:], strict=True):
            for slot in self._trained_slots():
                tensors[f"{kind}.{slot.name}"] = _read_slot(values, slot)
                tensors[f"updates.{slot.name}"] = torch.tensor(float(self.step))
        return NetworkState(
            tensors=tensors, metadata={"step": self.step, "loss": self._epoch_loss.state_dict}
        )

    def load_state(self, state: NetworkState) -> None:
        """Take over a state, before the first step.

        Raises:
            IncompatibleSnapshot: It is the state of another network.
        """
        model, best = matching_states(state, self.state_dict())
        if best:
            self._best_arrays = self._from_state_dict(best)
        self._parameter_state[0], self._statistics[:], self._batch_count = self._from_state_dict(
            model
        )
        self.step = require_equal_updates(state)
        for kind, values in zip(("exp_avg", "exp_avg_sq"), self._parameter_state[2:], strict=True):
            moments = state.tensors_of(kind)
            for slot in self._trained_slots():
                if slot.name in moments:
                    values[slot.span] = _transposed_flat(moments[slot.name])
        self._epoch_loss = EpochLoss(*state.metadata["loss"])

    def _trained_slots(self) -> list[ParameterSlot]:
        return [slot for slot in self.program.slots if slot.array == "parameters"]

    def _to_state_dict(self, arrays: tuple[Array, Array, int]) -> dict[str, Tensor]:
        parameters, statistics, batch_count = arrays
        by_name = {"parameters": parameters, "statistics": statistics}
        return {
            slot.name: torch.tensor(self._initial_counters[slot.name] + batch_count)
            if slot.array == "counter"
            else _read_slot(by_name[slot.array], slot)
            for slot in self.program.slots
        }

    def _from_state_dict(self, state: Mapping[str, Tensor]) -> tuple[Array, Array, int]:
        """Return a `state_dict` as arrays."""
        parameters, statistics, batch_count = self._copy_arrays()
        arrays = {"parameters": parameters, "statistics": statistics}
        for slot in self.program.slots:
            if slot.array == "counter":
                batch_count = int(state[slot.name]) - self._initial_counters[slot.name]
            else:
                arrays[slot.array][slot.span] = _transposed_flat(state[slot.name])
        return parameters, statistics, batch_count

    def _array_named(self, name: str) -> Array:
        return self._parameter_state[0] if name == "parameters" else self._statistics

    def _copy_arrays(self) -> tuple[Array, Array, int]:
        return self._parameter_state[0].copy(), self._statistics.copy(), self._batch_count

    def _dropout_keys(self, batch_count: int) -> Array:
        """Return the keys of the dropout masks, batches x layers."""
        layer_count = self.program.dropout_count
        keys = np.empty((batch_count, layer_count), np.int64)
        for batch, layer in np.ndindex(keys.shape):
            keys[batch, layer] = mask_key(self.seed, layer, self.step + batch)
        return keys


def _read_slot(values: Array, slot: ParameterSlot) -> Tensor:
    """Return a copy of a slot's numbers, in the module's own shape."""
    return torch.from_numpy(values[slot.span].reshape(slot.shape[::-1]).T.copy(order="C"))


def _transposed_flat(value: Tensor) -> Array:
    return value.numpy().T.ravel()


def _rate_groups(
    program: DenseProgram,
    learning_rate: float,
    weight_decay: float,
    learning_rate_factors: Mapping[str, float],
) -> tuple[Array, Array]:
    """Return where each group of parameters of one rate ends, and each group's rate and decay."""
    group_ends: list[int] = []
    group_factors: list[float] = []
    slots = [slot for slot in program.slots if slot.array == "parameters"]
    for slot in slots:
        factor = learning_rate_factors.get(slot.name, 1.0)
        if group_factors and group_factors[-1] == factor:
            group_ends.pop()
        else:
            group_factors.append(factor)
        group_ends.append(slot.span.stop)
    rates = [
        [learning_rate * group_factor, learning_rate * group_factor * (weight_decay / group_factor)]
        for group_factor in group_factors
    ]
    return np.array(group_ends, np.int64), np.array(rates, np.float64)
