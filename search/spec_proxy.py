"""`[proxy]`: the data, and how the short training of a trial is done."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from .spec_base import Reference, Section


class HalvingTable(Section):
    """Successive halving: at each rung the best 1/eta go on."""

    eta: int = Field(default=3, ge=2, le=100)
    first: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Epochs before the first rung; below 1, a share of the training rows."""


def _halving_table(value: object) -> object:
    """`halving = 3` is short for `halving = { eta = 3 }`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"eta": value}
    return value


class ProxySection(Section):
    """`[proxy]`: the data and the short training of a trial."""

    data: Reference
    target: str | None = None
    """Column to predict, for a data file."""
    task: Literal["classification", "regression"] | None = None
    metric: Reference | None = None
    direction: Literal["maximize", "minimize"] | None = None
    """For a metric of the user's own."""
    loss: Reference | None = None
    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=64, ge=1)
    patience: int = Field(default=3, ge=0)
    """Epochs without a better metric before a trial stops; 0 trains all epochs."""
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    parametrisation: Literal["mup", "standard"] = "mup"
    """How initial weights and learning rates follow the widths."""
    rate_factors: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = Field(
        default=None, min_length=1, max_length=16
    )
    """Learning rates that each candidate is tried with, as factors; the best counts."""
    replicas: int = Field(default=1, ge=1, le=100)
    """Trainings of each candidate, from different seeds; its value is their mean."""
    folds: int = Field(default=1, ge=1, le=100)
    """Parts of the training and validation rows that take turns in validating."""
    precision: Literal["float32", "bfloat16"] = "float32"
    accumulate: int = Field(default=1, ge=1)
    """Parts that a batch passes through in, to save memory."""
    halving: Annotated[HalvingTable | None, BeforeValidator(_halving_table)] = None
    engine: Literal["auto", "plain", "replay", "stacked", "dense"] = "auto"
    """What computes the trainings; all give the same results."""
    at_once: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] = "auto"
    """Candidates that a worker claims and trains together."""

    @property
    def fixed_at_once(self) -> int | None:
        """Candidates a claim, where the spec says so."""
        return None if self.at_once == "auto" else self.at_once

    @model_validator(mode="after")
    def _parts_of_a_batch(self) -> ProxySection:
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate is {self.accumulate} and batch_size {self.batch_size}: expected at "
                "most one part a sample"
            )
        return self
