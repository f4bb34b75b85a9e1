"""The groups that share a stack, each with its template: a network of the group's common widths.

Entry point: `build_groups`.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ...errors import describe_error
from ...interrupt import raise_if_interrupt
from ...randomness import Randomness
from ..base import EngineUnsupported, Member, TrainingSetup
from .padding import BuiltMember, fits, frozen_and_buffers, structure, trainable_parameters
from .plan import PlannedNetwork, StackGroup, best_split, plan_groups


def build_groups(
    training: TrainingSetup, networks: Iterable[BuiltMember], overhead_macs: float
) -> Iterator[tuple[StackGroup, list[BuiltMember], nn.Module]]:
    """Yield groups, their networks and templates.

    Args:
        training: What the networks have in common.
        networks: Networks of any structure; each comes in one group.
        overhead_macs: Cost of a stack's step, in multiplications of a forward pass.

    Raises:
        EngineUnsupported: A network cannot be built a second time.
    """
    by_structure: dict[Hashable, dict[int, BuiltMember]] = {}
    for network in networks:
        by_structure.setdefault(structure(network.model), {})[network.index] = network
    for same_structure in by_structure.values():
        outlines = [
            PlannedNetwork.of(index, network.member.widths, network.model)
            for index, network in same_structure.items()
        ]
        step_macs = training.settings.batch_size * _macs_per_parameter(
            training, next(iter(same_structure.values())).model
        )
        for planned in plan_groups(outlines, step_macs, overhead_macs):
            yield from _templated_groups(training, same_structure, planned)


def _templated_groups(
    training: TrainingSetup, networks: Mapping[int, BuiltMember], outlines: Sequence[PlannedNetwork]
) -> Iterator[tuple[StackGroup, list[BuiltMember], nn.Module]]:
    """Yield the group; in halves, as long as no network of its common widths can be built."""
    group = StackGroup.of(outlines)
    group_networks = [networks[index] for index in group.indices]
    member = Member(
        widths=group.widths, seed=0, learning_rate=group_networks[0].member.learning_rate
    )
    failure = "it has another structure"
    try:
        template, _ = training.build(member)
    except BaseException as error:
        raise_if_interrupt(error)
        failure = describe_error(error)
    else:
        if _accommodates(template, group_networks):
            yield group, group_networks, template
            return
    split = best_split(outlines)
    if split is None:
        raise EngineUnsupported(
            f"a network of {dict(group.widths)} cannot be built again: {failure}"
        )
    for part in split:
        yield from _templated_groups(training, networks, part)


def _accommodates(template: nn.Module, networks: Sequence[BuiltMember]) -> bool:
    """Return whether every tensor of the networks fits into the template's."""
    padded = trainable_parameters(template) | frozen_and_buffers(template)
    return all(
        structure(network.model) == structure(template)
        and all(
            fits(tensor.shape, padded[name].shape)
            for name, tensor in (
                trainable_parameters(network.model) | frozen_and_buffers(network.model)
            ).items()
        )
        for network in networks
    )


@torch.no_grad()
def _macs_per_parameter(training: TrainingSetup, model: nn.Module) -> float:
    """Return how often a row uses a parameter: once in dense layers, at each position in others."""
    rows = training.arrays.train.inputs[:2].to(training.device)
    with Randomness(0, training.device), FlopCounterMode(display=False) as counter:
        deepcopy(model).eval()(rows)
    macs: float = counter.get_total_flops() / 2 / len(rows)
    parameter_count = sum(parameter.numel() for parameter in model.parameters())
    return max(1.0, macs / parameter_count)
