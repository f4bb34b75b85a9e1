"""A stack: networks padded to common widths, all trained by the same operations.

Parameters and buffers have a leading axis of members; one forward pass of the template, mapped over
that axis, computes them all, and one backward pass gives all gradients. Members share no number:
the loss of one may overflow, and the others are unchanged.

Entry point: `Stack`.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from ...model.keyed_dropout import KeyedDropout, mask_key
from ...training.evaluate import concatenate_outputs
from ...training.snapshot import NetworkState, matching_states, require_equal_updates
from ...user_code import is_out_of_memory
from ..base import EpochLoss, TrainingSetup
from .adamw import StackedAdamW
from .contents import StackedTensors
from .cuda_graph import CaptureFactory, GraphedStep, capture_function
from .mappable import make_pooling_mappable, mappable_attention
from .padded_norms import member_masks, replace_norms
from .padding import BuiltMember, crop, frozen_and_buffers, trainable_parameters


@final
class Stack:
    """Members that are trained together, step by step.

    Attributes:
        member_indices: Index of each member in the session.
    """

    def __init__(
        self,
        training: TrainingSetup,
        networks: Sequence[BuiltMember],
        template: nn.Module,
        capture: CaptureFactory = capture_function,
    ) -> None:
        """Stack networks.

        Args:
            training: What they have in common.
            networks: Networks of the template's structure; their tensors are copied.
            template: A network of the common widths; its norms and pooling are adapted in place.
            capture: Returns how steps are captured on a device.
        """
        replace_norms(template, [network.model for network in networks])
        make_pooling_mappable(template)
        parameters, other_tensors = trainable_parameters(template), frozen_and_buffers(template)
        member_tensors = [
            trainable_parameters(network.model)
            | frozen_and_buffers(network.model)
            | member_masks(template, network.model)
            for network in networks
        ]
        self._training, self._template, self._capture = training, template, capture
        self.member_indices = [network.index for network in networks]
        self._seeds = [network.member.seed for network in networks]
        self._sizes = [
            {name: network.shape for name, network in tensors.items()} for tensors in member_tensors
        ]
        self._epoch_losses = [EpochLoss() for _ in networks]
        self._state_names = _tensor_names(networks[0].model)
        self._dropout_key_names = [
            f"{name}.key"
            for name, module in template.named_modules()
            if isinstance(module, KeyedDropout)
        ]
        self._non_persistent = [
            name
            for name, _ in networks[0].model.named_buffers()
            if name not in (*self._state_names.values(), *self._dropout_key_names)
        ]
        self._step = 0
        self._current = StackedTensors.of(member_tensors, parameters, other_tensors)
        self._best: StackedTensors | None = None
        self._has_best = [False] * len(networks)
        self._optimizer = self._make_optimizer(networks)

    def advance(
        self, rows: Tensor, batch_sizes: Sequence[int], mid_epoch: bool = False
    ) -> list[float]:
        """Train on batches.

        Args:
            rows: Row numbers [members, rows] of the training split, on the device.
            batch_sizes: Rows in each batch; together all.
            mid_epoch: Whether the means are over the earlier rows of the epoch, too.

        Returns:
            Each member's mean loss.
        """
        self._template.train()
        keys = self._draw_keys(self._step, len(batch_sizes))
        resume_totals = [epoch_loss.resume_total(mid_epoch) for epoch_loss in self._epoch_losses]
        totals = torch.tensor(resume_totals, dtype=torch.float64, device=rows.device)
        batch_rows = torch.split(rows, list(batch_sizes), dim=1)
        # Freed after this call with its graphs: another stack, or evaluation, needs the memory.
        graphed_step = GraphedStep(
            self._training.objective, self._template, self._capture(rows.device)
        )
        for step, batch in enumerate(self._training.load_batches(batch_rows)):
            self._set_keys(keys[step])
            self._optimizer.set_factor(self._training.schedule_factor(self._step))
            inputs, targets = batch
            totals += (
                graphed_step(self._train_step, self._noisy(inputs), targets) * batch_sizes[step]
            )
            self._step += 1
        results = zip(self._epoch_losses, totals.tolist(), strict=True)
        return [epoch_loss.update(total, sum(batch_sizes)) for epoch_loss, total in results]

    def gradients(self, rows: Tensor, step: int) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Return the losses and each member's gradients by name, as in a step of training."""
        self._template.train()
        self._set_keys(self._draw_keys(step, 1)[0])
        losses, flat = self._gradient(*next(self._training.load_batches([rows])))
        views = self._current.layout.views(flat)
        return losses, [
            {name: crop(view[position], sizes[name]) for name, view in views.items()}
            for position, sizes in enumerate(self._sizes)
        ]

    @torch.no_grad()
    def predict(self, positions: Sequence[int], inputs: Tensor) -> list[Any]:
        """Return the outputs of the members at some positions for all rows, in evaluation mode."""
        self._template.eval()
        is_all = list(positions) == list(range(len(self.member_indices)))
        stack = self if is_all else self.subset(positions)
        weights = stack._current.layout.views(stack._current.weights)
        forward = vmap(self._forward, in_dims=(0, 0, None))
        batches = [
            forward(weights, stack._current.frozen_and_buffers, rows.to(self._training.device))
            for rows in torch.split(inputs, self._training.settings.eval_batch)
        ]
        return [
            concatenate_outputs(
                [
                    tree_map(lambda output, position=position: output[position], batch)
                    for batch in batches
                ]
            )
            for position in range(len(positions))
        ]

    def save_best(self, positions: Sequence[int]) -> None:
        """Keep a copy of some members' weights and buffers."""
        if self._best is None:
            self._best = self._current.clone()
        else:
            self._best.copy_(
                self._current, self._position_tensor(positions), self._current.named_stacks.keys()
            )
        for position in positions:
            self._has_best[position] = True

    def restore_best(self, positions: Sequence[int]) -> None:
        """Put the copies back into place: of the tensors that the `state_dict` has."""
        assert self._best is not None
        self._current.copy_(
            self._best, self._position_tensor(positions), self._state_names.values()
        )

    def subset(self, positions: Sequence[int]) -> "Stack":
        """Return a stack of some members, with their weights, moments and best copies."""
        position_tensor = self._position_tensor(positions)
        subset = copy(self)
        subset._current = self._current.subset(position_tensor)
        subset.member_indices = [self.member_indices[position] for position in positions]
        subset._seeds = [self._seeds[position] for position in positions]
        subset._sizes = [self._sizes[position] for position in positions]
        subset._epoch_losses = [replace(self._epoch_losses[position]) for position in positions]
        subset._has_best = [self._has_best[position] for position in positions]
        if self._best is not None:
            subset._best = self._best.subset(position_tensor)
        subset._optimizer = self._optimizer.subset(
            partial(self._current.layout.subset, positions=position_tensor)
        )
        return subset

    def state_dict(self, position: int) -> dict[str, Tensor]:
        """Return a member's `state_dict`, copied to the CPU."""
        return self._state_dict_of(self._current, position)

    def network_state(self, position: int) -> NetworkState:
        """Return all that a member's next step depends on."""
        sizes, names = self._sizes[position], self._current.layout.shapes.keys()
        states = {
            "model": self._state_dict_of(self._current, position),
            "buffer": self._current.read(position, sizes, self._non_persistent),
            "updates": {name: torch.tensor(float(self._step)) for name in names},
        }
        if self._best is not None and self._has_best[position]:
            states["best"] = self._state_dict_of(self._best, position)
        for kind, moments in self._moments().items():
            states[kind] = moments.read(position, sizes, names)
        return NetworkState(
            tensors={
                f"{kind}.{name}": tensor
                for kind, state in states.items()
                for name, tensor in state.items()
            },
            metadata={"step": self._step, "loss": self._epoch_losses[position].state_dict},
        )

    def load_state(self, states: Mapping[int, NetworkState]) -> dict[int, Exception]:
        """Put members where they were, by position; all have done the same number of steps.

        Returns:
            Position to why the state does not fit.
        """
        incompatible: dict[int, Exception] = {}
        for position, member_state in states.items():
            try:
                self._restore_member(position, member_state)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                incompatible[position] = error
            else:
                self._step = member_state.metadata["step"]
        self._optimizer.load_state(self._step)
        return incompatible

    def _restore_member(self, position: int, state: NetworkState) -> None:
        sizes = self._sizes[position]
        require_equal_updates(state)
        model, best = matching_states(state, self.state_dict(position))
        if best:
            self._current.write(
                position, sizes, {self._state_names[key]: tensor for key, tensor in best.items()}
            )
            self.save_best([position])
        self._current.write(
            position, sizes, {self._state_names[key]: tensor for key, tensor in model.items()}
        )
        buffers = state.tensors_of("buffer")
        self._current.write(
            position,
            sizes,
            {name: buffers[name] for name in self._non_persistent if name in buffers},
        )
        for kind, moments in self._moments().items():
            moments.write(position, sizes, state.tensors_of(kind))
        self._epoch_losses[position] = EpochLoss(*state.metadata["loss"])

    def _moments(self) -> dict[str, StackedTensors]:
        layout = self._current.layout
        return {
            kind: StackedTensors(layout=layout, weights=flat)
            for kind, flat in self._optimizer.moments.items()
        }

    def _state_dict_of(self, contents: StackedTensors, position: int) -> dict[str, Tensor]:
        """Return a member's tensors by the keys of its `state_dict`."""
        tensors = contents.read(position, self._sizes[position], self._state_names.values())
        return {key: tensors[name] for key, name in self._state_names.items()}

    def _noisy(self, inputs: Tensor) -> Tensor:
        """Return a batch [members, rows, …] with each member's noise of the present step."""
        if self._training.noise_scale is None:
            return inputs
        return torch.stack(
            [
                self._training.noisy(rows, seed, self._step)
                for rows, seed in zip(inputs, self._seeds, strict=True)
            ]
        )

    def _train_step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step on batches [members, rows, …], in place; return the losses [members]."""
        losses, gradient = self._gradient(inputs, targets)
        self._optimizer.update(self._current.weights, gradient)
        return losses

    def _gradient(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses [members] of batches [members, rows, …], and their flat gradient."""
        weights = self._current.weights.detach().requires_grad_()
        views = self._current.layout.views(weights)
        losses = vmap(self._loss)(views, self._current.frozen_and_buffers, inputs, targets)
        (gradient,) = torch.autograd.grad(losses.sum(), weights)
        return losses.detach(), gradient

    def _loss(
        self,
        weights: dict[str, Tensor],
        other_tensors: dict[str, Tensor],
        inputs: Tensor,
        targets: Tensor,
    ) -> Tensor:
        """Return one member's loss."""
        return self._training.objective.loss(self._forward(weights, other_tensors, inputs), targets)

    def _forward(
        self, weights: dict[str, Tensor], other_tensors: dict[str, Tensor], inputs: Tensor
    ) -> Any:
        """Return one member's outputs."""
        with mappable_attention(inputs.device):
            return functional_call(self._template, (weights, other_tensors), (inputs,))

    def _draw_keys(self, first_step: int, step_count: int) -> Tensor:
        """Return the dropout keys [steps, layers, members] of some steps."""
        keys = np.frompyfunc(mask_key, 3, 1)(
            np.array(self._seeds, dtype=object),
            np.arange(len(self._dropout_key_names), dtype=object)[:, None],
            np.arange(first_step, first_step + step_count, dtype=object)[:, None, None],
        )
        return torch.from_numpy(keys.astype(np.int32)).to(self._current.weights.device)

    def _set_keys(self, keys: Tensor) -> None:
        for name, key in zip(self._dropout_key_names, keys, strict=True):
            self._current.frozen_and_buffers[name].copy_(key)

    def _position_tensor(self, positions: Sequence[int]) -> Tensor:
        return torch.tensor(list(positions), dtype=torch.int64, device=self._current.weights.device)

    def _make_optimizer(self, networks: Sequence[BuiltMember]) -> StackedAdamW:
        decay_factors = [network.decay_factors for network in networks]
        decaying = any(factor < 1 for network in decay_factors for factor in network.values())
        return StackedAdamW(
            self._expand([network.rates for network in networks]),
            self._expand(decay_factors) if decaying else None,
            scheduled=self._training.settings.schedule != "constant",
        )

    def _expand(self, values: Sequence[Any]) -> Tensor:
        """Return a flat tensor of each member's value in its part of each parameter."""
        layout = self._current.layout
        views = layout.views(torch.zeros_like(self._current.weights))
        for name, view in views.items():
            for padded, sizes, member_values in zip(view, self._sizes, values, strict=True):
                crop(padded, sizes[name]).fill_(member_values[name])
        return layout.flat(views)


def _tensor_names(model: nn.Module) -> dict[str, str]:
    """Return the keys of a model's `state_dict`, each with the name of its parameter or buffer."""
    tensors = {
        id(tensor): name
        for name, tensor in (trainable_parameters(model) | frozen_and_buffers(model)).items()
    }
    return {key: tensors[id(tensor)] for key, tensor in model.state_dict(keep_vars=True).items()}
