"""muP: initial weights and Adam's rates that keep one learning rate right at every width.

With r the fan-in of a weight over its fan-in at the study's base widths (Tensor Programs V, Yang et
al. 2022, arXiv:2203.03466, table 3; sizes are root mean squares, and relative to the base):

    role       what it is                              initial size    Adam's rate
    vector     input weights, biases, gains            1               1
    hidden     weights between searched layers         r^-1/2          r^-1
    output     weights from a searched layer outwards  r^-1            r^-1

At the base widths every factor is 1 and not a bit of a model changes, so the base is what the
learning rate is chosen for. Below it (r < 1) weights keep the standard parametrisation, size r^-1/2
and rate 1: narrow networks are far from the limit that the table is about, and bear no faster a
rate (docs/decisions/0005). Nothing is rewritten and no multiplier enters the forward pass: the
costs of a candidate are those of the model that the user wrote, and it exports as such.

The initial size that a builder gives is measured (see `laws`) and brought to the table's. What is
zero stays zero. With AdamW, rate x decay is kept the same for all parameters (see `optimizer`), so
that decay pulls equally at every width.

Example, from the base (64, 64) to (64, 256) between 40 inputs and 10 classes: the first layer
stays, the second is a hidden weight with r = 1, and the last an output with r = 4: a quarter of the
initial size that it has at the base, and a quarter of the rate.

Entry points: `derive`, `Mup`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..randomness import Randomness
from .attention import refuse_moving_heads
from .errors import Inapplicable
from .fans import Fans
from .init_scaling import Law, Sizes, fit, seeds_needed
from .parameters import Place, layout
from .roles import Role, roles
from .standard import Kind

Build = Callable[[Mapping[str, int]], nn.Module]

_UNKNOWN = Fans(1, 1)
"""Stands for the fans of a raw parameter, whose size has to be the same at all widths."""


@final
@dataclass(frozen=True, kw_only=True)
class Rule:
    """What becomes of one parameter.

    Attributes:
        role: What it is to the widths.
        base: Its fans at the base.
        source: The fans at the base that its initial size may depend on.
        law: How it does.
    """

    role: Role
    base: Fans
    source: Fans
    law: Law

    def size(self, place: Place) -> float:
        """Return the factor on the initial values."""
        r = self._r(place)
        exponent = {"hidden": -0.5, "output": -1.0 if r > 1 else -0.5}.get(self.role, 0.0)
        wanted: float = r**exponent
        return wanted / self.law.ratio(place.source or self.source, self.source)

    def rate(self, place: Place) -> float:
        """Return the factor on Adam's learning rate."""
        return min(1.0, 1 / self._r(place)) if self.role in ("hidden", "output") else 1.0

    def covers(self, place: Place) -> bool:
        """Return whether only those fans moved that the role says follow the widths."""
        fans = place.fans or self.base
        moved = fans.fan_in != self.base.fan_in, fans.fan_out != self.base.fan_out
        may_move = self.role in ("output", "hidden"), self.role in ("vector", "hidden")
        return all(may or not did for may, did in zip(may_move, moved, strict=True))

    def _r(self, place: Place) -> float:
        return (place.fans or self.base).fan_in / self.base.fan_in


