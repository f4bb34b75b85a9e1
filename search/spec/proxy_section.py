"""`[proxy]`: the data, and how the short training of a trial is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ...objectives.data.read_options import ReadOptions
from ...objectives.engines.registry import ENGINES
from .device import check_device
from .messages import format_value
from .sections import Reference, Section

MAX_EPOCHS = 1_000_000
"""Of a trial: more than any proxy trains."""
MAX_BATCH_SIZE = 1_000_000_000
"""Samples of a step: more than any memory holds."""
_MAX_RATE = 1000.0
_MAX_FACTOR = 1e6
MAX_LENGTH_FACTOR = 1000.0
_MAX_AT_ONCE = 4096
_MAX_RATE_FACTORS = 16
_MAX_NOISE = 100.0

_LOOP_KEYS = (
    "data",
    "target",
    "missing",
    "encoding",
    "separator",
    "header",
    "task",
    "loss",
    "report",
    "steps_per_epoch",
    "patience",
    "learning_rate",
    "weight_decay",
    "schedule",
    "input_noise",
    "train_share",
    "data_on",
    "parametrisation",
    "rate_factors",
    "replicas",
    "folds",
    "repeats",
    "engine",
    "at_once",
)
"""Keys of Widthwise's own training, which mean nothing to one of the user's own."""
_MAY_BE_ONE = ("train_share", "folds", "repeats", "at_once")
"""Of these, the ones that 1 says nothing new of."""

if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal["auto", *ENGINES]

REMOVED_ENGINE = "fused"
"""An engine of earlier releases: the specs of stored studies may name it."""


class HalvingTable(Section):
    """Successive halving: at each rung the best 1/eta go on."""

    eta: int = Field(default=3, ge=2, le=100)
    first: float = Field(default=1.0, ge=0.001, le=MAX_EPOCHS, allow_inf_nan=False)
    """Epochs before the first rung; below 1, a share of the training rows."""


def _expand_halving(value: object) -> object:
    """Expand `halving = 3` to `halving = { eta = 3 }`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"eta": value}
    if value is None or isinstance(value, Mapping | HalvingTable):
        return value
    raise ValueError(
        f"found {format_value(value)}, expected a whole number such as 3, or eta and first"
    )


def _check_at_once(value: object) -> object:
    if value == "auto" or (type(value) is int and 1 <= value <= _MAX_AT_ONCE):
        return value
    raise ValueError(
        f'found {format_value(value)}, expected "auto" or a whole number from 1 to {_MAX_AT_ONCE}'
    )


def _without_removed(value: object) -> object:
    if value == REMOVED_ENGINE:
        raise ValueError(
            f'found "{REMOVED_ENGINE}", an engine that was removed; expected "auto", which takes '
            'the fastest one, or "replay"'
        )
    return value


def _check_distinct(factors: list[float]) -> list[float]:
    if len(factors) > _MAX_RATE_FACTORS:
        raise ValueError(f"found {len(factors)} factors, expected at most {_MAX_RATE_FACTORS}")
    repeated = [factor for factor in factors if factors.count(factor) > 1]
    if repeated:
        raise ValueError(f"found {repeated[0]} {len(repeated)} times, expected each factor once")
    return factors


