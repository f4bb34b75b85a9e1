"""The verb `suggest`: what rules of thumb say of given sizes, at once."""

from __future__ import annotations

from typing import Annotated

import typer

from ...errors import SpecError
from ...flags import whole_number
from ...rules.inquiry import MAX_LAYERS, MAX_NUMBER, Inquiry, Kind, Task
from ...rules.suggestion import Suggestion
from ...rules.suggestion import suggest as suggest_widths
from ...spec.proxy_section import MAX_BATCH_SIZE
from ...units import parse_memory
from ..options import JsonOption, stdout, write_json
from ..tables import print_table


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("suggest")(suggest)


def suggest(
    *,
    task: Annotated[str, typer.Option(help=f"What is to be learnt: {', '.join(Task)}.")],
    inputs: Annotated[
        str,
        typer.Option(
            help='Size of one sample: columns "300"; an image "3x32x32"; tokens "128"; steps and '
            'features "96x8".'
        ),
    ],
    outputs: Annotated[
        int,
        typer.Option(
            parser=whole_number("--outputs", 1, MAX_NUMBER),
            metavar="N",
            help="Classes or quantities; for a language model its tokens.",
        ),
    ],
    samples: Annotated[
        int,
        typer.Option(
            parser=whole_number("--samples", 1, MAX_NUMBER), metavar="N", help="Rows to train on."
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(help=f"Kind of network: {', '.join(Kind)}; the task's usual one if left out."),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--layers", 1, MAX_LAYERS),
            metavar="N",
            help="Hidden layers; else 2, of a cnn 4, of a transformer 6.",
            show_default=False,
        ),
    ] = None,
    gpu_memory: Annotated[
        str | None,
        typer.Option(help='Memory of the GPU, such as 16GB or "8 GiB": the largest that fits.'),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            parser=whole_number("--batch-size", 1, MAX_BATCH_SIZE),
            metavar="N",
            help="Samples a step, for the memory.",
        ),
    ] = 64,
    vocabulary: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--vocabulary", 1, MAX_NUMBER),
            metavar="N",
            help="Tokens known, for language; else 30,000, or the outputs of a language model.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what rules of thumb recommend for given sizes, each with its source; nothing is trained.

    Rules that contradict each other are shown side by side, and a range to search ends the answer.
    """
    memory = None
    if gpu_memory is not None:
        try:
            memory = parse_memory(gpu_memory)
        except ValueError as error:
            raise SpecError(f"--gpu-memory: {error}") from None
    inquiry = Inquiry.make(
        task=task,
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        samples=samples,
        layers=layers,
        batch_size=batch_size,
        memory=memory,
        vocabulary=vocabulary,
    )
    suggestion = suggest_widths(inquiry)
    if as_json:
        write_json(suggestion.to_json())
    else:
        _print(suggestion)


def _print(suggestion: Suggestion) -> None:
    """Print the ranges, then each rule's source and caveat, then what to search."""
    console = stdout()
    console.print(suggestion.inquiry.describe(), style="bold")
    applying = [rule for rule in suggestion.rules if rule.applies]
    print_table(
        console,
        ["rule", "width", "counts"],
        [[rule.rule, rule.span, rule.unit] for rule in applying],
    )
    for sentence in suggestion.sentences():
        console.print(sentence)
    console.print("\nWhere they come from, and what they leave out", style="bold")
    for rule in applying:
        widths = f" = {'-'.join(map(str, rule.widths))}" if len(set(rule.widths)) > 1 else ""
        console.print(f"• {rule.rule}: {rule.formula}{widths}")
        console.print(f"  source: {rule.source}.", style="dim")
        console.print(f"  but: {rule.caveat}.", style="dim")
    others = [rule for rule in suggestion.rules if not rule.applies]
    if others:
        console.print("\nNot for this task", style="bold")
        for rule in others:
            console.print(f"• {rule.rule}: {rule.span} {rule.unit}; for {rule.applies_to}")
    search = suggestion.search
    console.print("\nSearch them all: the data decides", style="bold")
    console.print(search.spec)
    console.print(f"Written into widthwise.toml: `{search.command}`")
