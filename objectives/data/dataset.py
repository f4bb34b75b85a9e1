"""Data: three splits of tensors, what to predict from them, and notes on how they were made.

The network learns from the training split, the validation split decides between candidates, and
the test split is only reported on. Medians, scales and categories are learnt from the training
split alone.

Entry points: `Data` and its `Split`s, which `load.load_data` makes from a name, file or function;
`RawData`, what a source gives before anything is decided about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from .columns.reading import ColumnReading

if TYPE_CHECKING:
    import pandas as pd


IGNORED_CLASS = -100
"""Class number of a position that counts for nothing, as in torch's losses."""


class Task(StrEnum):
    """What is predicted: classes or quantities."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True, kw_only=True, eq=False)
class RawData:
    """Inputs and target as a source gives them, one row a sample.

    Attributes:
        name: Of the data, for people.
        inputs: A table of feature columns, which are encoded; an array of samples, which are
            standardised; or a tensor from a user's function, which is taken as it is.
        target: A value a row, or an array of values a row.
        target_name: For people.
        task: What the source itself says the target is; None where it is to be recognised.
        split_sizes: Rows of the training, validation and maybe test split where the source divides
            its rows itself, in this order; None where they are to be divided.
        image: Whether the model's family asks for samples `[channels, height, width]`.
        notes: Sentences for the user on how the source was read.
        readings: What the columns of text were taken as, the target's among them, in the order of
            the source.
        from_function: Whether a user's function made it: a loss of the user's own then gets the
            targets as they are.
    """

    name: str
    inputs: "pd.DataFrame | NDArray[Any] | Tensor"
    target: "pd.Series[Any] | NDArray[Any]"
    target_name: str
    task: Task | None = None
    split_sizes: Sequence[int] | None = None
    image: bool = False
    notes: tuple[str, ...] = ()
    readings: tuple[ColumnReading, ...] = ()
    from_function: bool = False

    def reading_of(self, column: str) -> ColumnReading | None:
        """Return what a column of text was taken as; None where it has a type of its own."""
        return next((one for one in self.readings if one.name == column), None)

    def select_rows(self, selected: NDArray[np.bool_]) -> "RawData":
        """Return the rows of a mask; itself where that is all of them."""
        if selected.all():
            return self
        sizes = self.split_sizes
        if sizes is not None:
            parts = np.split(selected, np.cumsum(sizes)[:-1])
            sizes = [int(part.sum()) for part in parts]
        mask = torch.from_numpy(selected) if isinstance(self.inputs, Tensor) else selected
        return replace(
            self, inputs=self.inputs[mask], target=self.target[selected], split_sizes=sizes
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Rows of one split.

    Attributes:
        inputs: The samples, rows first; float32, or another type where a user's function gives
            token ids and the like.
        targets: Class numbers (int64, `rows`, or `rows x ...` where every position has one), yes or
            no for each of several labels (int64, `rows x labels`), shares of classes (float32,
            classes along axis 1), or quantities (float32, `rows` or `rows x ...`). A loss of the
            user's own gets what the user's function gave, in its shape and kind.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> Self:
        """Return the split on a device (itself when it is there already)."""
        return type(self)(
            inputs=self.inputs.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A data set ready for training.

    Attributes:
        name: What people call it: a built-in name, a file name, a reference.
        task: Whether classes or quantities are predicted.
        train: The rows that are learnt from.
        validation: The rows that decide: metric, early stopping, widths.
        test: The rows that are only reported on; may be empty in a user's own `Data`.
        outputs: Numbers to predict for a sample, or a position of it: classes, labels, or target
            columns.
        classes: Class names in the order of their numbers; None for a regression.
        notes: Sentences on what was recognised and how it was handled.
        target_mean: Mean of each target column, in its own units; empty when targets are as given.
        target_scale: Standard deviation of each target column; empty likewise.
        drawn_at_random: Whether chance divided training from validation rows, so that folds may
            divide them anew; False where the source did.
        class_values: The numbers that stand for the classes in the targets; empty where these are
            class numbers.
        one_hot: Whether the targets have the classes along axis 1.
        has_columns: Whether a sample was a row of a table, whose columns are no steps of time.
    """

    name: str
    task: Task
    train: Split
    validation: Split
    test: Split
    outputs: int
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    drawn_at_random: bool = False
    class_values: tuple[float, ...] = ()
    one_hot: bool = False
    has_columns: bool = False

    def __post_init__(self) -> None:
        if self.task not in list(Task):
            tasks = " or ".join(f"'{task}'" for task in Task)
            raise DataError(f"{self.name}: the task is '{self.task}': write {tasks}.")
        object.__setattr__(self, "task", Task(self.task))  # users give the word
        splits = {"training": self.train, "validation": self.validation, "test": self.test}
        for split_name, split in splits.items():
            if len(split.inputs) != len(split.targets):
                raise DataError(
                    f"{self.name}: the {split_name} split has {len(split.inputs)} rows of inputs "
                    f"and {len(split.targets)} targets: give one target a row."
                )
            if len(split) == 0 and split_name != "test":
                raise DataError(f"{self.name}: the {split_name} split is empty: give it rows.")
            if len(split) and split.inputs.shape[1:] != self.train.inputs.shape[1:]:
                raise DataError(
                    f"{self.name}: a sample has the shape {tuple(split.inputs.shape[1:])} in the "
                    f"{split_name} split and {self.input_shape} in the training split: "
                    "make them equal."
                )

    def to(self, device: torch.device) -> "Data":
        """Return the data with all splits on a device."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def class_count(self) -> int:
        """Number of classes; of a data set made by hand without their names, its outputs."""
        return self.outputs if self.classes is None else len(self.classes)

    @property
    def features(self) -> int:
        """Numbers in one sample."""
        return prod(self.input_shape)

    @property
    def leaves_positions_out(self) -> bool:
        """Whether some positions have no class, but -100."""
        return self.task == Task.CLASSIFICATION and any(
            split.targets.ndim > 1 and bool((split.targets == IGNORED_CLASS).any())
            for split in (self.train, self.validation, self.test)
        )

    def class_numbers(self, targets: Tensor) -> Tensor:
        """Return the targets of a classification as int64 class numbers, or yes and no as 1 and 0.

        Args:
            targets: As a split holds them.
        """
        if self.one_hot:
            return targets.argmax(dim=1)
        if self.class_values:
            values = torch.tensor(self.class_values, dtype=torch.float64, device=targets.device)
            # One that is nowhere in the list, as in a split made by hand, is nobody's class.
            numbers = torch.searchsorted(values, targets.double())
            return numbers.squeeze(1) if numbers.ndim > 1 else numbers
        return targets.long()

    def in_target_units(self, values: Tensor) -> Tensor:
        """Return standardised predictions or targets in the units of the target columns.

        Args:
            values: `rows` or `rows x outputs`; returned untouched when nothing was standardised.
        """
        if not self.target_scale:
            return values
        # float64: what standardising gained in precision must not be lost on the way back.
        options = {"dtype": torch.float64, "device": values.device}
        mean, scale = (
            torch.tensor(statistics if values.ndim > 1 else statistics[0], **options)  # type: ignore[arg-type]
            for statistics in (self.target_mean, self.target_scale)
        )
        return values.double() * scale + mean
