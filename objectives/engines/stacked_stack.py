"""A stack: networks padded to common widths, all trained by the same operations.

Parameters and buffers have a leading axis of members; one forward pass of the template, mapped over
that axis, computes them all, and one backward pass gives all gradients. No number of a member meets
another's: its losses, exploding or not, are its own.

Entry point: `Stack`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from ..dropout import KeyedDropout, key_of
from ..evaluate import joined
from .base import Training
from .padding import Layout, Network, corner, held, stacked, trainable
from .padding_norms import masks, swap_norms
from .stacked_optimizer import StackedAdamW


@final
class Stack:
    """Members in step with each other.

    Attributes:
        places: Of the members, in their team.
    """

    def __init__(
        self, training: Training, networks: Sequence[Network], template: nn.Module
    ) -> None:
        """Stack networks.

        Args:
            training: What they have in common.
            networks: Of the template's structure; copied from.
            template: A network of the common widths; its norms are swapped in place.
        """
        swap_norms(template, [one.model for one in networks])
        parameters, around = trainable(template), held(template)
        own = [
            trainable(one.model) | held(one.model) | masks(template, one.model) for one in networks
        ]
        self._training, self._template = training, template
        self._layout = Layout(
            members=len(networks), shapes={name: p.shape for name, p in parameters.items()}
        )
        self.places = [one.place for one in networks]
        self._seeds = [one.member.seed for one in networks]
        self._sizes = [{name: one.shape for name, one in mine.items()} for mine in own]
        self._names = _names(networks[0].model)
        self._keys = [
            f"{name}.key"
            for name, module in template.named_modules()
            if isinstance(module, KeyedDropout)
        ]
        self._step = 0
        self._weights = self._layout.flat(
            {
                name: stacked([mine[name] for mine in own], torch.zeros_like(padded))
                for name, padded in parameters.items()
            }
        )
        self._held = {
            name: stacked([mine[name] for mine in own], padded) for name, padded in around.items()
        }
        self._best: tuple[Tensor, dict[str, Tensor]] | None = None
        self._optimizer = self._make_optimizer(networks)

    def advance(self, rows: Tensor, lengths: Sequence[int]) -> list[float]:
        """Train on batches.

        Args:
            rows: Row numbers [members, rows] of the training split, on its device.
            lengths: Rows in each batch; together all.

        Returns:
            Each member's mean loss.
        """
        self._template.train()
        keys = self._draw_keys(self._step, len(lengths))
        totals = torch.zeros(len(self.places), dtype=torch.float64, device=rows.device)
        for step, batch in enumerate(torch.split(rows, list(lengths), dim=1)):
            self._set_keys(keys[step])
            losses, gradient = self._gradient(batch)
            self._optimizer.update(self._weights, gradient)
            totals += losses * batch.shape[1]
            self._step += 1
        return [total / sum(lengths) for total in totals.tolist()]

    def gradients(self, rows: Tensor, step: int) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Return the losses and each member's gradients by name, as in a step of training."""
        self._template.train()
        self._set_keys(self._draw_keys(step, 1)[0])
        losses, flat = self._gradient(rows)
        views = self._layout.views(flat)
        return losses, [
            {name: corner(view[n], sizes[name]) for name, view in views.items()}
            for n, sizes in enumerate(self._sizes)
        ]

    @torch.no_grad()
    def predict(self, indices: Sequence[int], inputs: Tensor) -> list[Any]:
        """Return the outputs of some members, by index, for all rows, in evaluation mode."""
        self._template.eval()
        everybody = list(indices) == list(range(len(self.places)))
        asked = self if everybody else self.part(indices)
        weights = asked._layout.views(asked._weights)
        forward = vmap(self._forward, in_dims=(0, 0, None))
        batches = [
            forward(weights, asked._held, rows)
            for rows in torch.split(inputs, self._training.settings.eval_batch)
        ]
        return [
            joined([tree_map(lambda one, n=n: one[n], batch) for batch in batches])
            for n in range(len(indices))
        ]

    def remember(self, indices: Sequence[int]) -> None:
        """Keep a copy of some members' weights and buffers."""
        if self._best is None:
            self._best = self._weights.clone(), {n: one.clone() for n, one in self._held.items()}
        else:
            self._copy((self._weights, self._held), self._best, indices)

    def recall(self, indices: Sequence[int]) -> None:
        """Put the copies back into place."""
        assert self._best is not None
        self._copy(self._best, (self._weights, self._held), indices)

    def part(self, indices: Sequence[int]) -> "Stack":
        """Return a stack of some members, with all that they have learnt and remembered."""
        rows = self._rows(indices)

        def select(flat: Tensor) -> Tensor:
            return self._layout.part(flat, rows)

        def chosen(stacks: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: one.index_select(0, rows) for name, one in stacks.items()}

        part = copy(self)
        part._layout = Layout(members=len(indices), shapes=self._layout.shapes)
        part.places = [self.places[n] for n in indices]
        part._seeds = [self._seeds[n] for n in indices]
        part._sizes = [self._sizes[n] for n in indices]
        part._weights, part._held = select(self._weights), chosen(self._held)
        if self._best is not None:
            part._best = select(self._best[0]), chosen(self._best[1])
        part._optimizer = self._optimizer.part(select)
        return part

    def state(self, index: int) -> dict[str, Tensor]:
        """Return a member's `state_dict`, copied to the CPU."""
        stacks = self._layout.views(self._weights) | self._held
        return {
            key: corner(stacks[name][index], self._sizes[index][name]).to("cpu", copy=True)
            for key, name in self._names.items()
        }

    def _gradient(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses [members] of batches [members, rows], and their flat gradient."""
        split, flat = self._training.data.train, rows.flatten()
        weights = self._weights.detach().requires_grad_()
        losses = vmap(self._loss)(
            self._layout.views(weights),
            self._held,
            split.inputs.index_select(0, flat).view(*rows.shape, *split.inputs.shape[1:]),
            split.targets.index_select(0, flat).view(*rows.shape, *split.targets.shape[1:]),
        )
        (gradient,) = torch.autograd.grad(losses.sum(), weights)
        return losses.detach(), gradient

    def _loss(
        self, weights: dict[str, Tensor], held: dict[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> Tensor:
        """Return one member's loss."""
        return self._training.objective.loss(self._forward(weights, held, inputs), targets)

    def _forward(self, weights: dict[str, Tensor], held: dict[str, Tensor], inputs: Tensor) -> Any:
        """Return one member's outputs."""
        with _mappable_attention(inputs.device):
            return functional_call(self._template, (weights, held), (inputs,))

    def _draw_keys(self, first: int, steps: int) -> Tensor:
        """Return the dropout keys [steps, layers, members] of so many steps."""
        keys = np.frompyfunc(key_of, 3, 1)(
            np.array(self._seeds, dtype=object),
            np.arange(len(self._keys), dtype=object)[:, None],
            np.arange(first, first + steps, dtype=object)[:, None, None],
        )
        return torch.from_numpy(keys.astype(np.int32)).to(self._weights.device)

    def _set_keys(self, keys: Tensor) -> None:
        for name, key in zip(self._keys, keys, strict=True):
            self._held[name].copy_(key)

    def _rows(self, indices: Sequence[int]) -> Tensor:
        return torch.tensor(list(indices), dtype=torch.int64, device=self._weights.device)

    def _copy(
        self,
        source: tuple[Tensor, dict[str, Tensor]],
        target: tuple[Tensor, dict[str, Tensor]],
        indices: Sequence[int],
    ) -> None:
        rows = self._rows(indices)
        old = self._layout.views(source[0]) | source[1]
        new = self._layout.views(target[0]) | target[1]
        for name, one in new.items():
            one.index_copy_(0, rows, old[name].index_select(0, rows))

    def _make_optimizer(self, networks: Sequence[Network]) -> StackedAdamW:
        kept = [one.kept for one in networks]
        decaying = any(share < 1 for one in kept for share in one.values())
        return StackedAdamW(
            self._spread([one.rates for one in networks]), self._spread(kept) if decaying else None
        )

    def _spread(self, numbers: Sequence[Any]) -> Tensor:
        """Return each member's number of each parameter at the parameter's own places, flat."""
        views = self._layout.views(torch.zeros_like(self._weights))
        for name, view in views.items():
            for padded, sizes, mine in zip(view, self._sizes, numbers, strict=True):
                corner(padded, sizes[name]).fill_(mine[name])
        return self._layout.flat(views)


@contextmanager
def _mappable_attention(device: torch.device) -> Iterator[None]:
    """Have attention computed by operations that take a stack at once.

    torch has no mapped form of the CPU's flash kernel, nor of the encoder layer's fast path.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _names(model: nn.Module) -> dict[str, str]:
    """Return the keys of a model's `state_dict`, each with the name that its tensor goes by."""
    tensors = {id(one): name for name, one in (trainable(model) | held(model)).items()}
    return {key: tensors[id(one)] for key, one in model.state_dict(keep_vars=True).items()}
