"""Keys of a spec that data in batches cannot follow.

Entry point: `check_batch_keys`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...objectives.engines.registry import PLAIN_ENGINE
from ..errors import SpecError
from .spec import Spec

_ARRAY_KEYS: Mapping[str, tuple[object, str]] = {
    "folds": (1, "divide the data into training and validation yourself"),
    "repeats": (1, "train with several seeds by `replicas`"),
    "train_share": (1.0, "let the data set be smaller"),
    "input_noise": (0.0, "add the noise in your data set, as augmentation"),
}
"""Keys that only arrays can follow, with what leaves them as they are and what to do instead."""


def check_batch_keys(spec: Spec) -> None:
    """Check that a spec asks nothing of data in batches that only arrays can give.

    Raises:
        SpecError: It does.
    """
    for key, (neutral, advice) in _ARRAY_KEYS.items():
        value = getattr(spec.proxy, key)
        if value is not None and value != neutral:
            raise SpecError(
                f"proxy.{key}: found {value:g}, but data '{spec.proxy.data}' comes in batches, "
                f"of which rows cannot be chosen: {advice}, or give arrays"
            )
    if spec.proxy.engine not in ("auto", PLAIN_ENGINE.name):
        raise SpecError(
            f"proxy.engine: found \"{spec.proxy.engine}\", but data '{spec.proxy.data}' comes in "
            f'batches, which the engine "{PLAIN_ENGINE.name}" alone trains on: leave it out, or '
            "give arrays"
        )
