"""A user's model that can be built at other sizes: what was discovered, verified.

    model = find_resizable(make_model, (TensorSpec(shape=(3, 32, 32)),))
    model.discovery.groups                      # the widths, each tried at three other sizes
    model.build({"stage1": 24})                 # a fresh module; the other widths keep today's
    model.call({"stage1": 24})                  # "ResNet(stage1=24)", or None

Whole numbers of the constructor or of a configuration come first, since that is how the result is
written down; what none of them moves is done by surgery on the module that they give.

Entry point: `find_resizable`.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout

from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from ...errors import ModelError, ObjectiveError
from ...model.lazy import has_lazy_layers
from ...trace.fake_model import FakeCPU, fake_model
from ...trace.flops import fused_encoder_disabled
from ...trace.trace import isolated_torch_state, silence_fake_tensor_warnings
from ...training.step import Specs, StepSpec
from ..discover import discover
from ..groups import Discovery, How
from .blocks import find_block_lists
from .buffers import resized_buffer
from .construction import Construction, Integer, record
from .edits import fix_groups, merge_groups, rename, with_divisor, without_attributes
from .errors import ResizeError
from .integers import Built, Match, choose_matches, match_integers
from .resizable_model import Resizable
from .surgery import unknown_buffers
from .verify import failure, find_failures, tensor_shapes, trial_sizes

_BATCH = 2  # samples of the example that a resized model is tried with


def find_resizable(
    make_model: Callable[[], nn.Module] | nn.Module,
    inputs: Sequence[Specs] | Mapping[str, Specs],
    *,
    only: Sequence[str] = (),
    keep: Sequence[str] = (),
    per_layer: bool = False,
) -> Resizable:
    """Discover a model's widths, find how each is resized, and verify that it can be.

    Args:
        make_model: Returns a fresh model; or a model, which is left as it is.
        inputs: What the model is called with, see `discover`.
        only: Patterns of layers, see `discover`; with any, numbers of blocks stay.
        keep: Patterns of layers whose sizes stay; blocks with such a layer stay as many.
        per_layer: Whether widths of repeated blocks are groups of their own.

    Raises:
        ModelError: The model cannot be built or called, or a pattern matches no layer.
    """
    discovery = discover(make_model, inputs, only=only, keep=keep, per_layer=per_layer)
    arguments = dict(inputs) if isinstance(inputs, Mapping) else tuple(inputs)
    step = StepSpec(inputs=arguments, batch_size=_BATCH)
    is_module = isinstance(make_model, nn.Module)
    factory = (
        functools.partial(copy.deepcopy, make_model)
        if isinstance(make_model, nn.Module)
        else make_model
    )
    with (
        silence_fake_tensor_warnings(),
        isolated_torch_state(),
        fused_encoder_disabled(),
        redirect_stdout(sys.stderr),  # what the user's code prints
    ):
        construction, discovery = _recorded(factory, discovery, step)
        if only or keep:
            discovery = dataclasses.replace(discovery, depths=())
        if is_module:
            construction = Construction(factory)
        matches: dict[str, Match] = {}
        if construction.integers:
            discovery, matches = _match(construction, discovery, step, merging=not per_layer)
        discovery, matches = _without_unknown_buffers(construction, discovery, matches)
        return _verified(Resizable(discovery, construction, matches, is_module), step)


def _recorded(
    factory: Callable[..., nn.Module], discovery: Discovery, step: StepSpec
) -> tuple[Construction, Discovery]:
    """Return how the model comes about, and the discovery with its lists of blocks.

    Raises:
        ModelError: It has lazy layers, which have no weights yet where they are resized.
    """
    recorded: list[Construction] = []

    def build() -> nn.Module:
        construction, model = record(factory)
        if has_lazy_layers(model):
            raise ModelError(
                "the model has lazy layers, which have no sizes before the first call and cannot "
                "be built at others: give these layers what they read, as nn.Linear(8, 16) for "
                "nn.LazyLinear(16)."
            )
        recorded.append(construction)
        return model

    with fake_model(build, step, FakeCPU()) as (model, _):
        depths = tuple(find_block_lists(model, discovery))
    return recorded[-1], dataclasses.replace(discovery, depths=depths)


def _match(
    construction: Construction, discovery: Discovery, step: StepSpec, *, merging: bool
) -> tuple[Discovery, dict[str, Match]]:
    """Return the constructor's numbers by the name of the group, and the groups as they move."""

    def build(values: Mapping[Integer, int]) -> Built | None:
        try:
            with fake_model(lambda: construction.build(values), step, FakeCPU()) as (model, _):
                modules = dict(model.named_modules(remove_duplicate=False))
                return Built(
                    tensor_shapes(model),
                    {
                        (path, name): _plain(getattr(modules[path], name, None))
                        for path, name in discovery.attributes
                        if path in modules
                    },
                )
        except ObjectiveError:
            return None

    found = match_integers(construction.integers, discovery, build)
    matches: dict[str, Match] = {}
    for name, match in choose_matches(found, discovery, merging=merging).items():
        group = name
        if len(match.groups) > 1:
            group = _union_name(discovery, match)
            discovery = merge_groups(discovery, _first_like(discovery, match), group)
        elif name in {depth.name for depth in discovery.depths}:
            renamed = rename(discovery, name, match.integers[0].name)
            group = name if renamed is discovery else match.integers[0].name
            discovery = renamed
        if not match.agrees:
            discovery = without_attributes(discovery, group)
        for own in discovery.groups:
            if own.name == group:  # whole numbers of the constructor only
                divisor = math.lcm(own.multiple_of, match.step(own.size))
                discovery = with_divisor(discovery, group, divisor)
        matches[group] = dataclasses.replace(match, groups=(group,), is_union=len(match.groups) > 1)
    # Of groups that the flow of the data keeps apart, or moves otherwise, it knows no divisor.
    for name in [name for name, own in matches.items() if own.is_union or not own.agrees]:
        resizable = Resizable(discovery, construction, matches)
        discovery = _with_working_divisor(resizable, step, name)
    return discovery, matches


