"""The verb `cost`: what one candidate, a file of candidates or a whole space costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import SpecError
from ...flags import whole_number
from ...spec.device import parse_memory_device
from ...spec.proxy_section import MAX_BATCH_SIZE
from ..options import JsonOption, MemoryForOption, parse_widths, stdout, write_json
from ..tables import print_table

if TYPE_CHECKING:
    import torch

    from ....objectives.training.step import TensorSpec
    from ...problem.cost_survey import CostSurvey

_GIVEN_NOTE = "the costs are those that the spec's own function gives"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("cost")(cost)


def cost(
    spec: Annotated[
        Path | None, typer.Argument(metavar="[SPEC]", help="A spec file, or --build and --input.")
    ] = None,
    *,
    build: Annotated[
        str | None, typer.Option(help="The builder: FILE.py:name or package.module:name.")
    ] = None,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help='Shape of one sample: "31", "3x32x32"; "128:int64" for token ids. Repeat it for '
            "a model with several inputs.",
        ),
    ] = None,
    widths: Annotated[str | None, typer.Option(help='One candidate: "a=64,b=32".')] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="A .csv or .json file of candidates, one a row.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--batch-size", 1, MAX_BATCH_SIZE),
            metavar="N",
            help="Samples a step, with --build.",
            show_default="64",
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="adamw, adam or sgd, for memory, with --build.", show_default="adamw"),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="float32 or bfloat16 (autocast), with --build.", show_default="float32"),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--accumulate", 1, MAX_BATCH_SIZE),
            metavar="N",
            help="Parts that a batch passes through in, with --build.",
            show_default="1",
        ),
    ] = None,
    foreach: Annotated[
        bool,
        typer.Option(
            "--foreach",
            help="Update all parameters at once, as torch does on a GPU by itself, with --build.",
        ),
    ] = False,
    memory_for: MemoryForOption = None,
    by_module: Annotated[
        bool, typer.Option("--by-module", help="Show each module of the candidate.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Train a real step; show predicted against measured.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Count what candidates cost, exactly, without allocating or training them.

    FLOPs = 2 × MACs, forward and per sample; step FLOPs are forward and backward, per sample;
    memory is the peak of live bytes of one training step, or one forward pass, on a CPU, or, with
    --for cuda, what torch's allocator would hold on a GPU, which need not be here. A SPEC without
    --widths or --candidates is shown as a whole space, and where it gives the costs by a
    function, these are shown.
    """
    from ....objectives.training.step import StepSpec
    from ...problem.cost_survey import from_build, from_spec, read_candidates

    if (spec is None) == (build is None):
        raise SpecError("cost needs a spec file or --build FILE.py:name, and not both")
    if widths is not None and candidates is not None:
        raise SpecError("--widths is one candidate and --candidates a file of them: give one")
    if build is not None:
        if not input_shape:
            raise SpecError("--build needs --input, the shape of one sample such as 31 or 3x32x32")
        device_type, capability = parse_memory_device(memory_for or "cpu")
        step = StepSpec(
            inputs=tuple(parse_input(shape) for shape in input_shape),
            batch_size=batch_size or 64,
            optimizer=optimizer or "adamw",
            autocast=parse_precision(precision or "float32"),
            accumulate=accumulate or 1,
            foreach=foreach,
            device_type=device_type,
            capability=capability,
        )
        cost_survey = from_build(build, step)
    else:
        assert spec is not None
        given = {
            "--input": input_shape,
            "--batch-size": batch_size,
            "--optimizer": optimizer,
            "--precision": precision,
            "--accumulate": accumulate,
            "--foreach": foreach,
        }
        flags = [flag for flag, value in given.items() if value]
        if flags:
            raise SpecError(f"{', '.join(flags)} goes with --build: set it in {spec} instead")
        cost_survey = from_spec(spec, memory_for)
    if candidates is not None:
        _print_candidates(cost_survey, read_candidates(candidates), as_json)
    elif widths is not None or cost_survey.space is None:
        _print_candidate(
            cost_survey, parse_widths("--widths", widths or ""), as_json, by_module, verify
        )
    else:
        _print_space(cost_survey, as_json)


def _print_candidate(
    cost_survey: CostSurvey, widths: dict[str, int], as_json: bool, by_module: bool, verify: bool
) -> None:
    from ....objectives.cost.costs import Costs
    from ....objectives.cost.registry import COUNTED_COSTS
    from ...units import format_cost, format_memory

    costs = cost_survey.count(widths)
    values: dict[str, Any] = dict(costs.as_dict())
    by_device = cost_survey.memory_elsewhere(widths, costs)
    values |= _device_entry(cost_survey)
    if by_device:
        values["train_memory_by_device"] = by_device
    if by_module:
        values["modules"] = cost_survey.count_by_module(widths)
    if verify:
        values["measured"] = cost_survey.measure(widths, costs)
    if as_json:
        if costs.notes:
            values["notes"] = list(costs.notes)
        write_json(values)
        return
    console = stdout()
    rows = []
    traced = costs if isinstance(costs, Costs) else None
    for kind in COUNTED_COSTS:
        if kind.name not in values:  # the user's own function does not give it
            continue
        value = values[kind.name]
        rows.append([kind.definition, format_cost(kind.name, value), f"{value:,}"])
        if traced is not None and kind.name == "train_memory":
            rows += [
                [f"  of it {component}", format_memory(size), f"{size:,}"]
                for component, size in traced.train_breakdown.as_dict().items()
            ]
            if by_device:
                on_cpu = by_device["cpu"]
                rows.append(["  on a CPU instead", format_memory(on_cpu), f"{on_cpu:,}"])
    if traced is not None:
        largest = traced.largest_tensor
        rows.append(["largest tensor", format_memory(largest), f"{largest:,}"])
    print_table(console, ["cost", "for people", "exactly"], rows)
    console.print(_describe_memory(cost_survey), style="dim", markup=False)
    if by_module:
        titles = ["module", "kind", "parameters", "macs", "output_bytes"]
        print_table(
            console,
            titles,
            [
                [
                    module["name"] or "(whole)",
                    module["kind"],
                    *(f"{module[key]:,}" for key in titles[2:]),
                ]
                for module in values["modules"]
            ],
        )
    if verify:
        for line in _describe_measured(values["measured"], values):
            console.print(line, markup=False)
    for note in costs.notes:
        console.print(note, markup=False)


