"""The spec that `widthwise init --model` writes: complete, commented, and no dearer than today.

Entry point: `write_spec_text`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...objectives.data.dataset import Data
from ...objectives.data.load import load_data
from ...objectives.data.streams.source import BatchData
from ...objectives.discovery.groups import Discovery
from ...objectives.training.step import TensorSpec
from ..errors import SpecError
from ..spec.input_shape import INPUT_TYPES
from ..spec.spec import parse_model_section
from .builder import data_inputs, discovered
from .layer_names import short_paths
from .ranges import depth_ranges, require_widths, search_ranges

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MOST_LISTED = 3
"""Layers that a comment lists of each width."""


def write_spec_text(
    model: str,
    path: Path,
    *,
    data: str | None = None,
    target: str | None = None,
    inputs: Sequence[str] | None = None,
    per_layer: bool = False,
) -> str:
    """Return a spec that searches the widths of a model that exists.

    References and file names are relative to the current folder; in the spec they are relative to
    its own.

    Args:
        model: Reference of a function without arguments that returns the model.
        path: Of the spec.
        data: What to train on; None leaves it open.
        target: Column of a data file to predict.
        inputs: Shapes of what the model is called with; None for what the data says.
        per_layer: Whether widths of repeated blocks are searched apart.

    Raises:
        SpecError: Nothing says what the model is called with, or it has no width to search.
        ObjectiveError: The model or the data cannot be loaded, or the model not analysed.
    """
    here = Path.cwd()
    loaded = None if data is None else load_data(data, base=here, seed=0, target=target)
    if inputs is None and loaded is None:
        raise SpecError(
            "init --model needs --input, the shape of one sample such as 3x32x32 or 128:int64, or "
            "--data, which says it"
        )
    values = {
        "discover": model,
        "inputs": list(inputs) if inputs else None,
        "per_layer": per_layer or None,
    }
    section = parse_model_section(values, source="the command line")
    discovery = discovered(section, here, loaded).discovery
    require_widths(discovery, model)
    shapes = list(inputs) if inputs else _written_inputs(loaded)
    folder = path.resolve().parent
    return "\n".join(
        [
            f"# The widths of {_reference_from(model, folder)}, which stays as it is.",
            "# Without training: widthwise check FILE.   To search: widthwise run FILE --workers 2",
            "",
            *_study_lines(model),
            "",
            *_model_lines(_reference_from(model, folder), shapes, per_layer),
            "",
            *_width_lines(discovery),
            "",
            *_limit_lines(),
            "",
            "[references.today]           # the model as it is",
            *(f"{_key(group.name)} = {group.size}" for group in discovery.groups),
            "",
            *_proxy_lines(None if data is None else _reference_from(data, folder), target, loaded),
            "",
        ]
    )


def _study_lines(model: str) -> list[str]:
    source = model.rsplit(":", 1)[0]
    stem = Path(source).stem if source.endswith(".py") else source
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-") or "my-model"
    return [
        "[study]",
        f"name = {_text(name)}",
        'trials = 40                  # exact, over all workers and restarts; or "auto"',
        '# goal = "smallest"          # the cheapest that is as good; target = 0.97 says how good',
    ]


def _model_lines(model: str, shapes: Sequence[str] | None, per_layer: bool) -> list[str]:
    lines = [
        "[model]",
        f"discover = {_text(model)}    # called without arguments, it returns today's model",
    ]
    if shapes is not None:
        written = _text(shapes[0]) if len(shapes) == 1 else json.dumps(list(shapes))
        lines.append(f"input = {written}    # one sample, without the batch")
    lines.append(
        "per_layer = true             # widths of repeated blocks are searched apart"
        if per_layer
        else "# per_layer = true           # would search the widths of repeated blocks apart"
    )
    lines.append('# keep = ["head*"]           # layers whose sizes stay; only = [...]: all others')
    return lines


def _width_lines(discovery: Discovery) -> list[str]:
    """Return the widths with their ranges, and the numbers of blocks as comments."""
    lines = [
        "[widths]                     # from a quarter of today's size to double; a width that is",
        "                             # taken out stays as it is today: take it out of today, too",
    ]
    for group in discovery.groups:
        layers = short_paths(member.module for member in group.members)
        more = f" and {len(layers) - _MOST_LISTED} more" if len(layers) > _MOST_LISTED else ""
        must = f", a multiple of {group.multiple_of}" if group.multiple_of > 1 else ""
        lines.append(f"# today {group.size}{must}: {', '.join(layers[:_MOST_LISTED])}{more}")
        lines.append(_range_line(group.name, search_ranges(discovery)[group.name]))
    for name, entry in depth_ranges(discovery).items():
        depth = next(depth for depth in discovery.depths if depth.name == name)
        lines.append(f"# today {depth.size} blocks; to search their number, name it in today, too")
        lines.append(f"# {_range_line(name, entry)}")
    return lines


def _range_line(name: str, entry: Mapping[str, int]) -> str:
    return f"{_key(name)} = {{ {', '.join(f'{key} = {value}' for key, value in entry.items())} }}"


def _limit_lines() -> list[str]:
    return [
        "[limits]                     # hard: no training is spent on a candidate that breaks one",
        'flops = "100% of today"      # forward, per sample; FLOPs = 2 × MACs',
        'parameters = "100% of today"',
        '# train_memory = "100% of today"   # peak of a training step at the batch size below',
    ]


def _proxy_lines(
    data: str | None, target: str | None, loaded: Data | BatchData | None
) -> list[str]:
    lines = ["[proxy]                      # how each candidate is trained"]
    if data is None:
        lines.append(
            'data = "my_data.py:load"     # yours: FILE.csv/.parquet/.npz with target = "column", '
            "or a function"
        )
    else:
        lines.append(f"data = {_text(data)}")
    if target is not None:
        lines.append(f"target = {_text(target)}")
    if _predicts_tokens(loaded):
        lines.append('task = "classification"      # of each token; the classes on axis 1 or last')
    lines.append('# metric = "accuracy"        # else accuracy or r2, as the data is')
    if not isinstance(loaded, BatchData):
        lines.append("batch_size = 64")
    lines.append("# epochs = 20                # at most; else as many as 3,000 steps take")
    return lines


def _predicts_tokens(loaded: Data | BatchData | None) -> bool:
    """Return whether there is a target for each whole number that the model takes, as for tokens.

    Such targets could be quantities just as well; of a language model they never are.
    """
    return (
        isinstance(loaded, Data)
        and not loaded.train.inputs.is_floating_point()
        and loaded.train.inputs.shape == loaded.train.targets.shape
    )


def _written_inputs(loaded: Data | BatchData | None) -> list[str] | None:
    """Return what the data says of the model's inputs as a spec writes it; None where it cannot."""
    assert loaded is not None
    specs = data_inputs(loaded)
    if isinstance(specs, Mapping):
        return None
    texts = []
    for spec in specs:
        type_name = str(getattr(spec, "dtype", "")).removeprefix("torch.")
        if not isinstance(spec, TensorSpec) or spec.whole or type_name not in INPUT_TYPES:
            return None
        suffix = "" if type_name == "float32" else f":{type_name}"
        texts.append(f"{'x'.join(map(str, spec.shape))}{suffix}")
    return texts


def _reference_from(reference: str, folder: Path) -> str:
    """Return a reference or file name of the current folder as one of the spec's folder."""
    source, colon, name = reference.rpartition(":")
    if not colon:
        source, name = reference, ""
    path = Path(source).expanduser()
    if path.is_absolute() or not path.is_file():
        return reference
    relative = Path(os.path.relpath(path.resolve(), folder)).as_posix()
    return f"{relative}{colon}{name}"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
