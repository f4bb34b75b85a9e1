"""What refining tries: the settings of a training, axis by axis, in the order they are tried.

The learning rate comes first: no other setting matters as much, and what is tried at a wrong one
says little (Bengio, "Practical recommendations for gradient-based training of deep architectures",
2012, section 3.1; Goodfellow, Bengio and Courville, Deep Learning, 2016, section 11.4.1). What
changes how fast a net can be trained follows: normalisation and schedule. Then what keeps it from
learning by heart: weight decay, dropout, noise on the inputs (ibid., chapter 7). Last, whether a
wider net pays now, as regularised nets may be wider (Srivastava et al., "Dropout", 2014, section
A.1).

Entry points: `Axis`, `Option`, `Setting`, `refinement_axes`, `wider_axis`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ....storage.ledger.slot import widths_key

if TYPE_CHECKING:
    from ...spec.spec import Spec

RATE_FACTOR = 3.0
"""Between learning rates: half a power of ten, the usual grid (Bengio, 2012, section 3.1.1)."""

MAX_RATE_STEPS = 3
"""Steps in one direction at most: a rate that is wrong by more than 27 was no learning rate."""

FOLDS = 5
"""Folds that are tried where the study has one validation split (Hastie et al., The Elements of
Statistical Learning, 2nd ed., 2009, section 7.10)."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A way to train: widths, and keys of the spec with other values.

    Attributes:
        widths: By name.
        overrides: Keys with dots to their values.
    """

    widths: Mapping[str, int]
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from any other."""
        return setting_key(self.widths, self.overrides)


def setting_key(widths: Mapping[str, int], overrides: Mapping[str, Any]) -> tuple[str, str]:
    """Return what tells a setting from any other."""
    return widths_key(widths), json.dumps(dict(overrides), sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One change.

    Attributes:
        text: For people, such as "weight decay 0.01".
        overrides: Keys of the spec that it changes.
        widths: The widths that it asks for instead; None to keep them.
    """

    text: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    widths: Mapping[str, int] | None = None

    def apply(self, setting: Setting) -> Setting:
        """Return a setting with this change."""
        return Setting(
            widths=setting.widths if self.widths is None else self.widths,
            overrides={**setting.overrides, **self.overrides},
        )


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A setting and what is tried of it.

    Attributes:
        name: For people.
        group: Axes of one group are tried side by side, groups one after the other.
        options: What is tried.
        next_options: What is tried further after an option has won, by its text.
        note: Why nothing is tried, where that is so.
    """

    name: str
    group: int
    options: Sequence[Option] = ()
    next_options: Mapping[str, Option] = field(default_factory=dict)
    note: str | None = None


def refinement_axes(spec: Spec, *, noise_possible: bool) -> list[Axis]:
    """Return what is tried of a study's settings, in order.

    Args:
        spec: The study's.
        noise_possible: Whether the inputs are fractions, to which noise can be added.
    """
    # The family's options are known without torch.
    from ....objectives.model.family_registry import FAMILIES

    known = {} if spec.model.family is None else FAMILIES[spec.model.family].options
    model_note = (
        "a model of yours: only its build function can change it"
        if spec.model.family is None
        else f"the family {spec.model.family} has none"
    )
    proxy = spec.proxy
    return [
        _rate_axis(proxy.learning_rate),
        Axis(
            name="normalisation",
            group=1,
            options=[
                Option(text=f"norm {choice}", overrides={"model.norm": choice})
                for choice in known.get("norm") or ()
                if choice != (spec.model.norm or "none")
            ],
            note=None if "norm" in known else model_note,
        ),
        Axis(
            name="schedule",
            group=1,
            options=[
                Option(text=f"schedule {choice}", overrides={"proxy.schedule": choice})
                for choice in ("constant", "cosine", "one-cycle")
                if choice != (proxy.schedule or "constant")
            ],
        ),
        Axis(
            name="weight decay",
            group=2,
            options=[
                Option(text=f"weight decay {decay:g}", overrides={"proxy.weight_decay": decay})
                for decay in _around(proxy.weight_decay, zero=(0.01, 0.1), factor=10.0, most=1.0)
            ],
        ),
        Axis(
            name="dropout",
            group=2,
            options=[
                Option(text=f"dropout {share:g}", overrides={"model.dropout": share})
                for share in _around(
                    spec.model.dropout or 0.0, zero=(0.1, 0.3), factor=2.0, most=0.6
                )
                if "dropout" in known
            ],
            note=None if "dropout" in known else model_note,
        ),
        Axis(
            name="input noise",
            group=2,
            options=[
                Option(text=f"input noise {size:g}", overrides={"proxy.input_noise": size})
                for size in _around(proxy.input_noise or 0.0, zero=(0.1, 0.3), factor=2.0, most=1.0)
                if noise_possible
            ],
            note=None if noise_possible else "the inputs are no fractions",
        ),
    ]


def wider_axis(wider: Sequence[Mapping[str, int]], why_none: str | None = None) -> Axis:
    """Return the axis of wider nets.

    Args:
        wider: Widths that keep the limits, the narrowest first.
        why_none: Why there are none.
    """
    return Axis(
        name="wider",
        group=3,
        options=[
            Option(
                text=" ".join(f"{name}={width}" for name, width in widths.items()), widths=widths
            )
            for widths in wider
        ],
        note=None if wider else why_none,
    )


def _rate_axis(rate: float) -> Axis:
    """Return the axis of learning rates, which goes on in the direction that wins."""

    def option(steps: int) -> Option:
        value = float(f"{rate * RATE_FACTOR**steps:.3g}")
        return Option(text=f"learning rate {value:g}", overrides={"proxy.learning_rate": value})

    return Axis(
        name="learning rate",
        group=0,
        options=[option(-1), option(1)],
        next_options={
            option(sign * steps).text: option(sign * (steps + 1))
            for sign in (-1, 1)
            for steps in range(1, MAX_RATE_STEPS)
        },
    )


def _around(value: float, *, zero: Sequence[float], factor: float, most: float) -> list[float]:
    """Return what is tried around a value: none, less and more; from none, what is usual."""
    if value == 0:
        return list(zero)
    candidates = (0.0, value / factor, value * factor)
    return [float(f"{other:.3g}") for other in candidates if other <= most]