class ProxySection(Section):
    """`[proxy]`: the data and the short training of a trial."""

    data: Reference | None = None
    """What is trained on; needed unless the training is the user's own."""
    train: Reference | None = None
    """`train(widths, trial)`: the user's own training, in place of data, loss and the loop."""
    target: str | None = None
    """Column to predict, of a data file; key of the targets, where samples are dicts."""
    missing: list[str] | None = None
    """Words of a data file that stand for a missing value, besides the empty field."""
    encoding: str | None = None
    """Text encoding of a data file, where it is recognised wrongly."""
    separator: str | None = None
    """What stands between two fields of a data file, where it is recognised wrongly."""
    header: bool | None = None
    """Whether the first row of a data file holds the column names, where it is taken wrongly."""
    task: Literal["classification", "regression"] | None = None
    metric: Reference | None = None
    direction: Literal["maximize", "minimize"] | None = None
    """For a metric of the user's own."""
    report: list[Reference] | None = None
    """Further metrics, which are recorded beside the one that is searched and decide nothing."""
    loss: Reference | None = None
    epochs: int | None = Field(default=None, ge=1, le=MAX_EPOCHS)
    """Passes over the training rows at most; by default 3,000 steps, or 20 epochs if more."""
    batch_size: int = Field(default=64, ge=1, le=MAX_BATCH_SIZE)
    steps_per_epoch: int | None = Field(default=None, ge=1, le=MAX_BATCH_SIZE)
    """Batches in an epoch, for streams; all that they have unless said."""
    patience: int | None = Field(default=None, ge=0, le=MAX_EPOCHS)
    """Epochs without a better smoothed validation loss before a trial stops, which none does in its
    first 300 steps; 0 trains all epochs; by default as many as 200 steps take, and at least 3."""
    learning_rate: float = Field(default=1e-3, gt=0, le=_MAX_RATE, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, le=_MAX_RATE, allow_inf_nan=False)
    schedule: Literal["constant", "cosine", "one-cycle"] | None = None
    """How the learning rate goes over the steps of a training; "constant" unless said."""
    input_noise: float | None = Field(default=None, ge=0, le=_MAX_NOISE, allow_inf_nan=False)
    """Standard deviation of noise on training inputs, in the inputs' own; none unless said."""
    length_factor: float | None = Field(
        default=None, gt=0, le=MAX_LENGTH_FACTOR, allow_inf_nan=False
    )
    """Times as long as the epochs and the patience say, set or not."""
    train_share: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    """Share of the training rows that are trained on; all unless said."""
    device: Annotated[str, AfterValidator(check_device)] = "auto"
    data_on: Literal["auto", "device", "host"] = "auto"
    """Where the data lies while it is trained on."""
    parametrisation: Literal["mup", "standard"] = "mup"
    """How initial weights and learning rates follow the widths."""
    rate_factors: Annotated[
        list[Annotated[float, Field(gt=0, le=_MAX_FACTOR, allow_inf_nan=False)]] | None,
        Field(min_length=1),
        AfterValidator(lambda factors: factors and _check_distinct(factors)),
    ] = None
    """Learning rates that each candidate is tried with, as factors; the best counts."""
    replicas: int = Field(default=1, ge=1, le=100)
    """Trainings of each candidate, from different seeds; its value is their mean."""
    folds: int | None = Field(default=None, ge=1, le=100)
    """Parts of the training and validation rows that take turns in validating; by default 5 where
    these are fewer than 2,000 and drawn at random, else 1."""
    repeats: int | None = Field(default=None, ge=1, le=100)
    """Times that the rows are dealt out into folds anew; by default 3 where folds are the default
    and the rows fewer than 300, else 1."""
    precision: Literal["float32", "bfloat16"] = "float32"
    accumulate: int = Field(default=1, ge=1)
    """Parts that a batch passes through in, to save memory."""
    halving: Annotated[HalvingTable | None, BeforeValidator(_expand_halving)] = None
    engine: Annotated[EngineName, BeforeValidator(_without_removed)] = "auto"
    """What computes the trainings; all give the same results."""
    at_once: Annotated[Literal["auto"] | int, BeforeValidator(_check_at_once)] = "auto"
    """Candidates that a worker claims and trains together."""

    @property
    def read_options(self) -> ReadOptions:
        """What the spec says of how a data file is to be read."""
        return ReadOptions(
            missing=tuple(self.missing or ()),
            encoding=self.encoding,
            separator=self.separator,
            header=self.header,
        )

    @property
    def fixed_claim_size(self) -> int | None:
        """Candidates a claim, where the spec says so."""
        return None if self.at_once == "auto" else self.at_once

    @model_validator(mode="after")
    def _check_train(self) -> ProxySection:
        if self.train is None:
            if self.data is None:
                raise ValueError(
                    "proxy.data is missing; expected the data, or train = "
                    '"FILE.py:function", a training of your own'
                )
            return self
        foreign = [key for key in _LOOP_KEYS if self._is_set(key)]
        if foreign:
            raise ValueError(
                f"{', '.join(foreign)} goes with Widthwise's own training, found train: take it "
                "away, and do inside your function what it would say"
            )
        if self.metric is not None and ":" in self.metric:
            raise ValueError(
                f'metric: found "{self.metric}", expected the name of what your train function '
                'reports, such as "accuracy", with direction = "maximize" or "minimize"'
            )
        if self.halving is not None and self.epochs is None:
            raise ValueError(
                "halving compares trainings at steps below epochs, which is not set: set epochs to "
                "the last step that your function reports"
            )
        if self.length_factor not in (None, 1) and self.epochs is None:
            raise ValueError(
                f"length_factor: found {self.length_factor:g}, a factor on epochs, which is not "
                "set: set epochs, which your function finds in trial.epochs, or leave it out"
            )
        return self

    def _is_set(self, key: str) -> bool:
        value = getattr(self, key)
        return value != type(self).model_fields[key].default and not (
            key in _MAY_BE_ONE and value == 1
        )

    @model_validator(mode="after")
    def _check_repeats(self) -> ProxySection:
        if self.folds == 1 and (self.repeats or 1) > 1:
            raise ValueError(
                f"repeats is {self.repeats} and folds 1: one validation split cannot be dealt out "
                "anew; ask for more folds, or leave repeats out"
            )
        return self

    @model_validator(mode="after")
    def _check_accumulate(self) -> ProxySection:
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate is {self.accumulate} and batch_size {self.batch_size}: expected at "
                "most one part a sample"
            )
        return self
