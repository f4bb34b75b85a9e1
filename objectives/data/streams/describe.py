"""A split that comes in batches, in a line for people.

Entry point: `describe_split`.
"""

from .batch import Batch, describe_inputs, describe_shapes
from .loader_settings import LoaderSettings
from .split_source import SplitSource


def describe_split(
    split: str, source: SplitSource, settings: LoaderSettings, example: Batch
) -> str:
    """Return how many samples and batches a split has, their shapes, and who loads them.

    Args:
        split: Its name.
        source: Its batches.
        settings: How they are loaded.
        example: The first one.
    """
    most = "up to " if source.may_end_early else ""
    batches = f"{most}{source.steps:,} batch{'' if source.steps == 1 else 'es'} of {example.rows:,}"
    samples = "" if source.rows is None else f"{source.rows:,} samples in "
    targets = (
        "no targets"
        if example.targets is None
        else f"targets {describe_shapes(example.targets, skip=1)}"
    )
    inputs, workers = describe_inputs(example, skip=1), settings.workers
    loaders = f", loaded by {workers} worker{'' if workers == 1 else 's'}" if workers else ""
    return f"{split} data: {samples}{batches}{loaders}; {inputs}; {targets}"
