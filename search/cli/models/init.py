"""The verb `init`: a spec to start from, for data that are built in, or for a model that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...command import format_command
from ...errors import SpecError
from ..options import stderr


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("init")(init)


def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]")] = Path("widthwise.toml"),
    *,
    model: Annotated[
        str | None,
        typer.Option(
            help="A function without arguments that returns your model, FILE.py:make_model: its "
            "widths are discovered, and no more than today's costs is asked for.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="What to train it on: a data file, a built-in set or FILE.py:load."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of the data file to predict.")] = None,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help='Shape of one sample of the model, "3x32x32" or "128:int64", once for each '
            "input; else as the data says.",
        ),
    ] = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="Tie no widths of repeated blocks.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a spec to start from: one that runs as it is, or with --model one for your model."""
    if path.exists() and not force:
        raise SpecError(f"{path} exists already; choose another name, or --force to overwrite it")
    misplaced: dict[str, object] = {"--data": data, "--target": target, "--input": input_shape}
    misplaced["--per-layer"] = per_layer
    if model is None and (given := [flag for flag, value in misplaced.items() if value]):
        raise SpecError(f"{given[0]} goes with --model FILE.py:make_model, found none")
    if model is None:
        text, todo = SPEC_TEMPLATE, ""
    else:
        from ...discovery.spec_file import write_spec_text

        text = write_spec_text(
            model,
            path,
            data=data,
            target=target,
            inputs=input_shape,
            per_layer=per_layer,
        )
        todo = "" if data else "name your data in its [proxy]; then "
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path} cannot be written: {error.strerror}") from error
    stderr().print(
        f"wrote {path}; {todo}`{format_command('check', path)}` tries it out", markup=False
    )


SPEC_TEMPLATE = """\
# How many neurons should each layer have?   widthwise run widthwise.toml --workers 2

[study]
name = "my-study"
trials = 40                  # exact, over all workers and restarts; or "auto": ends itself
# goal = "smallest"          # with target = 0.97: the cheapest that is good enough; or "front"

[model]
family = "mlp"               # or "cnn", "resnet", "transformer", "lstm"
# build = "my_model.py:build"   # instead of a family: your build(widths) -> nn.Module

[widths]
hidden1 = { low = 16, high = 512, step = 16 }    # widths["hidden1"] in your build function
hidden2 = { low = 16, high = 512, step = 16 }    # or [16, 32, 64], or { choices = [16, 32, 64] }
order = "non-increasing"
# hidden3 = { low = 16, high = 512, step = 16, optional = true }   # 0, too: the layer is absent
# tie = [["encoder", "decoder"]]
# divisible = { d_model = "heads" }

[limits]                     # hard: no training is ever spent on a candidate that breaks one
flops = "200k"               # forward, per sample; FLOPs = 2 × MACs
parameters = "100k"
train_memory = "4 MiB"       # peak of one training step at the proxy's batch size

[proxy]
data = "digits"              # or FILE.csv/.parquet/.npz with target = "column", or module:function
metric = "accuracy"
# report = ["f1"]            # further metrics, recorded beside it
batch_size = 64
# epochs = 20                # at most; by default as many as 3,000 steps take, and at least 20
"""
