"""Blocks that a model repeats: the same width of each is one group, unless asked otherwise.

A block is a child of a list of layers (`nn.ModuleList`, `nn.Sequential`) that has layers of its own
and is not alone of its class there. The layers of `nn.Sequential(nn.Linear(…), nn.ReLU(), …)` are
none: how wide each hidden layer of a perceptron is, is what one searches.

Entry points: `block_pattern`, `tie_blocks`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

from torch import nn

from .equations.polynomial import Polynomial
from .equations.solution import Solution


def block_pattern(model: nn.Module) -> Callable[[str], str]:
    """Return a function from a layer's dotted path to that path with "*" for a block's number."""
    starred: dict[str, str] = {"": ""}
    for path, module in model.named_modules():
        own = starred[path]
        children = dict(module.named_children())
        kinds = Counter(type(child) for child in children.values() if _is_block(child))
        is_list = isinstance(module, nn.ModuleList | nn.Sequential | nn.ModuleDict)
        for name, child in children.items():
            repeated = is_list and kinds[type(child)] > 1 and _is_block(child)
            part = f"*{type(child).__name__}" if repeated else name
            starred.setdefault(f"{path}.{name}" if path else name, f"{own}.{part}" if own else part)
    return lambda path: starred.get(path, path)


def _is_block(module: nn.Module) -> bool:
    return any(True for _ in module.children()) and any(True for _ in module.parameters())


def tie_blocks(solution: Solution, pattern: Callable[[str], str]) -> None:
    """Let free symbols be one where they are the same width of repeated blocks, and equal today."""
    symbols = solution.symbols
    tied: dict[tuple[str, str, int, int, Polynomial], set[int]] = defaultdict(set)
    for name, dims in symbols.parameters.items():
        path, _, parameter = name.rpartition(".")
        if "*" not in pattern(path):
            continue
        for dim, number in enumerate(dims):
            if number is None:
                continue
            value = solution.of(number)
            if len(value.symbols) != 1 or len(value.terms) != 1:
                continue
            (free,) = value.symbols
            shape = value.substituted({free: Polynomial.symbol(-1)})
            assert shape is not None
            tied[pattern(path), parameter, dim, solution.values[free], shape].add(free)
    for group in tied.values():
        first, *others = sorted({n for free in group for n in solution.of(free).symbols})
        for other in others:
            solution.set(other, Polynomial.symbol(first))