def _describe_memory(cost_survey: CostSurvey) -> str:
    """Return what memory is counted for, in a line."""
    if cost_survey.given_costs is not None:
        return _GIVEN_NOTE
    step = cost_survey.step
    batch = f"memory at a batch of {step.batch_size}"
    if not cost_survey.counts_for_gpu:
        return batch
    gpu = (
        "a GPU of the newest kind"
        if step.capability is None
        else f"a GPU of compute capability {step.capability[0]}.{step.capability[1]}"
    )
    return f"{batch} is what torch's allocator would hold on {gpu}, estimated from above"


def _describe_measured(measured: Mapping[str, Any], costs: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each memory that was measured, beside what was predicted for it."""
    for name, title in (("train_memory", "training memory"), ("inference_memory", "inference")):
        total = measured[name]
        if total is None or name not in costs:
            continue
        scratch = total - measured[f"{name}_without_scratch"]
        of_it = f", {scratch:,} of them kernels' scratch within an operator" if scratch else ""
        yield (
            f"{title}: predicted {costs[name]:,} bytes, torch's allocator held {total:,}{of_it}, "
            f"on {measured['device']} (predicted / measured = {costs[name] / total:.4f})"
        )


def _print_candidates(cost_survey: CostSurvey, rows: list[dict[str, int]], as_json: bool) -> None:
    from ....objectives.cost.registry import FIELDS
    from ...units import format_cost, format_widths

    costs: list[dict[str, Any]] = [
        {"widths": row, **cost_survey.count(row).as_dict()} for row in rows
    ]
    if as_json:
        write_json([{**entry, **_device_entry(cost_survey)} for entry in costs])
        return
    names = [name for name in FIELDS if name != "trainable_parameters" and name in costs[0]]
    print_table(
        stdout(),
        ["candidate", "widths", *names],
        [
            [
                str(number),
                format_widths(candidate["widths"]),
                *(format_cost(name, candidate[name]) for name in names),
            ]
            for number, candidate in enumerate(costs)
        ],
    )


def _device_entry(cost_survey: CostSurvey) -> dict[str, str]:
    """Return what JSON says of memory that is counted for a GPU."""
    return {"device": "cuda"} if cost_survey.counts_for_gpu else {}


def _print_space(cost_survey: CostSurvey, as_json: bool) -> None:
    from ....objectives.cost.registry import COUNTED_COSTS
    from ...units import format_cost, format_widths

    survey = cost_survey.survey()
    if as_json:
        write_json({**survey, **_device_entry(cost_survey)})
        return
    console = stdout()
    quantiles = list(survey["quantiles"]["flops"])
    titles = ["cost", "limit", "smallest", "largest", *(f"quantile {part}" for part in quantiles)]
    rows = []
    for kind in COUNTED_COSTS:
        if kind.name not in survey["smallest"]:  # the user's own function does not give it
            continue
        amounts = [survey["smallest"][kind.name], survey["largest"][kind.name]]
        amounts += [survey["quantiles"][kind.name][part] for part in quantiles]
        limit = survey["limits"].get(kind.name)
        limit_cell = "—" if limit is None else format_cost(kind.name, limit)
        cells = [format_cost(kind.name, amount) for amount in amounts]
        rows.append([kind.definition, limit_cell, *cells])
    print_table(console, titles, rows)
    estimate_note = "" if survey["complete"] else f"about, by {survey['evaluated']:,} of them: "
    binding_note = f"; the limit that binds is {survey['binding']}" if survey["binding"] else ""
    console.print(
        f"{estimate_note}{survey['feasible_share']:.1%} of {survey['candidates']:,} candidates "
        f"keep the limits{binding_note}",
        markup=False,
    )
    if survey["counted_by"] == "given":
        console.print(_GIVEN_NOTE)
    console.print(
        f"smallest: {format_widths(survey['smallest']['widths'])}; "
        f"largest: {format_widths(survey['largest']['widths'])}",
        markup=False,
    )


def parse_precision(text: str) -> torch.dtype | None:
    """Return the type that torch.autocast computes in; None for float32.

    Raises:
        SpecError: There is no such precision.
    """
    import torch

    types = {"float32": None, "bfloat16": torch.bfloat16}
    if text not in types:
        raise SpecError(f'--precision: found "{text}", expected {" or ".join(types)}')
    return types[text]


def parse_input(text: str) -> TensorSpec:
    """Parse `3x32x32` or `128:int64` as the shape and type of one sample.

    Raises:
        SpecError: It is neither.
    """
    from ...discovery.builder import input_spec

    try:
        return input_spec(text)
    except ValueError as error:
        raise SpecError(f"--input: {error}") from None
