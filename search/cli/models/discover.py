"""The verb `discover`: the widths of a model that exists, and what stays with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import SpecError
from ...printable import escape_controls
from ..options import JsonOption, stdout, write_json
from ..tables import print_table

if TYPE_CHECKING:
    from ....objectives.discovery.groups import Discovery


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("discover")(discover)


def discover(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A function without arguments that returns the model: FILE.py:make_model or "
            "package.module:make_model.",
        ),
    ],
    *,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help='Shape of one sample: "31", "3x32x32"; "128:int64" for token ids. Repeat it for '
            "a model with several inputs.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help='Search only widths of these layers, such as "decoder.*"; may be repeated.',
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help='Keep the sizes of these layers: "stem*"; may be repeated.'
        ),
    ] = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="Tie no widths of repeated blocks.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the widths of a model that exists, without editing it; nothing is trained.

    Each layer is in a width, or fixed, with the reason. Every width was tried at other sizes.
    """
    from ...discovery.builder import discovered
    from ...spec.spec import parse_model_section

    if not input_shape:
        raise SpecError(
            "discover needs --input, the shape of one sample such as 31, 3x32x32 or 128:int64"
        )
    section = parse_model_section(
        {
            "discover": model,
            "inputs": input_shape,
            "only": only or None,
            "keep": keep or None,
            "per_layer": per_layer,
        },
        source="the command line",
    )
    discovery = discovered(section, Path.cwd()).discovery
    if as_json:
        write_json(discovery.to_json())
        return
    _print(discovery, model)


def _print(discovery: Discovery, model: str) -> None:
    """Print the widths, the numbers of blocks, and every layer that is fixed."""
    from ...discovery.layer_names import short_paths

    console = stdout()
    rows = [
        [
            group.name,
            f"{group.size:,}",
            f"{group.multiple_of:,}",
            ", ".join(short_paths(member.module for member in group.members)),
        ]
        for group in discovery.groups
    ]
    rows += [
        [depth.name, f"{depth.size:,}", "1", f"number of {', '.join(short_paths(depth.blocks))}"]
        for depth in discovery.depths
    ]
    if rows:
        print_table(
            console,
            ["width", "today", "multiple of", "layers"],
            rows,
            long_columns=("layers",),
        )
    by_reason: dict[str, list[str]] = {}
    for layer in discovery.fixed:
        by_reason.setdefault(layer.reason, []).append(layer.module)
    if by_reason:
        console.print("fixed:")
    for reason, paths in by_reason.items():
        line = f"  {', '.join(short_paths(paths))}: {reason}"
        console.print(escape_controls(line), markup=False)
    console.print(_next_step(discovery, model), markup=False)


def _next_step(discovery: Discovery, model: str) -> str:
    """Return what resizes the widths, and what to do with them; or that there are none."""
    if not discovery.groups:
        return escape_controls(f"{model} has no width to search")
    means = {
        "constructor": "by the arguments of its constructor",
        "config": "by its config",
        "surgery": "layer by layer, in a fresh copy",
    }[discovery.how]
    return escape_controls(
        f"Each width was tried at half, double and an odd size; the model is resized {means}. "
        f"`widthwise init --model {model}` writes a spec that searches them."
    )
