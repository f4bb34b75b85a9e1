"""Finds the widths of a model that exists, without editing it.

    discovery = discover(make_model, (TensorSpec(shape=(3, 32, 32)),))
    [group.name for group in discovery.groups]       # ["stage1", "stage2", …]
    [layer.reason for layer in discovery.fixed]      # ["input size (3)", "output size (10)"]

The model is called once with sizes that are symbols (`symbolic_forward`), the equations between
them are solved (`solution`), widths of repeated blocks are tied (`repeated_blocks`) and named
(`names`). What no equation speaks of stays as it is, with the reason. Nothing is allocated.

Entry point: `discover`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from ..errors import ModelError
from ..interrupt import raise_if_interrupt
from ..trace.chance import Chance
from ..trace.fake_model import FakeCPU, fake_model, sequences_unpacked
from ..trace.flops import fused_encoder_disabled
from ..trace.trace import isolated_torch_state, silence_fake_tensor_warnings
from ..training.step import Specs, StepSpec
from ..user_code import root_cause, user_code_location
from .coverage import all_fixed, example_sizes, fixed_layers
from .equations.divisors import multiples
from .equations.layer_sizes import layer_equations
from .equations.solution import Solution
from .equations.solve import solve
from .equations.symbolic_forward import DATA_DEPENDENT, Symbols, run
from .groups import Discovery, Expression, Term, WidthGroup
from .names import name_groups
from .refusals import (
    example_error,
    maker_error,
    require_analysable,
    require_maker,
    require_sizes,
)
from .repeated_blocks import block_pattern, tie_blocks
from .searchable import group_members, keep_unsearchable

_BATCH = 11
"""Samples of the example: a number that no layer is likely to have as a size."""

_OUTCOMES = (1.0, 0.0)
"""What a model draws that skips layers by chance: the greatest number below 1, and the least."""


def discover(
    make_model: Callable[[], nn.Module] | nn.Module,
    inputs: Sequence[Specs] | Mapping[str, Specs],
    *,
    only: Sequence[str] = (),
    keep: Sequence[str] = (),
    per_layer: bool = False,
) -> Discovery:
    """Return the width groups of a model, and the layers that stay with the reason.

    Args:
        make_model: Returns a fresh model; or a model, which is left as it is.
        inputs: What the model is called with: a `TensorSpec` per argument.
        only: Patterns of layers' dotted paths, with * and ?: a group is searched where every layer
            that gives it its size matches one. Empty for all.
        keep: Patterns of layers whose sizes stay: a group with a member in one is fixed.
        per_layer: Whether widths of repeated blocks are groups of their own.

    Raises:
        ModelError: The model cannot be built, is no module, or cannot be called with these inputs;
            or a pattern matches no layer.
    """
    if isinstance(make_model, nn.Module):
        require_sizes(make_model)
        factory: Callable[[], nn.Module] = lambda: make_model  # noqa: E731
    else:
        require_maker(make_model)
        factory = make_model
    arguments = dict(inputs) if isinstance(inputs, Mapping) else tuple(inputs)
    step = StepSpec(inputs=arguments, batch_size=_BATCH)
    mode = FakeCPU()
    with (
        silence_fake_tensor_warnings(),
        isolated_torch_state(),
        fused_encoder_disabled(),
        ExitStack() as stack,
    ):
        try:
            model, _ = stack.enter_context(fake_model(factory, step, mode))
        except ModelError as error:
            raise maker_error(make_model, error) from error
        stack.enter_context(sequences_unpacked())
        require_analysable(model)
        symbols = _run(model, step, mode)
        if symbols.stopped is not None:
            with mode, torch.no_grad():
                reason = _reason_to_stop(symbols.stopped, lambda: step.empty().call(model))
            return Discovery((), all_fixed(model, reason))
        solution = solve(symbols, layer_equations(model, symbols))
        pattern = block_pattern(model)
        if not per_layer:
            tie_blocks(solution, pattern)
        multiples(solution)
        keep_unsearchable(model, solution, pattern, only, keep)
        least = multiples(solution)
        members = group_members(solution)
        words = None if isinstance(make_model, nn.Module) else make_model
        shown = str if per_layer else pattern
        names = name_groups(model, words, solution, members, shown)
        groups = tuple(
            WidthGroup(names[number], solution.values[number], least[number], tuple(own))
            for number, own in members.items()
        )
        return Discovery(
            groups,
            fixed_layers(model, solution, example_sizes(arguments)),
            parameters=_dimensions(model, symbols.parameters, "_parameters", solution, names),
            buffers=_dimensions(model, symbols.buffers, "_buffers", solution, names),
            attributes=_attributes(model, solution, names),
        )


def _run(model: nn.Module, step: StepSpec, mode: FakeCPU) -> Symbols:
    """Return what a model's forward pass says; of several by chance, that which calls most layers.

    Layers kept by `random() > p` are called with the one outcome, by `random() < p` with the other.
    """
    chance = Chance(model)
    mode.draw_number = chance.draw_number
    passes = []
    for outcome in _OUTCOMES:
        chance.force(outcome)
        with chance.watched():
            passes.append(run(model, lambda module: step.empty().call(module), mode))
        if not chance.was_used:
            break
    return max(passes, key=lambda symbols: (symbols.stopped is None, len(symbols.called)))


def _reason_to_stop(error: BaseException, call: Callable[[], object]) -> str:
    """Return why nothing can be said of a model whose forward pass did not reach its end.

    Args:
        error: What the pass with symbolic sizes raised.
        call: Calls the model with today's sizes as plain numbers.

    Raises:
        ModelError: The model cannot be called with such inputs.
    """
    cause = root_cause(error)
    if isinstance(cause, DATA_DEPENDENT):
        what = "shape" if isinstance(cause, DynamicOutputShapeException) else "control flow"
        return f"data-dependent {what}{user_code_location(error)}"
    if ".numpy()" in str(cause):
        return f"values read by numpy{user_code_location(error)}"
    try:
        call()
    except BaseException as refused:
        raise_if_interrupt(refused)
        raise example_error(refused) from refused
    return f"an operation whose sizes cannot be followed{user_code_location(error)}"


def _dimensions(
    model: nn.Module,
    numbers: Mapping[str, tuple[int | None, ...]],
    container: str,
    solution: Solution,
    names: Mapping[int, str],
) -> dict[str, tuple[Expression, ...]]:
    """Return an expression for every dimension of every parameter, or of every buffer."""
    expressions = {}
    for name, dims in numbers.items():
        path, _, own = name.rpartition(".")
        tensor = getattr(model.get_submodule(path), container)[own]
        expressions[name] = tuple(
            _expression(number, int(size), solution, names)
            for number, size in zip(dims, tensor.shape, strict=True)
        )
    return expressions


def _attributes(
    model: nn.Module, solution: Solution, names: Mapping[int, str]
) -> dict[tuple[str, str], Expression | tuple[Expression, ...]]:
    """Return an expression for every whole number that a layer carries and a group moves."""
    expressions: dict[tuple[str, str], Expression | tuple[Expression, ...]] = {}
    for (path, name), numbers in solution.symbols.attributes.items():
        value = getattr(model.get_submodule(path), name)
        if isinstance(numbers, tuple):
            items = tuple(
                _expression(number, size, solution, names)
                for number, size in zip(numbers, value, strict=True)
            )
            if not all(item.is_constant for item in items):
                expressions[path, name] = items
            continue
        expression = _expression(numbers, value, solution, names)
        if not expression.is_constant:
            expressions[path, name] = expression
    return expressions


def _expression(
    number: int | None, size: int, solution: Solution, names: Mapping[int, str]
) -> Expression:
    """Return what a dimension is, in the groups' names; today's size where it is no symbol."""
    if number is None:
        return Expression.constant(size)
    polynomial = solution.of(number)
    if not polynomial.symbols <= names.keys():
        return Expression.constant(size)
    return Expression(
        tuple(
            Term(
                coefficient.numerator,
                tuple(sorted(names[n] for n, power in monomial for _ in range(power))),
                coefficient.denominator,
            )
            for monomial, coefficient in polynomial
        )
    )
