"""The type of the inputs: what a user's function gave, if the model takes it.

Token ids are whole numbers, and so are the pixels of most images; the first go into an embedding,
the others into a convolution, which takes fractions. The model itself says which: whole numbers
stay as they are if it takes them, and are turned into float32, or int64, if it takes these.

Entry point: `adapt_input_type`.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..data.dataset import Data, Split
from ..data.streams.source import BatchData
from ..errors import describe_dtype
from ..interrupt import raise_if_interrupt
from ..model.objective import ModuleObjective
from ..randomness import Randomness

_SAMPLE_COUNT = 2
_OTHER_TYPES = (torch.float32, torch.int64)
"""What whole numbers are turned into where a model does not take them, the first that it takes."""


def adapt_input_type(objective: ModuleObjective, widths: Mapping[str, int]) -> ModuleObjective:
    """Return the objective with inputs of a type that its model takes, and a note if it is another.

    Fractions stay float32, and so does whatever comes in batches: a data set of the user's own says
    itself what a model gets. Where a model takes no type, nothing is changed: `check_builder` says
    why.

    Args:
        objective: As it was made.
        widths: A small candidate, which is built and called with two samples.
    """
    data = objective.data
    if isinstance(data, BatchData):
        return objective
    given = data.train.inputs.dtype
    if given.is_floating_point or given.is_complex:
        return objective
    for dtype in (given, *(other for other in _OTHER_TYPES if other != given)):
        if _takes(objective, data, widths, dtype):
            return objective if dtype == given else _converted(objective, data, dtype)
    return objective


def _takes(
    objective: ModuleObjective, given: Data, widths: Mapping[str, int], dtype: torch.dtype
) -> bool:
    """Return whether the model can be called with samples of a type."""
    train = given.train
    rows = Split(
        inputs=train.inputs[:_SAMPLE_COUNT].to(dtype), targets=train.targets[:_SAMPLE_COUNT]
    )
    data = replace(given, train=rows, validation=rows, test=rows)
    try:
        with Randomness(0, torch.device("cpu")), torch.no_grad():
            replace(objective, data=data).build(widths).cpu().eval()(rows.inputs.cpu())
    except BaseException as error:  # whatever it is, the next type is tried, or the check says it
        raise_if_interrupt(error)
        return False
    return True


def _converted(objective: ModuleObjective, data: Data, dtype: torch.dtype) -> ModuleObjective:
    note = (
        f"the inputs are {describe_dtype(data.train.inputs.dtype)}, which the model does not take: "
        f"they are turned into {describe_dtype(dtype)}"
    )
    return replace(objective, data=_with_type(data, dtype, note))


def _with_type(data: Data, dtype: torch.dtype, note: str) -> Data:
    def converted(split: Split) -> Split:
        inputs: Tensor = split.inputs.to(dtype)
        return replace(split, inputs=inputs)

    return replace(
        data,
        train=converted(data.train),
        validation=converted(data.validation),
        test=converted(data.test),
        notes=(*data.notes, note),
    )
