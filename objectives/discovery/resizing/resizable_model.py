"""A model that can be built at other sizes than it was written with.

    model.build({"stage1": 24})                 # a fresh module; the other widths keep today's
    model.call({"stage1": 24})                  # "ResNet(stage1=24)", or None

Entry point: `Resizable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from ...errors import ModelError, unknown_name_message
from ...trace.fake_model import FakeCPU
from ...trace.trace import isolated_torch_state, silence_fake_tensor_warnings
from ..groups import Discovery
from .blocks import resize_block_list
from .construction import Construction, Integer
from .initialisation import InitialisationRecorder
from .integers import Match
from .surgery import operate


@final
@dataclass(frozen=True)
class Resizable:
    """A model whose widths, and numbers of blocks, may be chosen.

    Attributes:
        discovery: The groups that can be resized; all others are fixed.
        construction: How the model comes about.
        matches: The constructor's number for each group and depth that has one, by its name.
        afresh: Whether all layers reset themselves: the model was handed over as a module, and a
            fresh one does not come by itself.
    """

    discovery: Discovery
    construction: Construction
    matches: Mapping[str, Match] = field(default_factory=dict)
    afresh: bool = False

    def build(self, sizes: Mapping[str, int]) -> nn.Module:
        """Return a fresh model of these sizes.

        It draws from torch's random numbers only: one seed gives one model. What the user's code
        raises passes.

        Args:
            sizes: By the name of the group or depth; those that are not named keep today's.

        Raises:
            ModelError: There is no such group, or it can't have this size.
        """
        chosen = self._chosen(sizes)
        values = self._values(chosen)
        by_surgery = self._needs_surgery(chosen)
        if not by_surgery and not self.afresh:
            return self.construction.build(values)
        recorder = InitialisationRecorder()
        if _tensors_are_fake():
            model = self._with_blocks(values, chosen)
        else:
            with recorder:
                model = self._with_blocks(values, chosen)
        operate(model, self.discovery, chosen, recorder.recipes_of(model), afresh=self.afresh)
        return model

    def call(self, sizes: Mapping[str, int]) -> str | None:
        """Return the call that builds a model of these sizes, as Python: "GPT(d_model=96)".

        None where no call does: a width is no number of the constructor, or one of its arguments
        cannot be written down.

        Args:
            sizes: By the name of the group or depth; those that are not named keep today's.

        Raises:
            ModelError: There is no such group, or it can't have this size.
        """
        chosen = self._chosen(sizes)
        if self.afresh or self._needs_surgery(chosen):
            return None
        values = {
            integer: value
            for name, match in self.matches.items()
            for integer, value in match.values(chosen[name], self.discovery.sizes[name]).items()
        }
        with silence_fake_tensor_warnings(), isolated_torch_state(), FakeCPU():
            try:
                return self.construction.call(values)
            except RuntimeError:  # it reads values of its tensors
                pass
        with isolated_torch_state():
            return self.construction.call(values)

    def _chosen(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return the sizes of all groups and depths."""
        divisors = {group.name: group.multiple_of for group in self.discovery.groups}
        today = self.discovery.sizes
        for name, size in sizes.items():
            if name not in today:
                raise ModelError(
                    unknown_name_message("width", name, today, f"one of {', '.join(today)}")
                )
            divisor = divisors.get(name, 1)
            if size < 1 or size % divisor:
                what = "at least 1" if divisor == 1 else f"a multiple of {divisor}"
                raise ModelError(f"the width {name} is {size}: it must be {what}.")
        return {**today, **sizes}

    def _values(self, chosen: Mapping[str, int]) -> dict[Integer, int]:
        """Return the constructor's numbers that differ from today's."""
        today = self.discovery.sizes
        return {
            integer: value
            for name, match in self.matches.items()
            if chosen[name] != today[name]
            for integer, value in match.values(chosen[name], today[name]).items()
        }

    def _needs_surgery(self, chosen: Mapping[str, int]) -> bool:
        today = self.discovery.sizes
        return any(chosen[name] != today[name] for name in today.keys() - self.matches.keys())

    def _with_blocks(self, values: Mapping[Integer, int], chosen: Mapping[str, int]) -> nn.Module:
        """Return a fresh model with as many blocks as chosen; its widths are not all right yet."""
        model = self.construction.build(values)
        for depth in self.discovery.depths:
            if depth.name not in self.matches and chosen[depth.name] != depth.size:
                resize_block_list(
                    model,
                    depth.path,
                    chosen[depth.name],
                    lambda: self.construction.build(values),
                )
        return model


def _tensors_are_fake() -> bool:
    return any(isinstance(mode, FakeTensorMode) for mode in _get_current_dispatch_mode_stack())
