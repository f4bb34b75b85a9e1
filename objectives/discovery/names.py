"""Names of width groups: the model's own words, so that a person knows what is meant.

In this order: an attribute of the model that is that size (`self.d_model`), a number of its
configuration or a default of its arguments that equals that size and no other group's, an attribute
of a layer inside, a word of torch's own layers (`dim_feedforward`, `hidden_size`), and the layer
that the first member belongs to (`stage1.conv1`).

Entry point: `name_groups`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from .equations.solution import Solution
from .groups import Member

_GENERAL = frozenset(
    {
        *("in_features", "out_features", "in_channels", "out_channels", "num_features"),
        *("normalized_shape", "groups", "num_channels", "num_groups", "embedding_dim"),
        *("num_embeddings", "input_size", "kdim", "vdim", "unflattened_size", "nf", "nx"),
        *("variance_epsilon", "in_dim", "out_dim", "in_ch", "out_ch", "cin", "cout", "inp", "oup"),
        *("split_size", "all_head_size", "num_parameters", "in1_features", "in2_features"),
        *("chunk_size_feed_forward", "layer_idx", "layer_id", "hidden_dims"),
    }
)
"""Attributes that say of what a layer is, not what the number is to the model."""

_NO_WIDTH = re.compile(
    r"vocab|class|seq|len|block_size|context|position|head|layer|depth|patch|kernel|image|img|seed"
    r"|stride|input|output|^in_|^out_|max_|token|epoch|expert|_id$|rank|bucket|groups$|version"
    r"|expan[ds]|ratio|factor|multipl|conv_pos|num_labels|^num_conv",
    re.IGNORECASE,
)
"""Words for numbers that are no width, whatever their value."""

_STREAM = re.compile(
    r"^(d|dim|d_?model|n_?embd?|hidden(_size|_dim)?|(n_?)?emb(ed)?(_dim|_size|ding_dim)?|width)$",
    re.IGNORECASE,
)
"""Words for the size of the residual stream."""


def name_groups(
    model: nn.Module,
    make_model: Callable[..., Any] | None,
    solution: Solution,
    groups: Mapping[int, Sequence[Member]],
    pattern: Callable[[str], str],
) -> dict[int, str]:
    """Return a unique name for each group, by the number of its free symbol.

    Args:
        model: With its own attributes.
        make_model: What makes it, for the words of its arguments; None where that is unknown.
        solution: What each symbol is.
        groups: The members of each group by the number of its free symbol.
        pattern: Of a layer's path, with "*" for a block's number.
    """
    names: dict[int, str] = {}
    outer, inner = _attribute_words(model, solution)
    arguments = _argument_words(model, make_model, solution, groups)
    for number, members in groups.items():
        words = [
            *outer.get(number, ()),
            *arguments.get(number, ()),
            *inner.get(number, ()),
            *_torch_words(model, members),
            pattern(members[0].module) or members[0].parameter,
            members[0].module,
            *(pattern(member.module) or member.parameter for member in members),
            *(f"{member.qualified_parameter}.{member.dim}" for member in members),
            f"width_{number}",
        ]
        candidates = [_valid(word) for word in words if word]
        names[number] = next(word for word in candidates if word not in names.values())
    return names


def _valid(word: str) -> str:
    """Return a path as a name: letters, digits, dots and underscores; no digit first."""
    without_stars = re.sub(r"\*\w*\.?", "", word)
    name = re.sub(r"[^A-Za-z0-9_.]", "_", without_stars).strip(".") or "width"
    return f"layer{name}" if name[0].isdigit() else name


def _attribute_words(
    model: nn.Module, solution: Solution
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Return attributes that are a free symbol: of the model or a configuration, and of layers.

    Of the user's own layers only, the outermost first.
    """
    words: tuple[dict[int, list[str]], dict[int, list[str]]] = ({}, {})
    for (_, name), configured in solution.symbols.configured.items():
        number = solution.of(configured).as_symbol
        field_name = name.rpartition(".")[2]
        if number is not None and _is_word(field_name):
            words[0].setdefault(number, []).append(field_name)
    by_depth = sorted(
        solution.symbols.attributes.items(),
        key=lambda item: item[0][0].count(".") + bool(item[0][0]),
    )
    for (path, name), numbers in by_depth:
        if isinstance(numbers, tuple) or not _is_word(name):
            continue
        if type(model.get_submodule(path)).__module__.startswith("torch.nn."):
            continue
        number = solution.of(numbers).as_symbol
        if number is not None:
            words[bool(path)].setdefault(number, []).append(name)
    return words


def _is_word(name: str) -> bool:
    """Return whether a name says what a width is to the model."""
    return not name.startswith("_") and name not in _GENERAL and not _NO_WIDTH.search(name)


def _argument_words(
    model: nn.Module,
    make_model: Callable[..., Any] | None,
    solution: Solution,
    groups: Mapping[int, Sequence[Member]],
) -> dict[int, list[str]]:
    """Return names of arguments and of a configuration's numbers whose value is a group's size.

    Where several groups have that size, a word for the residual stream means the largest.
    """
    configs = {id(own): own for own in map(_config, model.modules()) if own is not None}
    sources = [dict(vars(config)) for config in configs.values()]
    sources += [_defaults(callable_) for callable_ in (make_model, type(model).__init__)]
    words: dict[int, list[str]] = {}
    for source in sources:
        by_size: dict[int, list[str]] = {}
        for name, value in source.items():
            if type(value) is int and _is_word(name):
                by_size.setdefault(value, []).append(name)
        for size, names in by_size.items():
            fitting = [number for number in groups if solution.values[number] == size]
            if len(fitting) == len(names) == 1:
                words.setdefault(fitting[0], []).append(names[0])
            elif fitting:
                largest = max(fitting, key=lambda number: len(groups[number]))
                stream = [name for name in names if _STREAM.search(name)]
                words.setdefault(largest, []).extend(stream[:1])
    return words


def _config(module: nn.Module) -> object | None:
    """Return the configuration that a module was built from; None where it has none."""
    config = getattr(module, "config", None)
    return config if hasattr(config, "__dict__") else None


def _defaults(callable_: Callable[..., Any] | None) -> dict[str, Any]:
    if callable_ is None:
        return {}
    try:
        parameters = inspect.signature(callable_).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def _torch_words(model: nn.Module, members: Sequence[Member]) -> list[str]:
    """Return what torch's own layers call a size."""
    words: list[str] = []
    encoder = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
    for member in members:
        owner_path, _, leaf = member.module.rpartition(".")
        owner = model.get_submodule(owner_path)
        layer = model.get_submodule(member.module)
        if isinstance(owner, encoder) and leaf == "linear1" and member.dim == 0:
            words.append("dim_feedforward")
        elif isinstance(owner, encoder) and leaf == "linear1":
            words.append("d_model")
        elif isinstance(layer, nn.RNNBase) and member.dim == 1:
            projected = layer.proj_size > 0
            recurrent = member.parameter.startswith("weight_hh")
            words.append("proj_size" if recurrent and projected else "")
            last = "weight_hr" if projected else "weight_hh"
            words.append("hidden_size" if member.parameter.startswith(last) else "")
        elif isinstance(layer, nn.MultiheadAttention) and member.parameter == "in_proj_weight":
            words.append("d_model" if isinstance(owner, encoder) else "embed_dim")
    return sorted(set(filter(None, words)), key=words.index)
