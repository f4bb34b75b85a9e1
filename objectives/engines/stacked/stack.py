"""A stack: networks padded to common widths, all trained by the same operations.

Parameters and buffers have a leading axis of members; one forward pass of the template, mapped over
that axis, computes them all, and one backward pass gives all gradients. No number of a member meets
another's: its losses, exploding or not, are its own.

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

from ...model.keyed_dropout import KeyedDropout, key_of
from ...training.evaluate import joined
from ...training.snapshot import Progress, require_alike, require_in_step
from ...user_code import is_out_of_memory
from ..base import EpochLoss, Training
from .adamw import StackedAdamW
from .attention import mappable_attention
from .contents import Contents
from .cuda_graph import Repeater, capture_on
from .padded_norms import masks, swap_norms
from .padding import Network, corner, held, trainable


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
        self.places = [one.place for one in networks]
        self._seeds = [one.member.seed for one in networks]
        self._sizes = [{name: one.shape for name, one in mine.items()} for mine in own]
        self._losses = [EpochLoss() for _ in networks]
        self._names = _names(networks[0].model)
        self._keys = [
            f"{name}.key"
            for name, module in template.named_modules()
            if isinstance(module, KeyedDropout)
        ]
        self._unstated = [
            name
            for name, _ in networks[0].model.named_buffers()
            if name not in (*self._names.values(), *self._keys)
        ]
        self._step = 0
        self._now = Contents.of(own, parameters, around)
        self._best: Contents | None = None
        self._remembered = [False] * len(networks)
        self._optimizer = self._make_optimizer(networks)

    def advance(self, rows: Tensor, lengths: Sequence[int], midway: bool = False) -> list[float]:
        """Train on batches.

        Args:
            rows: Row numbers [members, rows] of the training split, on the device.
            lengths: Rows in each batch; together all.
            midway: Whether the means are to be over the rows of the calls before, too.

        Returns:
            Each member's mean loss.
        """
        self._template.train()
        keys = self._draw_keys(self._step, len(lengths))
        before = [one.so_far(midway) for one in self._losses]
        totals = torch.tensor(before, dtype=torch.float64, device=rows.device)
        drawn = torch.split(rows, list(lengths), dim=1)
        # Gone with this call, graphs and all: another stack, or evaluation, needs their memory.
        learn = Repeater(self._training.objective, self._template, capture_on(rows.device))
        for step, batch in enumerate(self._training.feed(drawn)):
            self._set_keys(keys[step])
            totals += learn(self._learned, *batch) * lengths[step]
            self._step += 1
        found = zip(self._losses, totals.tolist(), strict=True)
        return [loss.now(total, sum(lengths)) for loss, total in found]

    def gradients(self, rows: Tensor, step: int) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Return the losses and each member's gradients by name, as in a step of training."""
        self._template.train()
        self._set_keys(self._draw_keys(step, 1)[0])
        losses, flat = self._gradient(*next(self._training.feed([rows])))
        views = self._now.layout.views(flat)
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
        weights = asked._now.layout.views(asked._now.weights)
        forward = vmap(self._forward, in_dims=(0, 0, None))
        batches = [
            forward(weights, asked._now.held, rows.to(self._training.device))
            for rows in torch.split(inputs, self._training.settings.eval_batch)
        ]
        return [
            joined([tree_map(lambda one, n=n: one[n], batch) for batch in batches])
            for n in range(len(indices))
        ]

    def remember(self, indices: Sequence[int]) -> None:
        """Keep a copy of some members' weights and buffers."""
        if self._best is None:
            self._best = self._now.clone()
        else:
            self._best.copy_(self._now, self._rows(indices), self._now.stacks.keys())
        for index in indices:
            self._remembered[index] = True

    def recall(self, indices: Sequence[int]) -> None:
        """Put the copies back into place, of what the `state_dict` has."""
        assert self._best is not None
        self._now.copy_(self._best, self._rows(indices), self._names.values())

    def part(self, indices: Sequence[int]) -> "Stack":
        """Return a stack of some members, with all that they have learnt and remembered."""
        rows = self._rows(indices)
        part = copy(self)
        part._now = self._now.part(rows)
        part.places = [self.places[n] for n in indices]
        part._seeds = [self._seeds[n] for n in indices]
        part._sizes = [self._sizes[n] for n in indices]
        part._losses = [replace(self._losses[n]) for n in indices]
        part._remembered = [self._remembered[n] for n in indices]
        if self._best is not None:
            part._best = self._best.part(rows)
        part._optimizer = self._optimizer.part(partial(self._now.layout.part, rows=rows))
        return part

    def state(self, index: int) -> dict[str, Tensor]:
        """Return a member's `state_dict`, copied to the CPU."""
        return self._state(self._now, index)

    def progress(self, index: int) -> Progress:
        """Return all that a member's next step depends on."""
        sizes, names = self._sizes[index], self._now.layout.shapes.keys()
        states = {
            "model": self._state(self._now, index),
            "buffer": self._now.member(index, sizes, self._unstated),
            "updates": {name: torch.tensor(float(self._step)) for name in names},
        }
        if self._best is not None and self._remembered[index]:
            states["best"] = self._state(self._best, index)
        for kind, moments in self._moments().items():
            states[kind] = moments.member(index, sizes, names)
        return Progress(
            tensors={
                f"{kind}.{name}": one
                for kind, state in states.items()
                for name, one in state.items()
            },
            facts={"step": self._step, "loss": self._losses[index].facts},
        )

    def go_on_from(self, progress: Mapping[int, Progress]) -> dict[int, Exception]:
        """Have members, by index, be where they were, all after the same step.

        Returns:
            Index to why its progress does not fit.
        """
        unfit: dict[int, Exception] = {}
        for index, one in progress.items():
            try:
                self._put_back(index, one)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                unfit[index] = error
            else:
                self._step = one.facts["step"]
        self._optimizer.go_on_from(self._step)
        return unfit

    def _put_back(self, index: int, progress: Progress) -> None:
        own, sizes = self.state(index), self._sizes[index]
        require_in_step(progress)
        model, best = progress.of("model"), progress.of("best")
        require_alike(model, own, "the state")
        if best:
            require_alike(best, own, "the best state")
            self._now.put(index, sizes, {self._names[key]: one for key, one in best.items()})
            self.remember([index])
        self._now.put(index, sizes, {self._names[key]: one for key, one in model.items()})
        buffers = progress.of("buffer")
        self._now.put(index, sizes, {n: buffers[n] for n in self._unstated if n in buffers})
        for kind, moments in self._moments().items():
            moments.put(index, sizes, progress.of(kind))
        self._losses[index] = EpochLoss(*progress.facts["loss"])

    def _moments(self) -> dict[str, Contents]:
        layout = self._now.layout
        return {
            kind: Contents(layout=layout, weights=flat)
            for kind, flat in self._optimizer.moments.items()
        }

    def _state(self, contents: Contents, index: int) -> dict[str, Tensor]:
        """Return a member's part by the keys of its `state_dict`."""
        mine = contents.member(index, self._sizes[index], self._names.values())
        return {key: mine[name] for key, name in self._names.items()}

    def _learned(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Do a step on batches [members, rows, …], all of it in place; returns the losses."""
        losses, gradient = self._gradient(inputs, targets)
        self._optimizer.update(self._now.weights, gradient)
        return losses

    def _gradient(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses [members] of batches [members, rows, …], and their flat gradient."""
        weights = self._now.weights.detach().requires_grad_()
        views = self._now.layout.views(weights)
        losses = vmap(self._loss)(views, self._now.held, inputs, targets)
        (gradient,) = torch.autograd.grad(losses.sum(), weights)
        return losses.detach(), gradient

    def _loss(
        self, weights: dict[str, Tensor], held: dict[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> Tensor:
        """Return one member's loss."""
        return self._training.objective.loss(self._forward(weights, held, inputs), targets)

    def _forward(self, weights: dict[str, Tensor], held: dict[str, Tensor], inputs: Tensor) -> Any:
        """Return one member's outputs."""
        with mappable_attention(inputs.device):
            return functional_call(self._template, (weights, held), (inputs,))

    def _draw_keys(self, first: int, steps: int) -> Tensor:
        """Return the dropout keys [steps, layers, members] of so many steps."""
        keys = np.frompyfunc(key_of, 3, 1)(
            np.array(self._seeds, dtype=object),
            np.arange(len(self._keys), dtype=object)[:, None],
            np.arange(first, first + steps, dtype=object)[:, None, None],
        )
        return torch.from_numpy(keys.astype(np.int32)).to(self._now.weights.device)

    def _set_keys(self, keys: Tensor) -> None:
        for name, key in zip(self._keys, keys, strict=True):
            self._now.held[name].copy_(key)

    def _rows(self, indices: Sequence[int]) -> Tensor:
        return torch.tensor(list(indices), dtype=torch.int64, device=self._now.weights.device)

    def _make_optimizer(self, networks: Sequence[Network]) -> StackedAdamW:
        kept = [one.kept for one in networks]
        decaying = any(share < 1 for one in kept for share in one.values())
        return StackedAdamW(
            self._spread([one.rates for one in networks]), self._spread(kept) if decaying else None
        )

    def _spread(self, numbers: Sequence[Any]) -> Tensor:
        """Return each member's number of each parameter at the parameter's own places, flat."""
        layout = self._now.layout
        views = layout.views(torch.zeros_like(self._now.weights))
        for name, view in views.items():
            for padded, sizes, mine in zip(view, self._sizes, numbers, strict=True):
                corner(padded, sizes[name]).fill_(mine[name])
        return layout.flat(views)


def _names(model: nn.Module) -> dict[str, str]:
    """Return the keys of a model's `state_dict`, each with the name that its tensor goes by."""
    tensors = {id(one): name for name, one in (trainable(model) | held(model)).items()}
    return {key: tensors[id(one)] for key, one in model.state_dict(keep_vars=True).items()}
