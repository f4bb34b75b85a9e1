"""The engines by name: what each needs, and how it is made.

A new engine is one entry here; the spec's `engine`, the choice and the benchmarks follow. This
module does not import torch, and an engine's own module only when the engine is made.

Entry points: `ENGINES`, `EngineDescriptor`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Engine


@dataclass(frozen=True, kw_only=True)
class EngineDescriptor:
    """What there is to know of an engine before it is made.

    Attributes:
        name: What the spec and people call it.
        create: Makes the engine.
        cpu_only: Whether it trains on a CPU alone.
        needs_compiling: Whether it compiles for many seconds, once on a machine.
        takes_stack: Whether it trains several members at once, and is worth it for these alone.
        tolerance: Largest difference of a weight or output, in float64, from the plain engine's:
            sums are in another order, or nothing differs.
    """

    name: str
    create: Callable[[], "Engine"]
    cpu_only: bool = False
    needs_compiling: bool = False
    takes_stack: bool = False
    tolerance: float = 0.0


def _plain() -> "Engine":
    from .plain import PlainEngine

    return PlainEngine()


def _replay() -> "Engine":
    from .replay.engine import ReplayEngine

    return ReplayEngine()


def _stacked() -> "Engine":
    from .stacked.engine import StackedEngine

    return StackedEngine()


def _dense() -> "Engine":
    from .dense.engine import DenseEngine

    return DenseEngine()


PLAIN_ENGINE = EngineDescriptor(name="plain", create=_plain)
"""The reference, which every other engine is compared with and falls back to."""

ENGINES: Mapping[str, EngineDescriptor] = {
    descriptor.name: descriptor
    for descriptor in (
        PLAIN_ENGINE,
        EngineDescriptor(name="replay", create=_replay, cpu_only=True),
        EngineDescriptor(name="stacked", create=_stacked, takes_stack=True, tolerance=1e-9),
        EngineDescriptor(
            name="dense", create=_dense, cpu_only=True, needs_compiling=True, tolerance=1e-9
        ),
    )
}
"""All engines, by name."""
