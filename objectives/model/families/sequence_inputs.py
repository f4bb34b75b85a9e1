"""What the families of sequences make of their inputs: a vector for each step.

Entry point: `SequenceInputs`.
"""

from typing import final

from torch import Tensor, nn


@final
class SequenceInputs(nn.Module):
    """Embeds token ids, or projects the numbers of each step.

    Attributes:
        steps: Length of a sequence.
    """

    def __init__(self, input_shape: tuple[int, ...], size: int, vocabulary: int | None) -> None:
        """Make the layer.

        Args:
            input_shape: `(steps,)` or `(steps, features)`.
            size: Of a step's vector.
            vocabulary: Number of token ids; None where the inputs are numbers.
        """
        super().__init__()
        self.steps = input_shape[0]
        self.has_feature_axis = len(input_shape) > 1
        self.layer: nn.Module
        if vocabulary is not None:
            self.layer = nn.Embedding(vocabulary, size)
        else:
            self.layer = nn.Linear(input_shape[1] if self.has_feature_axis else 1, size)
        self.embeds = vocabulary is not None

    def forward(self, x: Tensor) -> Tensor:
        """Return [rows, steps, size]."""
        if not self.embeds and not self.has_feature_axis:
            x = x.unsqueeze(-1)
        return self.layer(x)  # type: ignore[no-any-return]
