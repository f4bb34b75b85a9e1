"""A model's parameters, buffers and attributes replaced by those of other sizes.

The model is fresh and of today's sizes, or of those that its constructor could give it. Where the
expressions of discovery say another shape, the parameter is replaced and initialised as the model
does it (`initialisation`); parameters that are tied stay one. Attributes that carry a size get the
new one, and so does a number that was derived from it, such as `head_dim ** -0.5`.

Under fake tensors nothing is drawn, and buffers have a shape only: whether their values follow from
it is seen where they have some.

Entry points: `operate`, `unknown_buffers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm

from ..groups import Discovery, with_depth
from .buffers import resized_buffer
from .errors import ResizeError
from .initialisation import Recipe, draw_like

Replaced = dict[int, tuple[Tensor, nn.Parameter]]
"""By the `id` of an old parameter: it, and the one in its place."""

_SIZE_RULES: tuple[Callable[[float], float], ...] = (
    lambda size: size**-0.5,
    lambda size: size**0.5,
    lambda size: 1 / size,
)
"""How a number may follow from a size: an attention's scale, an embedding's, a mean's."""

_DERIVED_NAMES = ("scal", "sqrt", "temperature", "factor")
"""Parts of the names of attributes that hold such a number; a dropout rate is none."""

_HEAD_SIZES = frozenset({"head_dim", "dim_head", "d_head", "head_size", "d_k", "d_kv"})
_HEAD_COUNTS = frozenset({"h", "heads", "n_head", "n_heads", "nhead", "num_heads", "num_head"})


def operate(
    model: nn.Module,
    discovery: Discovery,
    sizes: Mapping[str, int],
    recipes: Mapping[int, Recipe],
    *,
    afresh: bool = False,
) -> None:
    """Give a model other sizes, in place.

    Args:
        model: Fresh, with as many blocks as it is to have.
        discovery: What the sizes mean.
        sizes: Of all groups and depths, by name.
        recipes: What filled the parameters, by their `id`.
        afresh: Whether layers that can reset themselves do so even where nothing changes: for a
            model that was not built for this.

    Raises:
        ResizeError: A buffer's values at the new size are unknown, a number follows from one of
            several sizes, or the model has a parameter that it has not at today's sizes.
    """
    shapes = discovery.shapes(sizes)
    before = {path: _sizes_of(module) for path, module in model.named_modules()}
    _set_attributes(model, discovery, sizes)
    replaced: Replaced = {}
    for path, module in list(model.named_modules(remove_duplicate=False)):
        _resize_parameters(module, path, shapes, replaced)
        _resize_buffers(module, path, shapes)
    for path, module in model.named_modules():
        _derive_numbers(module, path, before[path])
    if not any(isinstance(parameter, FakeTensor) for parameter in model.parameters()):
        _initialise(model, replaced, recipes, afresh=afresh)


def unknown_buffers(model: nn.Module, discovery: Discovery) -> Iterator[tuple[str, Tensor]]:
    """Yield the buffers that a group moves and whose layer cannot reset them, with their values."""
    for name, dims in discovery.buffers.items():
        path, _, own = name.rpartition(".")
        if all(dim.is_constant for dim in dims):
            continue
        module = model.get_submodule(path)
        buffer = module._buffers[own]
        if buffer is not None and not isinstance(module, _NormBase | _SpectralNorm):
            yield name, buffer


def _sizes_of(module: nn.Module) -> dict[str, int]:
    """Return the sizes that a layer and its own layers hold, by where they stand."""
    found = {}
    for path, layer in [("", module), *module.named_children()]:
        for name, value in vars(layer).items():
            if type(value) is int and value > 1:
                found[f"{path}.{name}"] = value
        for name, parameter in layer._parameters.items():
            if parameter is not None:
                found |= {f"{path}.{name}.{dim}": n for dim, n in enumerate(parameter.shape)}
    return found


def _set_attributes(model: nn.Module, discovery: Discovery, sizes: Mapping[str, int]) -> None:
    """Set the attributes that carry a size."""
    named = {f"{path}.{name}": value for (path, name), value in discovery.attributes.items()}
    for depth in discovery.depths:
        named = with_depth(named, depth, sizes[depth.name])
    for qualified, expression in named.items():
        path, _, name = qualified.rpartition(".")
        module = model.get_submodule(path)
        old = getattr(module, name)
        new: Any
        if isinstance(expression, tuple):
            new = type(old)([item.value(sizes) for item in expression])
        else:
            new = expression.value(sizes)
        if new != old:
            setattr(module, name, new)


def _resize_parameters(
    module: nn.Module, path: str, shapes: Mapping[str, tuple[int, ...]], replaced: Replaced
) -> None:
    """Replace a layer's parameters of other shapes."""
    for name, old in list(module._parameters.items()):
        if old is None:
            continue
        shape = _shape(shapes, path, name)
        if tuple(old.shape) == shape:
            continue
        if id(old) not in replaced:
            new = nn.Parameter(old.detach().new_empty(shape), requires_grad=old.requires_grad)
            new.__dict__.update(vars(old))
            replaced[id(old)] = (old, new)
        setattr(module, name, replaced[id(old)][1])  # a recurrent layer keeps a list, too


