"""A player: one member's programs, how they are learnt and proven, and the loop over its batches.

Entry point: `Player`.
"""

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from ...model import keyed_dropout
from ..base import Training
from ..plain import Network
from .codegen import Program, compile_tape
from .operators import side_by_side
from .purity import hidden_state
from .tape import Recorder


@final
class Player:
    """Trains one network: plainly at first, then by programs shown to do the same.

    Attributes:
        refusal: Why its steps cannot be repeated; None as long as they can.
    """

    def __init__(self, training: Training) -> None:
        """Make ready.

        Args:
            training: What the members have in common.
        """
        self.refusal: str | None = None
        self._training = training
        self._recorded: dict[int, Program] = {}
        self._proven: dict[int, Program] = {}

    def proven(self, rows: int) -> bool:
        """Whether batches of so many rows are replayed."""
        return rows in self._proven

    def advance(self, network: Network, batches: Sequence[Tensor], midway: bool = False) -> float:
        """Train on batches; returns the mean loss over their rows, and those before if midway."""
        split = self._training.data.train
        network.model.train()
        total = torch.tensor(network.loss.so_far(midway), dtype=torch.float64)
        with network.randomness:
            for batch in batches:
                keyed_dropout.set_step(network.keyed, network.seed, network.step)
                inputs = split.inputs.index_select(0, batch)
                targets = split.targets.index_select(0, batch)
                program = self._proven.get(len(batch))
                if program is None:
                    loss = self._learn(network, inputs, targets)
                else:
                    with torch.inference_mode():
                        loss = program.run(inputs, targets)
                total += loss * len(batch)
                network.step += 1
        return network.loss.now(float(total), sum(map(len, batches)))

    def _learn(self, network: Network, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step without a proven program, and come to know more of it."""
        # The first step makes the optimizer's state, which no other does.
        if self.refusal is not None or not network.optimizer.state:
            return network.learn(inputs, targets)
        if len(inputs) in self._recorded:
            return self._prove(network, self._recorded.pop(len(inputs)), inputs, targets)
        return self._record(network, inputs, targets)

    def _record(self, network: Network, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step and write down what it does."""
        if not self._proven:
            _lay_counters_side_by_side(network.optimizer)
        before = hidden_state(network.model)
        with Recorder((inputs, targets)) as recorder:
            loss = network.learn(inputs, targets)
        tape = recorder.finish(loss)
        self.refusal = recorder.refusal
        if self.refusal is None and hidden_state(network.model) != before:
            self.refusal = "a step changes more than parameters, buffers and torch's random stream"
        if self.refusal is None:
            self._recorded[len(inputs)] = compile_tape(tape)
        network.optimizer.zero_grad(set_to_none=True)  # a replay keeps no gradients
        return loss

    def _prove(self, network: Network, program: Program, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step both ways; the plain one is what remains."""
        held = list({id(one): one for one in (*_held(network), *program.changed)}.values())
        before, stream = [one.clone() for one in held], torch.get_rng_state()
        with torch.inference_mode():
            replayed = program.run(inputs, targets)
        found = [one.clone() for one in held]
        with torch.no_grad():
            for one, old in zip(held, before, strict=True):
                one.copy_(old)
        torch.set_rng_state(stream)
        loss = network.learn(inputs, targets)
        network.optimizer.zero_grad(set_to_none=True)
        if all(map(_identical, (replayed, *found), (loss, *held))):
            self._proven[len(inputs)] = program
        else:
            self.refusal = "a repeated step does not give the plain step's numbers"
        return loss


def _held(network: Network) -> Iterator[Tensor]:
    """Yield what a step is meant to change."""
    yield from network.model.parameters()
    yield from network.model.buffers()
    for state in network.optimizer.state.values():
        yield from state.values()


def _lay_counters_side_by_side(optimizer: torch.optim.AdamW) -> None:
    for group in optimizer.param_groups:
        states = [optimizer.state[one] for one in group["params"] if one in optimizer.state]
        if states:
            side_by_side([state["step"] for state in states])


def _identical(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape hold the same bits."""
    bits = (tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return one.dtype == other.dtype and torch.equal(*bits)
