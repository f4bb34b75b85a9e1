"""The interface of a parametrisation, and the one that leaves a model as it was built.

    model = objective.build(widths)
    parametrisation.initialise(model, widths)
    factors = parametrisation.learning_rate_factors(widths)
    optimizer = make_adamw(model, learning_rate, weight_decay, factors)

Entry points: `Parametrisation`, `StandardParametrisation`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, final

from torch import nn

ParametrisationName = Literal["mup", "standard"]


class Parametrisation(Protocol):
    """How initial weights and learning rates follow the widths."""

    @property
    def name(self) -> ParametrisationName:
        """Its name in a spec."""
        ...

    def initialise(self, model: nn.Module, widths: Mapping[str, int]) -> None:
        """Rescale a freshly built model's parameters in place; draws no random number."""
        ...

    def learning_rate_factors(self, widths: Mapping[str, int]) -> Mapping[str, float]:
        """Return the factor on the learning rate of each parameter, by name; 1 where none is."""
        ...

    def describe(self) -> str:
        """Return a sentence for people."""
        ...


@final
@dataclass(frozen=True, kw_only=True)
class StandardParametrisation:
    """The model as its builder made it, and one learning rate for all of it.

    Attributes:
        reason: Why it is used, as a sentence; empty when it was asked for.
    """

    reason: str = ""

    @property
    def name(self) -> ParametrisationName:
        """Its name in a spec."""
        return "standard"

    def initialise(self, model: nn.Module, widths: Mapping[str, int]) -> None:
        """Do nothing."""

    def learning_rate_factors(self, widths: Mapping[str, int]) -> Mapping[str, float]:  # noqa: ARG002
        """Return no factor: every rate is the study's."""
        return {}

    def describe(self) -> str:
        """Return a sentence for people."""
        return " ".join(filter(None, ["Standard parametrisation.", self.reason]))
