"""Keys of a spec that data in batches, or without targets, cannot follow.

Entry point: `check_batch_keys`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...objectives.engines.registry import PLAIN_ENGINE
from ...objectives.model.losses import LOSSES
from ...objectives.model.metrics import METRICS
from ..errors import SpecError
from .spec import Spec

_ARRAY_KEYS: Mapping[str, tuple[object, str]] = {
    "folds": (1, "divide the data into training and validation yourself"),
    "repeats": (1, "train with several seeds by `replicas`"),
    "train_share": (1.0, "let the data set be smaller"),
    "input_noise": (0.0, "add the noise in your data set, as augmentation"),
}
"""Keys that only arrays can follow, with what leaves them as they are and what to do instead."""

_LOSS_METRICS = ("loss", "perplexity")  # figures of a loss, which needs no targets of the data's


def check_batch_keys(spec: Spec, *, has_targets: bool) -> None:
    """Check that a spec asks nothing of data in batches that they cannot give.

    Args:
        spec: Its data come in batches.
        has_targets: Whether these have targets.

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
    if not has_targets:
        _check_without_targets(spec)


def _check_without_targets(spec: Spec) -> None:
    proxy = spec.proxy
    no_targets = f"but data '{proxy.data}' has no targets for it"
    if proxy.loss in LOSSES:
        raise SpecError(
            f'proxy.loss: found "{proxy.loss}", {no_targets}; name a function of yours of outputs '
            'and the batch, or "model" where forward returns its loss, or give targets'
        )
    given: dict[str, list[str | None]] = {
        "metric": [proxy.metric],
        "report": [*(proxy.report or ())],
    }
    for key, names in given.items():
        for name in names:
            if name in METRICS and name not in _LOSS_METRICS:
                raise SpecError(
                    f'proxy.{key}: found "{name}", {no_targets}; leave it out, which leaves the '
                    "validation loss, or name a function of yours of outputs and the batch"
                )
