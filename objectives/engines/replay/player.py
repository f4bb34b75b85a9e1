"""A player: one member's programs, how they are learnt and proven, and the loop over its batches.

Entry point: `ReplayRunner`.
"""

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from ...model import keyed_dropout
from ..base import TrainingSetup
from ..plain import PlainNetwork
from .codegen import ReplayProgram, compile_tape
from .operators import pack_scalars
from .purity import hidden_state
from .tape import Recorder


@final
class ReplayRunner:
    """Trains one network: plainly at first, then by programs shown to do the same.

    Attributes:
        unsupported_reason: Why its steps cannot be repeated; None as long as they can.
    """

    def __init__(self, training: TrainingSetup) -> None:
        """Make ready.

        Args:
            training: What the members have in common.
        """
        self.unsupported_reason: str | None = None
        self._training = training
        self._recorded: dict[int, ReplayProgram] = {}
        self._proven: dict[int, ReplayProgram] = {}

    def is_proven(self, rows: int) -> bool:
        """Whether batches of so many rows are replayed."""
        return rows in self._proven

    def advance(
        self, network: PlainNetwork, batches: Sequence[Tensor], mid_epoch: bool = False
    ) -> float:
        """Train on batches; returns the mean loss over their rows, and those before if midway."""
        split = self._training.data.train
        network.model.train()
        total = torch.tensor(network.epoch_loss.resume_total(mid_epoch), dtype=torch.float64)
        with network.randomness:
            for batch in batches:
                keyed_dropout.set_step(network.keyed_dropouts, network.seed, network.step)
                inputs = split.inputs.index_select(0, batch)
                targets = split.targets.index_select(0, batch)
                program = self._proven.get(len(batch))
                if program is None:
                    loss = self._unproven_step(network, inputs, targets)
                else:
                    with torch.inference_mode():
                        loss = program.run(inputs, targets)
                total += loss * len(batch)
                network.step += 1
        return network.epoch_loss.update(float(total), sum(map(len, batches)))

    def _unproven_step(self, network: PlainNetwork, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step without a proven program, and come to know more of it."""
        # The first step makes the optimizer's state, which no other does.
        if self.unsupported_reason is not None or not network.optimizer.state:
            return network.train_step(inputs, targets)
        if len(inputs) in self._recorded:
            return self._check_equivalence(
                network, self._recorded.pop(len(inputs)), inputs, targets
            )
        return self._record_step(network, inputs, targets)

    def _record_step(self, network: PlainNetwork, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step and write down what it does."""
        if not self._proven:
            _pack_step_counters(network.optimizer)
        state_before = hidden_state(network.model)
        with Recorder((inputs, targets)) as recorder:
            loss = network.train_step(inputs, targets)
        tape = recorder.finish(loss)
        self.unsupported_reason = recorder.unsupported_reason
        if self.unsupported_reason is None and hidden_state(network.model) != state_before:
            self.unsupported_reason = (
                "a step changes more than parameters, buffers and torch's random stream"
            )
        if self.unsupported_reason is None:
            self._recorded[len(inputs)] = compile_tape(tape)
        network.optimizer.zero_grad(set_to_none=True)  # a replay keeps no gradients
        return loss

    def _check_equivalence(
        self, network: PlainNetwork, program: ReplayProgram, inputs: Tensor, targets: Tensor
    ) -> Tensor:
        """Do a step both ways; the plain one is what remains."""
        tensors = list(
            {
                id(tensor): tensor for tensor in (*_mutable_tensors(network), *program.mutated)
            }.values()
        )
        saved_values, rng_state = [tensor.clone() for tensor in tensors], torch.get_rng_state()
        with torch.inference_mode():
            replayed = program.run(inputs, targets)
        replayed_values = [tensor.clone() for tensor in tensors]
        with torch.no_grad():
            for tensor, saved in zip(tensors, saved_values, strict=True):
                tensor.copy_(saved)
        torch.set_rng_state(rng_state)
        loss = network.train_step(inputs, targets)
        network.optimizer.zero_grad(set_to_none=True)
        if all(map(_bitwise_equal, (replayed, *replayed_values), (loss, *tensors))):
            self._proven[len(inputs)] = program
        else:
            self.unsupported_reason = "a repeated step does not give the plain step's numbers"
        return loss


def _mutable_tensors(network: PlainNetwork) -> Iterator[Tensor]:
    """Yield what a step is meant to change."""
    yield from network.model.parameters()
    yield from network.model.buffers()
    for state in network.optimizer.state.values():
        yield from state.values()


def _pack_step_counters(optimizer: torch.optim.AdamW) -> None:
    for group in optimizer.param_groups:
        states = [
            optimizer.state[parameter]
            for parameter in group["params"]
            if parameter in optimizer.state
        ]
        if states:
            pack_scalars([state["step"] for state in states])


def _bitwise_equal(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors of one shape hold the same bits."""
    bits = (tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (left, right))
    return left.dtype == right.dtype and torch.equal(*bits)