def _resize_buffers(module: nn.Module, path: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Replace a layer's buffers of other shapes."""
    changed = False
    for name, old in list(module._buffers.items()):
        if old is None:
            continue
        shape = _shape(shapes, path, name)
        if tuple(old.shape) == shape:
            continue
        changed = True
        if isinstance(old, FakeTensor) or isinstance(module, _NormBase | _SpectralNorm):
            module._buffers[name] = old.new_empty(shape)
        else:
            module._buffers[name] = resized_buffer(f"{path}.{name}".lstrip("."), old, shape)
    if changed and isinstance(module, _NormBase):
        module.reset_running_stats()


def _shape(shapes: Mapping[str, tuple[int, ...]], path: str, name: str) -> tuple[int, ...]:
    qualified = f"{path}.{name}" if path else name
    if qualified not in shapes:
        raise ResizeError(f"{qualified} is there at some sizes only")
    return shapes[qualified]


def _derive_numbers(module: nn.Module, path: str, before: Mapping[str, int]) -> None:
    """Set the numbers of a layer that follow from one of its sizes.

    Raises:
        ResizeError: Several sizes explain a number, and differ from now on.
    """
    after = _sizes_of(module)
    if after == before:
        return
    for name, value in list(vars(module).items()):
        if type(value) is not float or not any(part in name for part in _DERIVED_NAMES):
            continue
        results = {
            key: rule(new)
            for key, (old, new) in _numbers_to_derive_from(before, after).items()
            for rule in _SIZE_RULES
            if math.isclose(rule(old), value, rel_tol=1e-9)
        }
        heads = {key: new for key, new in results.items() if key[1:] in _HEAD_SIZES}
        distinct = sorted(set((heads or results).values()))
        if len(distinct) > 1:
            raise ResizeError(
                f"{name} of {path or 'the model'} is {value:.6g} and may follow from several sizes"
            )
        if distinct:
            setattr(module, name, distinct[0])


def _numbers_to_derive_from(
    before: Mapping[str, int], after: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Return what a layer's numbers may follow from, before and after: sizes, and those of heads.

    A number of heads itself is none: nothing is scaled by it.
    """
    counts = [key for key in before if key[1:] in _HEAD_COUNTS and key in after]
    sizes = {key: (old, after[key]) for key, old in before.items() if key in after}
    heads = {
        f"{key}//{count}": (old // before[count], new // after[count])
        for count in counts
        for key, (old, new) in sizes.items()
        if key not in counts and not old % before[count] and old > before[count]
    }
    return {**{key: both for key, both in sizes.items() if key not in counts}, **heads}


def _initialise(
    model: nn.Module, replaced: Replaced, recipes: Mapping[int, Recipe], *, afresh: bool
) -> None:
    """Fill the new parameters."""
    old_of = {id(new): old for old, new in replaced.values()}
    filled: set[int] = set()
    with torch.no_grad():
        for module in model.modules():
            _initialise_layer(module, old_of, filled, recipes, afresh=afresh)
        for module in model.modules():
            _restore_weight_norm(module, old_of)
            if isinstance(module, _SpectralNorm):  # its vectors start anywhere
                for vector in module.buffers():
                    vector.copy_(functional.normalize(torch.randn_like(vector), dim=0))


def _initialise_layer(
    module: nn.Module,
    old_of: Mapping[int, Tensor],
    filled: set[int],
    recipes: Mapping[int, Recipe],
    *,
    afresh: bool,
) -> None:
    """Fill the new parameters among a layer's own; those it shares are filled once."""
    own = [value for value in module._parameters.values() if value is not None]
    new = [value for value in own if id(value) in old_of and id(value) not in filled]
    reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
    by_reset = [
        value
        for value in new
        if (recipe := recipes.get(id(old_of[id(value)]))) is not None and recipe.by_reset
    ]
    done: set[int] = set()
    if callable(reset) and (by_reset or (afresh and own)):
        kept = {id(value): value.detach().clone() for value in own if id(value) not in old_of}
        versions = {id(value): value._version for value in own}
        reset()
        # The weight of weight norm is none of its own: the reset fills something else then.
        done = {
            id(value)
            for value in (new if afresh else by_reset)
            if value._version != versions[id(value)]
        }
        for value in own:
            recipe = recipes.get(id(value))
            if id(value) in kept and not afresh and not (recipe is not None and recipe.by_reset):
                value.copy_(kept[id(value)])
    for value in new:
        filled.add(id(value))
        if id(value) in done:
            continue
        old = old_of[id(value)]
        recipe = recipes.get(id(old))
        if recipe is not None:
            recipe.apply(value)
        else:
            draw_like(old, value, _fan_in_scale(module, old, value))
    if new and isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight[module.padding_idx].fill_(0)


def _fan_in_scale(module: nn.Module, old: Tensor, new: Tensor) -> float:
    """Return what the deviation of a layer's weight is multiplied by: sqrt(old / new fan-in)."""
    if not isinstance(module, nn.Linear | _ConvNd) or old.ndim < 2:
        return 1.0
    return math.sqrt(old[0].numel() / max(1, new[0].numel()))


def _restore_weight_norm(module: nn.Module, old_of: Mapping[int, Tensor]) -> None:
    """Let a weight that is given as length and direction be the direction, as it was at first."""
    if parametrize.is_parametrized(module):
        for name, originals in module.parametrizations.items():  # type: ignore[operator, union-attr]
            direction = getattr(originals, "original1", None)
            if direction is not None and id(direction) in old_of:
                setattr(module, name, direction.detach().clone())
    for name, length in module._parameters.items():
        direction = module._parameters.get(f"{name.removesuffix('_g')}_v")
        if length is not None and direction is not None and id(direction) in old_of:
            dims = [dim for dim, size in enumerate(length.shape) if size == 1]
            length.copy_(direction.norm(dim=dims, keepdim=True))
