"""Lists of equal blocks in a model, and models with fewer or more of them.

A list qualifies where every block has the same type and the same parameters, of the same sizes as
functions of the widths, none of which is shared with another part of the model.

Entry points: `find_block_lists`, `resize_block_list`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from ..groups import DepthGroup, Discovery, Expression
from .errors import ResizeError

_COUNT_NAMES = frozenset(
    {"num_layers", "n_layers", "n_layer", "num_hidden_layers", "depth", "n_blocks", "num_blocks"}
)
"""What a module calls the number of its blocks."""

_POSITION_NAMES = frozenset({"layer_idx", "layer_id", "layer_index", "block_idx", "index", "idx"})
"""What a block calls its position."""


def find_block_lists(model: nn.Module, discovery: Discovery) -> list[DepthGroup]:
    """Return the lists of two or more equal blocks, outermost ones, named after the list."""
    expressions = {**discovery.parameters, **discovery.buffers}
    taken = set(discovery.sizes)
    lists: list[DepthGroup] = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential) or len(module) < 2 or not path:
            continue
        if any(path.startswith(f"{other.path}.") for other in lists):
            continue
        if _are_equal(path, module, expressions) and not _shares(model, path, module):
            name = _name(path, taken)
            taken.add(name)
            blocks = tuple(f"{path}.{position}" for position in range(len(module)))
            lists.append(DepthGroup(name, len(module), blocks))
    return lists


def resize_block_list(
    model: nn.Module, path: str, number: int, make_model: Callable[[], nn.Module]
) -> None:
    """Give a list of blocks another number of them, in place.

    Blocks that are added come from further fresh models, so that each is initialised on its own.

    Args:
        model: Fresh.
        path: Dotted path of the list.
        number: How many blocks there are to be.
        make_model: Returns a further fresh model.

    Raises:
        ResizeError: The blocks differ in a number that more of them would need, too.
    """
    blocks: Any = model.get_submodule(path)
    today = len(blocks)
    if number > today:
        check_alike(path, blocks)
    while len(blocks) > number:
        del blocks[-1]
    while len(blocks) < number:
        further: Any = make_model().get_submodule(path)
        for block in further:
            if len(blocks) < number:
                _set_positions(block, list(further).index(block), len(blocks))
                blocks.append(block)
    _set_counts(model, path, today, number)


def check_alike(path: str, blocks: Any) -> None:
    """Check that blocks differ in nothing but the position that each may know.

    Raises:
        ResizeError: They do.
    """
    first = dict(_numbers(blocks[0]))
    for position, block in enumerate(blocks):
        for key, value in _numbers(block):
            other = first.get(key)
            if value != other and (other, value) != (0, position):
                raise ResizeError(
                    f"the blocks of {path} differ in {key} ({other} and {value}), so that a "
                    "further one is unknown"
                )


def _are_equal(path: str, blocks: Any, expressions: Mapping[str, tuple[Expression, ...]]) -> bool:
    """Return whether all blocks are of one type and have the same parameters, at least one."""
    if len({type(block) for block in blocks}) > 1:
        return False
    own: list[dict[str, tuple[Expression, ...]]] = []
    for position in range(len(blocks)):
        prefix = f"{path}.{position}."
        own.append(
            {
                name.removeprefix(prefix): dims
                for name, dims in expressions.items()
                if name.startswith(prefix)
            }
        )
    return bool(own[0]) and all(other == own[0] for other in own)


def _shares(model: nn.Module, path: str, blocks: Any) -> bool:
    """Return whether a parameter of a block stands elsewhere, too."""
    places: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        block = "elsewhere"
        if name.startswith(f"{path}."):
            block = name.removeprefix(f"{path}.").partition(".")[0]
        places.setdefault(id(parameter), set()).add(block)
    modules = [id(module) for block in blocks for module in block.modules()]
    return any(len(blocks) > 1 for blocks in places.values()) or len(modules) > len(set(modules))


def _name(path: str, taken: set[str]) -> str:
    last = path.rpartition(".")[2]
    name = last if last.isidentifier() else f"blocks_{last}"
    if name not in taken:
        return name
    number = 2
    while f"{name}_depth{number}" in taken:
        number += 1
    return f"{name}_depth" if f"{name}_depth" not in taken else f"{name}_depth{number}"


def _numbers(block: nn.Module) -> Iterator[tuple[str, float]]:
    """Yield the plain numbers that the layers of a block carry, by path and attribute."""
    for path, module in block.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, int | float) and name != "training":
                yield f"{path}.{name}".lstrip("."), value


def _set_positions(block: nn.Module, old: int, new: int) -> None:
    """Give a block that knows its position its new one."""
    for module in block.modules():
        for name, value in list(vars(module).items()):
            if name in _POSITION_NAMES and type(value) is int and value == old:
                setattr(module, name, new)


def _set_counts(model: nn.Module, path: str, old: int, new: int) -> None:
    """Set the number of blocks where a module above the list carries it."""
    parts = path.split(".")
    for end in range(len(parts)):
        module = model.get_submodule(".".join(parts[:end]))
        for name, value in list(vars(module).items()):
            if name in _COUNT_NAMES and type(value) is int and value == old:
                setattr(module, name, new)
