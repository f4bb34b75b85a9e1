"""One member in the replay engine: how its programs are recorded, proven, and then repeated.

Entry point: `ReplayNetwork`.
"""

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from ...bitwise import bitwise_equal
from ...data.streams.batch import Batch
from ...training.step import training_step
from ..base import Member, TrainingSetup
from ..module_network import ModuleNetwork
from ..purity import hidden_state
from .codegen import ReplayProgram, compile_tape
from .operators import pack_scalars
from .tape import Recorder


@final
class ReplayNetwork(ModuleNetwork):
    """A member's module: trained by autograd at first, then by programs proven to do the same.

    Attributes:
        unsupported_reason: Why its steps cannot be repeated; None as long as they can.
    """

    def __init__(self, training: TrainingSetup, member: Member) -> None:
        """Build the network; raises what its builder raises."""
        super().__init__(training, member)
        self.unsupported_reason: str | None = None
        self._recorded: dict[int, ReplayProgram] = {}
        self._proven: dict[int, ReplayProgram] = {}
        if training.settings.schedule != "constant" and not _rates_as_tensors(self.optimizer):
            self.unsupported_reason = "its optimizer takes no scheduled rate that can be recorded"

    def is_proven(self, rows: int) -> bool:
        """Return whether batches of so many rows are trained on by a program."""
        return rows in self._proven

    def advance(self, batches: Sequence[Tensor], mid_epoch: bool = False) -> float:
        """Train on batches; see `ModuleNetwork`."""
        split = self.training.arrays.train
        self.model.train()
        total = torch.tensor(self.epoch_loss.resume_total(mid_epoch), dtype=torch.float64)
        with self.randomness:
            for batch in batches:
                self.begin_step()
                inputs = self.training.noisy(
                    split.inputs.index_select(0, batch), self.seed, self.step
                )
                targets = split.targets.index_select(0, batch)
                program = self._proven.get(len(batch))
                if program is None:
                    loss = self._unproven_step(inputs, targets)
                else:
                    with torch.inference_mode():
                        loss = program.run(inputs, targets)
                total += loss * len(batch)
                self.step += 1
        return self.epoch_loss.update(float(total), sum(map(len, batches)))

    def _train_step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do one update by autograd, as the plain engine does, and return the loss."""
        settings = self.training.settings
        return training_step(
            self.model,
            self.optimizer,
            self.training.objective.loss,
            Batch(args=(inputs,), targets=targets),
            settings.autocast,
            settings.accumulation_steps(len(inputs)),
        )

    def _unproven_step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step on a batch without a proven program: record one, or prove the recorded one."""
        # The first step makes the optimizer's state, which no other does.
        if self.unsupported_reason is not None or not self.optimizer.state:
            return self._train_step(inputs, targets)
        if len(inputs) in self._recorded:
            return self._prove(self._recorded.pop(len(inputs)), inputs, targets)
        return self._record(inputs, targets)

    def _record(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step and record its operators as a program."""
        if not self._proven:
            _pack_step_counters(self.optimizer)
        state_before = hidden_state(self.model)
        with Recorder((inputs, targets)) as recorder:
            loss = self._train_step(inputs, targets)
        tape = recorder.finish(loss)
        self.unsupported_reason = recorder.unsupported_reason
        if self.unsupported_reason is None and hidden_state(self.model) != state_before:
            self.unsupported_reason = (
                "a step changes more than parameters, buffers and torch's random stream"
            )
        if self.unsupported_reason is None:
            self._recorded[len(inputs)] = compile_tape(tape)
        self.optimizer.zero_grad(set_to_none=True)  # a replay keeps no gradients
        return loss

    def _prove(self, program: ReplayProgram, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step by the program and by autograd, and compare the bits; the latter remains."""
        tensors = list(
            {id(tensor): tensor for tensor in (*self._mutable_tensors(), *program.mutated)}.values()
        )
        saved_values, rng_state = [tensor.clone() for tensor in tensors], torch.get_rng_state()
        with torch.inference_mode():
            replayed = program.run(inputs, targets)
        replayed_values = [tensor.clone() for tensor in tensors]
        with torch.no_grad():
            for tensor, saved in zip(tensors, saved_values, strict=True):
                tensor.copy_(saved)
        torch.set_rng_state(rng_state)
        loss = self._train_step(inputs, targets)
        self.optimizer.zero_grad(set_to_none=True)
        if all(map(bitwise_equal, (replayed, *replayed_values), (loss, *tensors))):
            self._proven[len(inputs)] = program
        else:
            self.unsupported_reason = "a repeated step does not give the plain step's numbers"
        return loss

    def _mutable_tensors(self) -> Iterator[Tensor]:
        """Yield what a step is meant to change."""
        yield from self.model.parameters()
        yield from self.model.buffers()
        for state in self.optimizer.state.values():
            yield from state.values()


def _rates_as_tensors(optimizer: torch.optim.AdamW) -> bool:
    """Put the rates into tensors, which a recorded step reads anew; return whether it can.

    torch's fused kernel reads a rate of float64, with the result of the number itself.
    """
    if not all(group["fused"] for group in optimizer.param_groups):
        return False
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
    return True


def _pack_step_counters(optimizer: torch.optim.AdamW) -> None:
    for group in optimizer.param_groups:
        states = [
            optimizer.state[parameter]
            for parameter in group["params"]
            if parameter in optimizer.state
        ]
        if states:
            pack_scalars([state["step"] for state in states])
