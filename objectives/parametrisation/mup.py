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

The initial size that a builder gives is measured (see `init_scaling`) and brought to the table's.
What is zero stays zero. With AdamW, rate x decay is kept the same for all parameters (see
`optimizer`), so that decay pulls equally at every width.

Example, from the base (64, 64) to (64, 256) between 40 inputs and 10 classes: the first layer
stays, the second is a hidden weight with r = 1, and the last an output with r = 4: a quarter of the
initial size that it has at the base, and a quarter of the rate.

Entry points: `derive_mup`, `Mup`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..data.streams.batch import Batch
from ..errors import ModelError
from ..interrupt import raise_if_interrupt
from ..randomness import Randomness
from .attention import require_fixed_head_size
from .errors import MupInapplicable
from .fans import Fans
from .init_scaling import InitLaw, MeasuredSize, fit_init_law, seeds_needed
from .parameters import ParameterInfo, parameter_infos
from .roles import Role, infer_roles
from .standard import ParametrisationName

ModelFactory = Callable[[Mapping[str, int]], nn.Module]

NO_PARAMETER_FOLLOWS = "no parameter follows the widths"
"""Why muP is not applied where all factors would be 1 anyway."""

_UNKNOWN_FANS = Fans(1, 1)
"""Stands for the fans of a raw parameter, whose size has to be the same at all widths."""


@final
@dataclass(frozen=True, kw_only=True)
class ParameterRule:
    """What becomes of one parameter.

    Attributes:
        role: What it is to the widths.
        base_fans: Its fans at the base.
        base_init_fans: The fans at the base that its initial size may depend on.
        init_law: How it does.
    """

    role: Role
    base_fans: Fans
    base_init_fans: Fans
    init_law: InitLaw

    def init_factor(self, info: ParameterInfo) -> float:
        """Return the factor on the initial values."""
        ratio = self._fan_in_ratio(info)
        target: float = ratio ** self.role.init_exponent(ratio)
        return target / self.init_law.ratio(
            info.init_fans or self.base_init_fans, self.base_init_fans
        )

    def learning_rate_factor(self, info: ParameterInfo) -> float:
        """Return the factor on Adam's learning rate."""
        return min(1.0, 1 / self._fan_in_ratio(info)) if self.role.follows_fan_in else 1.0

    def covers(self, info: ParameterInfo) -> bool:
        """Return whether only those fans moved that the role says follow the widths."""
        fans = info.fans or self.base_fans
        return (self.role.follows_fan_in or fans.fan_in == self.base_fans.fan_in) and (
            self.role.follows_fan_out or fans.fan_out == self.base_fans.fan_out
        )

    def _fan_in_ratio(self, info: ParameterInfo) -> float:
        return (info.fans or self.base_fans).fan_in / self.base_fans.fan_in


@final
@dataclass(frozen=True, kw_only=True)
class Mup:
    """muP for the models of one builder.

    Attributes:
        build: The builder, for the shapes at other widths.
        base_widths: The widths that the learning rate is meant for.
        rules: By parameter, in the order of `named_parameters`.
    """

    build: ModelFactory
    base_widths: Mapping[str, int]
    rules: Mapping[str, ParameterRule]

    @property
    def name(self) -> ParametrisationName:
        """Its name in a spec."""
        return "mup"

    @property
    def is_constant(self) -> bool:
        """Whether no parameter follows the widths: then every factor is 1."""
        return {rule.role for rule in self.rules.values()} <= {Role.CONSTANT}

    @torch.no_grad()
    def initialise(self, model: nn.Module, widths: Mapping[str, int]) -> None:
        """Rescale a freshly built model's parameters in place; draws no random number.

        Args:
            model: As the builder made it for these widths, not rescaled before.
            widths: The candidate.

        Raises:
            ModelError: It has other parameters than the base.
        """
        infos = self._parameter_infos(model, widths)
        for name, parameter in model.named_parameters():
            factor = self.rules[name].init_factor(infos[name])
            if factor != 1:
                parameter.mul_(factor)

    def learning_rate_factors(self, widths: Mapping[str, int]) -> dict[str, float]:
        """Return the factor on Adam's learning rate of each parameter, by name.

        Raises:
            ModelError: The builder raised, or the model has other parameters than the base.
        """
        infos = self._parameter_infos(_build_shapes_only(self.build, widths), widths)
        return {name: rule.learning_rate_factor(infos[name]) for name, rule in self.rules.items()}

    def describe(self) -> str:
        """Return a sentence for people."""
        counts = Counter(rule.role for rule in self.rules.values())
        base = ", ".join(f"{name} = {width}" for name, width in self.base_widths.items())
        return (
            f"one learning rate for all widths, by muP from the base {base} "
            f"({counts[Role.HIDDEN]} hidden, {counts[Role.OUTPUT]} output and "
            f"{counts[Role.VECTOR] + counts[Role.CONSTANT]} other tensors of parameters)."
        )

    def _parameter_infos(
        self, model: nn.Module, widths: Mapping[str, int]
    ) -> dict[str, ParameterInfo]:
        infos = {name: occurrences[0] for name, occurrences in parameter_infos(model).items()}
        if unmatched := sorted(set(infos) ^ set(self.rules)):
            raise ModelError(
                f"the parameter '{unmatched[0]}' is not there both at the widths {dict(widths)} "
                f'and at muP\'s base {dict(self.base_widths)}: set parametrisation = "standard".'
            )
        for name, rule in self.rules.items():
            if not rule.covers(infos[name]):
                raise ModelError(
                    f"the parameter '{name}' is of shape {tuple(infos[name].shape)} at the widths "
                    f"{dict(widths)}, where no candidate that muP was derived from moved it: "
                    "derive it from candidates that move every width."
                )
        return infos


