"""The verb `check`: a spec or a data file tried out; nothing is trained."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...command import format_command
from ...errors import SpecError
from ...printable import escape_controls
from ..check_data import (
    MAX_LISTED_COLUMNS,
    FileOptions,
    check_data,
    description_json,
    print_description,
    spec_data,
)
from ..options import JsonOption, MemoryForOption, expand_options, stdout, write_json
from ..tables import print_table

if TYPE_CHECKING:
    from ...problem.problem import Problem


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("check")(expand_options(check))


CoordinatesOption = Annotated[
    bool,
    typer.Option(
        "--coordinates",
        help="Train models of growing width for a few steps, and see that no layer's change grows.",
    ),
]


def check(
    spec: Annotated[
        Path | None, typer.Argument(metavar="[SPEC]", help="A spec file, or --data instead.")
    ] = None,
    *,
    options: FileOptions,
    coordinates: CoordinatesOption = False,
    memory_for: MemoryForOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try a spec out (builder, data, metric, costs and limits), or see how a data file is read."""
    if (spec is None) == (options.data is None):
        advice = "; `widthwise init` writes a spec file" if spec is None else ", not both"
        raise SpecError(f"check needs a spec file or --data FILE{advice}")
    if spec is None:
        if coordinates:
            raise SpecError("--coordinates goes with a spec file: it trains its model")
        if memory_for is not None:
            raise SpecError("--for goes with a spec file: it counts the memory of its model")
        check_data(options, as_json=as_json)
        return
    if options.given_flags:
        raise SpecError(
            f"{', '.join(options.given_flags)} goes with --data: set it in {spec} instead"
        )
    _check_spec(spec, coordinates=coordinates, memory_for=memory_for, as_json=as_json)


def _check_spec(spec: Path, *, coordinates: bool, memory_for: str | None, as_json: bool) -> None:
    """Try a spec out; nothing is stored."""
    from ...discovery.ranges import load_complete_spec
    from ...problem.build import prefix_errors
    from ...problem.notes import predicted_time, problem_notes
    from ...problem.problem import Problem
    from ...report.summary import cost_columns
    from ...spec.spec import with_memory_for
    from ...units import format_cost, format_widths

    with prefix_errors(str(spec)):
        parsed_spec = with_memory_for(load_complete_spec(spec), memory_for)
    with prefix_errors(str(spec)):
        problem = Problem.load(parsed_spec, spec.resolve().parent)
        if coordinates:
            _check_coordinates(problem, as_json=as_json)
            return
        data = spec_data(parsed_spec, spec.resolve().parent)
    candidates = {
        "smallest": problem.space.as_mapping(problem.space.smallest()),
        "largest": problem.space.as_mapping(problem.space.largest()),
        **{
            name: reference
            for name, reference in problem.spec.references.items()
            if isinstance(reference, dict) and set(reference) == set(problem.space.names)
        },
        **{baseline.name: baseline.widths for baseline in problem.suggester.baselines},
    }
    costs = {name: problem.exact_costs(widths) for name, widths in candidates.items()}
    if as_json:
        write_json(
            {
                "study": parsed_spec.name,
                "candidates": problem.space.size,
                "feasible_share": problem.feasible.feasible_fraction,
                "feasible_share_is_exact": problem.feasible.enumerated,
                "fingerprint": problem.fingerprint,
                **({"device": "cuda"} if problem.spec.counts_for_gpu else {}),
                "notes": problem_notes(problem),
                "data": None if data is None else description_json(data),
                "costs": {
                    name: {
                        "widths": dict(candidates[name]),
                        "feasible": problem.limits.admits(candidate_costs),
                        **candidate_costs,
                    }
                    for name, candidate_costs in costs.items()
                },
            }
        )
        return
    console = stdout()
    if data is not None:
        print_description(replace(data, notes=(), target_notes=()), most=MAX_LISTED_COLUMNS)
    for note in [*problem_notes(problem), *predicted_time(problem)]:
        console.print(escape_controls(note), markup=False)
    cost_titles = cost_columns(problem.limits.as_dict())
    print_table(
        console,
        ["candidate", "widths", "fits", *cost_titles.values()],
        [
            [
                name,
                format_widths(candidates[name]),
                "yes" if problem.limits.admits(candidate_costs) else "no",
                *(
                    format_cost(cost_name, candidate_costs[cost_name])
                    if cost_name in candidate_costs
                    else "—"
                    for cost_name in cost_titles
                ),
            ]
            for name, candidate_costs in costs.items()
        ],
    )
    console.print(f"{spec} is fine; `{format_command('run', spec)}` searches it", markup=False)


def _check_coordinates(problem: Problem, *, as_json: bool) -> None:
    """Print whether the learning rate holds at every width of the space."""
    from ....objectives.errors import ModelError, describe_error
    from ....objectives.parametrisation.coordinate_check import coordinate_check
    from ....objectives.user_code import user_code_location, user_errors
    from ...problem.parametrise import base_widths, structural_widths, width_sweep

    objective = problem.loop_objective
    if objective is None:
        raise SpecError(
            "--coordinates trains the model by Widthwise's own steps, found train in [proxy]: how "
            "rates follow the widths is up to your function"
        )
    base = base_widths(problem.spec, problem.space)
    widths = width_sweep(problem.space, base, structural_widths(problem.spec))
    with user_errors(
        lambda error: ModelError(
            f"{objective.name}: the check of coordinates raised {describe_error(error)}"
            f"{user_code_location(error)}: make the model and the loss take a training step."
        )
    ):
        result = coordinate_check(objective, problem.parametrisation, widths, problem.settings)
    if as_json:
        write_json({"passed": result.passed, **asdict(result)})
    else:
        stdout().print(result.table(), markup=False)
    if not result.passed:
        raise SpecError(result.summary)
    if not as_json:
        stdout().print(result.summary, markup=False)
