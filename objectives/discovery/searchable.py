"""Which free sizes are widths: those that layers give and others read, unless asked otherwise.

No width is a number of embeddings, a size of a parameter that no layer shares (a number of learned
queries), or a size of a layer that the forward pass does not use.

Entry points: `keep_unsearchable`, `group_members`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from ..errors import ModelError
from .equations.solution import Solution
from .groups import Member

NUMBER_OF_EMBEDDINGS = "number of embeddings"
NOT_USED = "not used in forward"


def group_members(solution: Solution) -> dict[int, list[Member]]:
    """Return for each free symbol the dimensions that move with it, in the model's order."""
    members: dict[int, list[Member]] = {}
    for name, dims in solution.symbols.parameters.items():
        module, _, parameter = name.rpartition(".")
        for dim, number in enumerate(dims):
            if number is None:
                continue
            for free in sorted(solution.of(number).symbols):
                members.setdefault(free, []).append(Member(module, parameter, dim))
    return members


def keep_unsearchable(
    model: nn.Module,
    solution: Solution,
    pattern: Callable[[str], str],
    only: Sequence[str],
    keep: Sequence[str],
) -> None:
    """Fix every free size that is no width, or that a person wants to stay.

    Args:
        model: Whose sizes they are.
        solution: What each symbol is.
        pattern: Of a layer's path, with "*" for a block's number.
        only: Patterns of layers; a group is searched where every layer that gives it its size
            matches one. Empty for all.
        keep: Patterns of layers whose sizes stay.

    Raises:
        ModelError: A pattern matches no layer that has parameters.
    """
    for option, patterns in (("only", only), ("keep", keep)):
        _require_matches(model, option, patterns)
    mentioned = _mentioned(solution)
    for free, members in group_members(solution).items():
        reason = _reason_to_stay(model, members, solution, mentioned, pattern)
        if reason is None and any(_matches(m.module, keep) for m in members):
            reason = "to be kept"
        if reason is None and only:
            givers = [m for m in members if _gives_size(model, m)] or members
            if not all(_matches(m.module, only) for m in givers):
                reason = "not among the layers to be searched"
        if reason is not None:
            solution.fix(free, reason)


def _reason_to_stay(
    model: nn.Module,
    members: Sequence[Member],
    solution: Solution,
    mentioned: frozenset[int],
    pattern: Callable[[str], str],
) -> str | None:
    """Return why a size is no width; None where it is one."""
    layers = [model.get_submodule(member.module) for member in members]
    parameters = {(pattern(member.module), member.parameter) for member in members}
    if all(
        isinstance(layer, nn.Embedding | nn.EmbeddingBag) and member.dim == 0
        for layer, member in zip(layers, members, strict=True)
    ):
        return NUMBER_OF_EMBEDDINGS
    called = solution.symbols.called
    if all(
        member.module not in called and not _numbers(solution, member) & mentioned
        for member in members
    ):
        return NOT_USED
    if len(parameters) > 1 or any(_is_layer(layer) for layer in layers):
        return None
    if any(_numbers(solution, member) & mentioned for member in members):
        return "size of a parameter that no other layer shares"
    return NOT_USED


def _parameter(model: nn.Module, member: Member) -> object:
    return model.get_submodule(member.module)._parameters[member.parameter]


def _mentioned(solution: Solution) -> frozenset[int]:
    """Return the symbols that some equation speaks of."""
    return frozenset(n for equation in solution.symbols.record.equations for n in equation.symbols)


def _numbers(solution: Solution, member: Member) -> frozenset[int]:
    """Return the symbols of all dimensions of a member's parameter."""
    dims = solution.symbols.parameters[member.qualified_parameter]
    return frozenset(number for number in dims if number is not None)


def _is_layer(layer: nn.Module) -> bool:
    """Return whether a layer is one of torch's own, whose sizes mean something."""
    return type(layer).__module__.startswith("torch.nn.") and not isinstance(
        layer, nn.ParameterList | nn.ParameterDict
    )


def _gives_size(model: nn.Module, member: Member) -> bool:
    """Return whether a layer's output has the size of a member's dimension."""
    layer = model.get_submodule(member.module)
    if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
        return member.parameter.startswith("weight_hh") and member.dim == 0
    if _parameter(model, member).dim() < 2:  # type: ignore[attr-defined]
        return False
    transposed = nn.Embedding | nn.EmbeddingBag | nn.modules.conv._ConvTransposeNd
    outgoing = 1 if isinstance(layer, transposed) or type(layer).__name__ == "Conv1D" else 0
    return member.dim == outgoing


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, p) or fnmatchcase(path, f"{p}.*") for p in patterns)


def _require_matches(model: nn.Module, option: str, patterns: Sequence[str]) -> None:
    paths = [path for path, module in model.named_modules() if module._parameters]
    for pattern in patterns:
        if not any(_matches(path, [pattern]) for path in paths):
            some = ", ".join(f"'{path}'" for path in paths[:3])
            raise ModelError(
                f"no layer with parameters matches {option} '{pattern}': give a pattern of the "
                f"layers' paths with * and ?, such as {some}."
            )