def derive_mup(
    build: ModelFactory,
    base: Mapping[str, int],
    others: Sequence[Mapping[str, int]],
    *,
    inputs: Tensor | Batch | None = None,
    may_be_constant: bool = False,
) -> Mup:
    """Return muP for a builder's models.

    All candidates are built for real, each a few times, with seeds of their own.

    Args:
        build: `build(widths)`, which draws initial weights from torch's global stream.
        base: The widths that the learning rate is meant for.
        others: Candidates that between them move every searched width, each by a factor of two or
            more and not all in step; small ones, as they are built.
        inputs: Two or more samples, `[rows, ...]` or a batch, by which attention is looked at.
        may_be_constant: Whether no parameter has to follow the widths: then every factor is 1.

    Raises:
        MupInapplicable: muP cannot be applied to these models, with the reason.
        ModelError: The builder raised, or gave no module.
    """
    candidates = (base, *others)
    models = [_build_seeded(build, widths, seed=0) for widths in candidates]
    first_squares = [_mean_squares(model) for model in models]
    parameter_tables = [parameter_infos(model) for model in models]
    parameter_roles = infer_roles(parameter_tables)
    if not may_be_constant and set(parameter_roles.values()) <= {Role.CONSTANT}:
        raise MupInapplicable(NO_PARAMETER_FOLLOWS)
    batch = Batch(args=(inputs,)) if isinstance(inputs, Tensor) else inputs
    require_fixed_head_size(models, batch)
    base_elements = [info.shape.numel() for (info, *_) in parameter_tables[0].values()]
    seeds = seeds_needed(min(base_elements), sum(base_elements))
    sizes = [
        _root_mean_squares(
            [
                squares,
                *(_mean_squares(_build_seeded(build, widths, seed)) for seed in range(1, seeds)),
            ]
        )
        for widths, squares in zip(candidates, first_squares, strict=True)
    ]
    rules: dict[str, ParameterRule] = {}
    for name, role in parameter_roles.items():
        infos = [table[name][0] for table in parameter_tables]
        measured = [
            MeasuredSize(info.init_fans or _UNKNOWN_FANS, size[name], seeds * info.shape.numel())
            for info, size in zip(infos, sizes, strict=True)
        ]
        rules[name] = ParameterRule(
            role=role,
            base_fans=infos[0].fans or _UNKNOWN_FANS,
            base_init_fans=measured[0].fans,
            init_law=fit_init_law(name, measured),
        )
    return Mup(build=build, base_widths=dict(base), rules=rules)


@torch.no_grad()
def _mean_squares(model: nn.Module) -> dict[str, float]:
    """Return the mean square of each parameter, by name."""
    return {
        name: float(parameter.double().square().mean())
        for name, parameter in model.named_parameters()
    }


def _root_mean_squares(builds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each parameter's root mean square over several builds."""
    return {
        name: (sum(squares[name] for squares in builds) / len(builds)) ** 0.5 for name in builds[0]
    }


def _build_seeded(build: ModelFactory, widths: Mapping[str, int], seed: int) -> nn.Module:
    with Randomness(seed, torch.device("cpu")):
        return build(widths)


def _build_shapes_only(build: ModelFactory, widths: Mapping[str, int]) -> nn.Module:
    """Return a model for its shapes, without memory where its builder allows that."""
    try:
        with torch.device("meta"):
            return build(widths)
    except BaseException as error:
        raise_if_interrupt(error)
        # The builder reads values: what is truly wrong is raised by the real build.
        return _build_seeded(build, widths, seed=0)
