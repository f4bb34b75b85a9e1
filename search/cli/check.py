"""The verbs that prepare a study: `check` and `init`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SpecError
from .options import Json, SpecFile, stderr, stdout, table, write_json

if TYPE_CHECKING:
    from ..problem.problem import Problem


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("check")(check)
    app.command("init")(init)


Coordinates = Annotated[
    bool,
    typer.Option(
        "--coordinates",
        help="Train models of growing width for a few steps, and see that no layer's change grows.",
    ),
]


def check(spec: SpecFile, *, coordinates: Coordinates = False, as_json: Json = False) -> None:
    """Try a spec out: builder, data, metric, costs and limits; nothing is stored."""
    from ..problem.build import at
    from ..problem.problem import Problem
    from ..report.summary import comparison_costs, show_cost, show_widths
    from ..spec.spec import load_spec

    loaded = load_spec(spec)
    with at(str(spec)):
        problem = Problem.load(loaded, spec.resolve().parent)
        if coordinates:
            _check_coordinates(problem, as_json=as_json)
            return
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
                    *(show_cost(key, found[key]) if key in found else "—" for key in names),
                ]
                for name, found in costs.items()
            ],
        )
    )
    console.print(f"{spec} is fine; `widthwise run {spec}` searches it", markup=False)


def _check_coordinates(problem: Problem, *, as_json: bool) -> None:
    """Say whether the learning rate holds at every width of the space."""
    from ...objectives.parametrisation.coordinate_check import coordinate_check
    from ..problem.parametrise import base_widths, ladder

    widths = ladder(problem.space, base_widths(problem.spec, problem.space))
    found = coordinate_check(problem.objective, problem.scaling, widths, problem.settings)
    if as_json:
        write_json({"passed": found.passed, **asdict(found)})
    else:
        stdout().print(found.table(), markup=False)
    if not found.passed:
        raise SpecError(found.sentence)
    if not as_json:
        stdout().print(found.sentence, markup=False)


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
