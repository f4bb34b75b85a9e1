"""The groups that share a stack, each with its template: a network of the group's common widths.

Entry point: `grouped`.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ...errors import reason
from ...randomness import Randomness
from ..base import Member, Training, Unsuitable
from .padding import Network, fits, held, structure, trainable
from .plan import Group, Outline, halves, plan


def grouped(
    training: Training, networks: Iterable[Network], overhead: float
) -> Iterator[tuple[Group, list[Network], nn.Module]]:
    """Yield groups, their networks and templates.

    Args:
        training: Of the networks.
        networks: Of any structures; each comes in one group.
        overhead: Of a stack's step, in multiplications of a forward pass.

    Raises:
        Unsuitable: A network cannot be built a second time.
    """
    alike: dict[Hashable, dict[int, Network]] = {}
    for one in networks:
        alike.setdefault(structure(one.model), {})[one.place] = one
    for mine in alike.values():
        outlines = [Outline.of(n, one.member.widths, one.model) for n, one in mine.items()]
        work = training.settings.batch_size * _uses(training, next(iter(mine.values())).model)
        for part in plan(outlines, work, overhead):
            yield from _with_templates(training, mine, part)


def _with_templates(
    training: Training, networks: Mapping[int, Network], outlines: Sequence[Outline]
) -> Iterator[tuple[Group, list[Network], nn.Module]]:
    """Yield the group, cut for as long as there is no network of its common widths."""
    group = Group.of(outlines)
    mine = [networks[place] for place in group.places]
    member = Member(widths=group.widths, seed=0, learning_rate=mine[0].member.learning_rate)
    obstacle = "it has another structure"
    try:
        template, _ = training.build(member)
    except Exception as error:
        obstacle = reason(error)
    else:
        if _holds(template, mine):
            yield group, mine, template
            return
    cut = halves(outlines)
    if cut is None:
        raise Unsuitable(f"a network of {dict(group.widths)} cannot be built again: {obstacle}")
    for half in cut:
        yield from _with_templates(training, networks, half)


def _holds(template: nn.Module, networks: Sequence[Network]) -> bool:
    """Whether every tensor of the networks has room in the template's."""
    padded = trainable(template) | held(template)
    return all(
        structure(one.model) == structure(template)
        and all(
            fits(tensor.shape, padded[name].shape)
            for name, tensor in (trainable(one.model) | held(one.model)).items()
        )
        for one in networks
    )


@torch.no_grad()
def _uses(training: Training, model: nn.Module) -> float:
    """Return how often a row uses a parameter: once in dense layers, at each place in others."""
    rows = training.sample(2)
    with Randomness(0, training.device), FlopCounterMode(display=False) as counter:
        deepcopy(model).eval()(rows)
    macs: float = counter.get_total_flops() / 2 / len(rows)
    parameters = sum(one.numel() for one in model.parameters())
    return max(1.0, macs / parameters)
