"""The verbs about a model rather than a study: `cost`, `check` and `init`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_options import Json, SpecFile, stderr, stdout, table, write_json
from .errors import SpecError

if TYPE_CHECKING:
    from ..objectives.step import TensorSpec


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("cost")(cost)
    app.command("check")(check)
    app.command("init")(init)


def cost(
    *,
    build: Annotated[str, typer.Option(help="The builder: FILE.py:name or package.module:name.")],
    input_shape: Annotated[
        list[str],
        typer.Option(
            "--input",
            help='Shape of one sample: "31", "3x32x32"; "128:int64" for token ids. Repeat it for '
            "a model with several inputs.",
        ),
    ],
    widths: Annotated[str, typer.Option(help='"a=64,b=32".')] = "",
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a step, for memory.")] = 64,
    optimizer: Annotated[str, typer.Option(help="adamw, adam or sgd, for memory.")] = "adamw",
    as_json: Json = False,
) -> None:
    """Count what a candidate costs, exactly, without allocating or training it.

    FLOPs = 2 × MACs, forward and per sample; step FLOPs are forward and backward, per sample;
    memory is the peak of live bytes of one training step, or one forward pass, on a CPU.
    """
    from ..objectives.cost import count_costs
    from ..objectives.loading import load_object
    from ..objectives.step import StepSpec
    from .report import show_cost

    values = parse_widths(widths)
    function = load_object(build, Path.cwd())
    step = StepSpec(
        inputs=tuple(parse_input(shape) for shape in input_shape),
        batch_size=batch_size,
        optimizer=optimizer,
    )
    costs = count_costs(lambda: function(dict(values)), step).as_dict()
    if as_json:
        write_json(costs)
        return
    shown = {
        "parameters": "parameters",
        "trainable_parameters": "trainable parameters",
        "macs": "MACs, forward per sample",
        "flops": "FLOPs (2 × MACs), forward per sample",
        "step_flops": "FLOPs of a training step, per sample",
        "train_memory": f"training memory, batch of {batch_size}, {optimizer}",
        "inference_memory": f"inference memory, batch of {batch_size}",
    }
    stdout().print(
        table(
            ["cost", "for people", "exactly"],
            [
                [title, show_cost(key, costs[key]), f"{costs[key]:,}"]
                for key, title in shown.items()
            ],
        )
    )


def check(spec: SpecFile, *, as_json: Json = False) -> None:
    """Try a spec out: builder, data, metric, costs and limits; nothing is trained or stored."""
    from .problem import Problem
    from .report import comparison_costs, show_cost, show_widths
    from .spec import load_spec

    loaded = load_spec(spec)
    problem = Problem.load(loaded, spec.resolve().parent)
    candidates = {
        "smallest": problem.space.as_mapping(problem.space.smallest()),
        "largest": problem.space.as_mapping(problem.space.largest()),
        **{baseline.name: baseline.widths for baseline in problem.proposer.baselines},
    }
    costs = {name: problem.trace(widths) for name, widths in candidates.items()}
    if as_json:
        write_json(
            {
                "study": loaded.name,
                "candidates": problem.space.size,
                "feasible_share": problem.feasible.share,
                "feasible_share_is_exact": problem.feasible.enumerated,
                "fingerprint": problem.fingerprint,
                "notes": problem.notes(),
                "costs": {
                    name: {
                        "widths": dict(candidates[name]),
                        "feasible": problem.limits.admits(found),
                        **found,
                    }
                    for name, found in costs.items()
                },
            }
        )
        return
    console = stdout()
    for note in problem.notes():
        console.print(note, markup=False)
    names = comparison_costs(problem.limits.as_dict())
    console.print(
        table(
            ["candidate", "widths", "fits", *names.values()],
            [
                [
                    name,
                    show_widths(candidates[name]),
                    "yes" if problem.limits.admits(found) else "no",
                    *(show_cost(key, found[key]) for key in names),
                ]
                for name, found in costs.items()
            ],
        )
    )
    console.print(f"{spec} is fine; `widthwise run {spec}` searches it", markup=False)


def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]")] = Path("widthwise.toml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a spec to start from; it runs as it is."""
    if path.exists() and not force:
        raise SpecError(f"{path} exists already; choose another name, or --force to overwrite it")
    try:
        path.write_text(TEMPLATE, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path} cannot be written: {error.strerror}") from error
    stderr().print(f"wrote {path}; `widthwise check {path}` tries it out", markup=False)


def parse_widths(text: str) -> dict[str, int]:
    """`a=64,b=32` as widths by name.

    Raises:
        SpecError: A part is no NAME=NUMBER, or a name stands twice.
    """
    widths: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([^=\s]+)\s*=\s*([0-9]+)", part)
        if match is None:
            raise SpecError(f'--widths: found "{part}", expected NAME=NUMBER such as hidden1=64')
        if match[1] in widths:
            raise SpecError(f'--widths: "{match[1]}" stands twice; give each width once')
        widths[match[1]] = int(match[2])
    return widths


def parse_input(text: str) -> TensorSpec:
    """`3x32x32` or `128:int64` as the shape and type of one sample.

    Raises:
        SpecError: It is neither.
    """
    import torch

    from ..objectives.step import TensorSpec

    types = {"float32": torch.float32, "int64": torch.int64}
    shape, _, name = text.partition(":")
    sizes = re.split(r"[x×,]", shape) if shape else []
    if (
        not all(re.fullmatch(r"[1-9][0-9]*", size) for size in sizes)
        or (name or "float32") not in types
    ):
        raise SpecError(
            f'--input: found "{text}", expected the shape of one sample such as 31, 3x32x32 or '
            f"128:int64 (types: {', '.join(types)})"
        )
    return TensorSpec(shape=tuple(int(size) for size in sizes), dtype=types[name or "float32"])


TEMPLATE = """\
# How many neurons should each layer have?   widthwise run widthwise.toml --workers 2

[study]
name = "my-study"
trials = 40                  # exact, over all workers and restarts
# goal = "smallest"          # with target = 0.97: the cheapest that is good enough; or "front"

[model]
family = "mlp"               # or build = "my_model.py:build", your build(widths) -> nn.Module

[widths]
hidden1 = { low = 16, high = 512, step = 16 }    # widths["hidden1"] in your build function
hidden2 = { low = 16, high = 512, step = 16 }    # or [16, 32, 64], or { choices = [16, 32, 64] }
order = "non-increasing"
# tie = [["encoder", "decoder"]]
# divisible = { d_model = "heads" }

[limits]                     # hard: no training is ever spent on a candidate that breaks one
flops = "200k"               # forward, per sample; FLOPs = 2 × MACs
parameters = "100k"
train_memory = "4 MiB"       # peak of one training step at the proxy's batch size

[proxy]
data = "digits"              # or FILE.csv/.parquet/.npz with target = "column", or module:function
metric = "accuracy"
epochs = 20
batch_size = 64
patience = 3
"""