@final
@dataclass(frozen=True, kw_only=True)
class Mup:
    """muP for the models of one builder.

    Attributes:
        build: The builder, for the shapes at other widths.
        base: The widths that the learning rate is meant for.
        rules: By parameter, in the order of `named_parameters`.
    """

    build: Build
    base: Mapping[str, int]
    rules: Mapping[str, Rule]

    @property
    def kind(self) -> Kind:
        """Return "mup"."""
        return "mup"

    @torch.no_grad()
    def initialise(self, model: nn.Module, widths: Mapping[str, int]) -> None:
        """Rescale a freshly built model's parameters in place; draws no random number.

        Args:
            model: As the builder made it for these widths, not rescaled before.
            widths: The candidate.

        Raises:
            ModelError: It has other parameters than the base.
        """
        places = self._places(model, widths)
        for name, parameter in model.named_parameters():
            factor = self.rules[name].size(places[name])
            if factor != 1:
                parameter.mul_(factor)

    def rates(self, widths: Mapping[str, int]) -> dict[str, float]:
        """Return the factor on Adam's learning rate of each parameter, by name.

        Raises:
            ModelError: The builder raised, or the model has other parameters than the base.
        """
        places = self._places(_outlined(self.build, widths), widths)
        return {name: rule.rate(places[name]) for name, rule in self.rules.items()}

    def describe(self) -> str:
        """Return a sentence for people."""
        counts = Counter(rule.role for rule in self.rules.values())
        base = ", ".join(f"{name} = {width}" for name, width in self.base.items())
        return (
            f"muP from the base {base}: {counts['hidden']} hidden, {counts['output']} output and "
            f"{counts['vector'] + counts['constant']} other parameters."
        )

    def _places(self, model: nn.Module, widths: Mapping[str, int]) -> dict[str, Place]:
        places = {name: found[0] for name, found in layout(model).items()}
        if odd := sorted(set(places) ^ set(self.rules)):
            raise ModelError(
                f"the parameter '{odd[0]}' is not there both at the widths {dict(widths)} and at "
                f'muP\'s base {dict(self.base)}: set parametrisation = "standard".'
            )
        for name, rule in self.rules.items():
            if not rule.covers(places[name]):
                raise ModelError(
                    f"the parameter '{name}' is of shape {tuple(places[name].shape)} at the widths "
                    f"{dict(widths)}, where no candidate that muP was derived from moved it: "
                    "derive it from candidates that move every width."
                )
        return places


def derive(
    build: Build,
    base: Mapping[str, int],
    others: Sequence[Mapping[str, int]],
    *,
    inputs: Tensor | None = None,
) -> Mup:
    """Return muP for a builder's models.

    All candidates are built for real, each a few times, with seeds of their own.

    Args:
        build: `build(widths)`, which draws initial weights from torch's global stream.
        base: The widths that the learning rate is meant for.
        others: Candidates that between them move every searched width, each by a factor of two or
            more and not all in step; small ones, as they are built.
        inputs: Two or more samples, `[rows, ...]`, by which attention is looked at.

    Raises:
        Inapplicable: muP cannot be applied to these models, with the reason.
        ModelError: The builder raised, or gave no module.
    """
    candidates = (base, *others)
    models = [_built(build, widths, seed=0) for widths in candidates]
    layouts = [layout(model) for model in models]
    found = roles(layouts)
    if set(found.values()) <= {"constant"}:
        raise Inapplicable("no parameter follows the widths")
    refuse_moving_heads(models, inputs)
    sizes = [_sizes(build, widths, layouts[0]) for widths in candidates]
    rules: dict[str, Rule] = {}
    for name, role in found.items():
        places = [places[name][0] for places in layouts]
        rules[name] = _rule(name, role, places, [size[name] for size in sizes])
    return Mup(build=build, base=dict(base), rules=rules)


def _rule(
    name: str, role: Role, places: Sequence[Place], sizes: Sequence[tuple[float, int]]
) -> Rule:
    measured = [
        Sizes(place.source or _UNKNOWN, size, elements)
        for place, (size, elements) in zip(places, sizes, strict=True)
    ]
    return Rule(
        role=role,
        base=places[0].fans or _UNKNOWN,
        source=measured[0].fans,
        law=fit(name, measured),
    )


def _sizes(
    build: Build, widths: Mapping[str, int], base: Mapping[str, tuple[Place, ...]]
) -> dict[str, tuple[float, int]]:
    """Return each parameter's root mean square over several builds, and its count of numbers."""
    elements = [place.shape.numel() for (place, *_) in base.values()]
    seeds = seeds_needed(min(elements), sum(elements))
    means: dict[str, list[float]] = {name: [] for name in base}
    for seed in range(seeds):
        model = _built(build, widths, seed)
        for name, parameter in model.named_parameters():
            means[name].append(float(parameter.detach().double().square().mean()))
    return {
        name: ((sum(means[name]) / seeds) ** 0.5, seeds * parameter.numel())
        for name, parameter in model.named_parameters()
    }


def _built(build: Build, widths: Mapping[str, int], seed: int) -> nn.Module:
    with Randomness(seed, torch.device("cpu")):
        return build(widths)


def _outlined(build: Build, widths: Mapping[str, int]) -> nn.Module:
    """Return a model for its shapes, without memory where its builder allows that."""
    try:
        with torch.device("meta"):
            return build(widths)
    except Exception:  # the builder reads values: what is truly wrong is raised by the real build
        return _built(build, widths, seed=0)