def _first_like(discovery: Discovery, match: Match) -> list[str]:
    """Return a match's groups, first one of the size of its number, which is the union's."""
    return sorted(match.groups, key=lambda name: discovery.sizes[name] != match.integers[0].value)


def _union_name(discovery: Discovery, match: Match) -> str:
    """Return what groups are called that one number moves: like the number."""
    name = match.integers[0].name
    taken = discovery.sizes.keys() - set(match.groups)
    return name if name not in taken and name.isidentifier() else match.groups[0]


def _with_working_divisor(resizable: Resizable, step: StepSpec, name: str) -> Discovery:
    """Return the discovery with the least divisor of a group at which its constructor works.

    The constructor may ask for more than the flow of the data does, or for something else.
    """
    discovery = resizable.discovery
    group = next(group for group in discovery.groups if group.name == name)
    match = resizable.matches[name]
    whole = match.step(group.size)
    least = whole if match.is_union else math.lcm(whole, group.multiple_of)
    divisors = [
        number for number in range(least, group.size + 1, least) if group.size % number == 0
    ]
    for divisor in divisors:
        trial = dataclasses.replace(resizable, discovery=with_divisor(discovery, name, divisor))
        if failure(trial.build, trial.discovery, step, {name: group.size + divisor}) is None:
            return trial.discovery
    return discovery


def _without_unknown_buffers(
    construction: Construction, discovery: Discovery, matches: Mapping[str, Match]
) -> tuple[Discovery, dict[str, Match]]:
    """Fix the groups that move a buffer by surgery whose values at another size are unknown.

    Only where there is such a buffer is a model built for real, for its values.
    """
    moved = {
        name: dims
        for name, dims in discovery.buffers.items()
        if any(not dim.groups <= matches.keys() for dim in dims)
    }
    if not moved:
        return discovery, dict(matches)
    with _disable_current_modes():
        model = construction.build({})
    reasons: dict[str, str] = {}
    for name, buffer in unknown_buffers(model, discovery):
        for group in discovery.groups:
            if group.name in matches or not any(group.name in dim.groups for dim in moved[name]):
                continue
            for size in trial_sizes(group):
                try:
                    resized_buffer(name, buffer, discovery.shapes({group.name: size})[name])
                except ResizeError as error:
                    reasons[group.name] = f"resizing {group.name} to {size} fails: {error}"
    return fix_groups(discovery, reasons), dict(matches)


def _verified(resizable: Resizable, step: StepSpec) -> Resizable:
    """Return a model of which each group was resized and worked; what did not work is fixed.

    A group whose number of the constructor does not work is tried with a larger divisor, then by
    surgery.
    """
    asked: set[str] = set()
    while resizable.discovery.sizes:
        failures = find_failures(resizable.build, resizable.discovery, step)
        if not failures:
            break
        resizable = _after_failures(resizable, failures, step, asked)
    return dataclasses.replace(
        resizable, discovery=dataclasses.replace(resizable.discovery, how=_how(resizable))
    )


def _after_failures(
    resizable: Resizable, failures: Mapping[str, str], step: StepSpec, asked: set[str]
) -> Resizable:
    """Return the next thing to try after some groups failed.

    Args:
        resizable: What was tried.
        failures: The reasons, by the name of the group or depth.
        step: The example.
        asked: Names of the groups whose divisor was looked for; extended.
    """
    discovery, matches = resizable.discovery, dict(resizable.matches)
    widths = {group.name for group in discovery.groups}
    for name in sorted(failures.keys() & matches.keys()):
        before = discovery
        if name in widths - asked:
            asked.add(name)
            discovery = _with_working_divisor(
                dataclasses.replace(resizable, discovery=discovery), step, name
            )
        if discovery == before:
            del matches[name]
    if failures.keys().isdisjoint(resizable.matches):
        discovery = fix_groups(discovery, failures)
    return dataclasses.replace(resizable, discovery=discovery, matches=matches)


def _how(resizable: Resizable) -> How:
    groups = {group.name for group in resizable.discovery.groups}
    integers = [integer for match in resizable.matches.values() for integer in match.integers]
    one_call = len({integer.call for integer in integers}) == 1
    if not one_call or not groups <= resizable.matches.keys():
        return "surgery"
    return "config" if any(integer.in_config for integer in integers) else "constructor"


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else value
