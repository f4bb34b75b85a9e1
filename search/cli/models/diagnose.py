"""The verb `diagnose`: which layer of a trained model is the bottleneck, without any search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import SpecError
from ...flags import whole_number
from ...spec.proxy_section import MAX_EPOCHS
from ..check_data import FileOptions
from ..options import (
    JsonOption,
    expand_options,
    parse_widths,
    stderr,
    stdout,
    write_json,
)
from ..tables import print_table

if TYPE_CHECKING:
    from ....objectives.growth.growth import LayerGrowth, ModelGrowth


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("diagnose")(expand_options(diagnose))


def diagnose(
    model: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:make_model", help="A function that returns the model, or the model."
        ),
    ],
    *,
    options: FileOptions,
    weights: Annotated[
        Path | None, typer.Option(help="Its weights: a state_dict in .safetensors, .pt or .pth.")
    ] = None,
    widths: Annotated[
        str | None, typer.Option(help='For a function of widths: "hidden1=64,hidden2=32".')
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="Loss: a name, or FILE.py:name; else cross_entropy or mse, by the task."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            parser=whole_number("--epochs", 1, MAX_EPOCHS),
            metavar="N",
            help="Train it for so many epochs first.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            parser=whole_number("--seed", 0, 2**63 - 1),
            metavar="N",
            help="Of rows, batches and new neurons.",
        ),
    ] = 0,
    threads: Annotated[
        int,
        typer.Option(
            parser=whole_number("--threads", 1, 1024),
            metavar="N",
            help="CPU threads; a large network wants more.",
        ),
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Find the bottleneck of a trained model: what one more neuron in each layer would bring.

    Gives, layer by layer, the first-order gain of widening on held-out rows and how many of its
    dimensions the layer uses. Nothing is stored, and the model's weights stay as they are.
    """
    import torch

    from ....objectives.data.dataset import Task
    from ....objectives.data.read_options import ReadOptions
    from ....objectives.growth.fit import fit_briefly
    from ....objectives.growth.growth import measure_growth
    from ....objectives.growth.load import load_diagnosis_data, load_model, load_weights

    if options.data is None:
        raise SpecError("diagnose needs --data, a file or FILE.py:load: a gain is measured on rows")
    if options.task is not None and options.task not in list(Task):
        raise SpecError(f'--task: found "{options.task}", expected {" or ".join(Task)}')
    if weights is not None and epochs is not None:
        raise SpecError("--weights are those of a trained model, --epochs trains it: give one")
    torch.set_num_threads(threads)  # many small operators: more threads mostly wait
    built = load_model(
        model, Path.cwd(), None if widths is None else parse_widths("--widths", widths)
    )
    data = load_diagnosis_data(
        options.data,
        built,
        base=Path.cwd(),
        target=options.target,
        task=None if options.task is None else Task(options.task),
        loss=loss,
        options=ReadOptions(
            missing=tuple(options.missing or ()),
            encoding=options.encoding,
            separator=options.separator,
            header=options.header,
        ),
        seed=seed,
    )
    if weights is not None:
        load_weights(built, weights)
    if epochs is not None:
        fit_briefly(built, data.training, data.loss, epochs=epochs, seed=seed)
    for note in data.notes:
        stderr().print(note)
    growth = measure_growth(
        built, training=data.training, held_out=data.held_out, loss=data.loss, seed=seed
    )
    if as_json:
        from ....objectives.growth.words import growth_json

        write_json({"model": model, "loss_name": data.loss_name, **growth_json(growth)})
    else:
        _print(growth, data.loss_name)


def _print(growth: ModelGrowth, loss_name: str) -> None:
    from ....objectives.growth.words import UNIT_NOTE, growth_sentences

    console = stdout()
    for index, sentence in enumerate(growth_sentences(growth)):
        console.print(sentence, style=None if index else "bold")
    print_table(
        console,
        ["layer", "width", "uses", "first-order gain", "off the loss"],
        [_row(layer) for layer in growth.layers],
    )
    console.print(
        f"{loss_name}: {growth.loss.mean:.4g} on {growth.held_out_rows:,} held-out rows, "
        f"{growth.training_loss:.4g} on {growth.rows:,} training rows."
    )
    console.print(UNIT_NOTE, style="dim")
    reasons: dict[str, list[int]] = {}
    for layer in growth.layers:
        if layer.reason is not None:
            reasons.setdefault(layer.reason, []).append(layer.number)
    for reason, numbers in reasons.items():
        console.print(f"Not grown: {', '.join(map(str, numbers))}; {reason}.", style="dim")


def _row(layer: LayerGrowth) -> list[str]:
    name = f"{layer.number} {layer.layer}".strip()
    uses = "—" if layer.rank is None else str(layer.rank.srank)
    first_order, gain = layer.first_order, layer.gain
    return [
        name,
        str(layer.width),
        uses,
        "—"
        if first_order is None
        else f"{first_order.mean:.3g} ({first_order.low:.2g}–{first_order.high:.2g})",
        "—" if gain is None else f"{gain.mean:.2g} ± {(gain.high - gain.low) / 2:.1g}",
    ]
