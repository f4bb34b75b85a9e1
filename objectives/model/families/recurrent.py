"""The family `lstm`: stacked LSTM layers over sequences.

Samples are sequences, as those of the family `transformer`. Where every step has a class to
predict, the network gives logits `[rows, classes, steps]`, each from the steps so far; else it
answers after the last step.

    widths: hidden for all layers and depth, or hidden1, hidden2, … of each

Entry point: `build_lstm`; `model.family_registry` names it.
"""

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor, nn

from .sequence_inputs import SequenceInputs
from .width_names import layer_widths


def build_lstm(
    widths: Mapping[str, int],
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    vocabulary: int | None = None,
    per_step: bool = False,
    dropout: float = 0.0,
) -> nn.Module:
    """Return a network of LSTM layers.

    Args:
        widths: `hidden` with `depth` (1 unless given), or the hidden size of each layer by number,
            where 0 is a layer that is not there.
        input_shape: `(steps,)` or `(steps, features)`.
        outputs: Classes, or quantities to predict.
        vocabulary: Number of token ids; None where the inputs are numbers.
        per_step: Whether each step has a class of its own.
        dropout: Share of each layer's outputs that is dropped.
    """
    sizes = layer_widths(widths, "hidden")
    if sizes is None:
        sizes = [widths["hidden"]] * widths.get("depth", 1)
    return RecurrentNetwork(
        SequenceInputs(input_shape, sizes[0], vocabulary),
        sizes,
        outputs,
        per_step=per_step,
        dropout=dropout,
    )


@final
class RecurrentNetwork(nn.Module):
    """Embedded steps, LSTM layers, and a linear head."""

    def __init__(
        self,
        inputs: SequenceInputs,
        sizes: Sequence[int],
        outputs: int,
        *,
        per_step: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        in_sizes = [sizes[0], *sizes[:-1]]
        self.layers = nn.ModuleList(
            nn.LSTM(in_size, size, batch_first=True)
            for in_size, size in zip(in_sizes, sizes, strict=True)
        )
        self.dropouts = nn.ModuleList(
            nn.Dropout(dropout) if dropout else nn.Identity() for _ in sizes
        )
        self.head = nn.Linear(sizes[-1], outputs)
        self.per_step = per_step

    def forward(self, x: Tensor) -> Tensor:
        """Return logits or quantities, [rows, outputs], or [rows, classes, steps]."""
        hidden = self.inputs(x)
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            hidden = dropout(layer(hidden)[0])
        if self.per_step:
            return self.head(hidden).transpose(1, 2)  # type: ignore[no-any-return]
        return self.head(hidden[:, -1])  # type: ignore[no-any-return]
