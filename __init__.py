"""Widthwise: how many neurons should each layer have?

The public interface. Everything here is loaded when it is first asked for, so that a command that
needs no torch does not wait for it.

    import widthwise

    result = widthwise.search(build=…, widths=…, data=…, limits=…)    # `search` is a package, too

    space = widthwise.Space([widthwise.Width.range("hidden", 8, 512, step=8)])
    sampler = widthwise.WidthSampler(space, widthwise.Limits(parameters=20_000), cost=…)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .objectives.cost.costs import Costs, StepSpec, TensorSpec, count_costs
    from .objectives.cost.model import CostModel
    from .objectives.data.dataset import Data, Split
    from .objectives.errors import ObjectiveError, StopTraining
    from .objectives.model.objective import Objective
    from .objectives.own_training.trial import Trial
    from .search.errors import SearchError
    from .search.export.export import Exported, export
    from .search.python.discover import DiscoveredModel, discover
    from .search.python.result import SearchResult
    from .search.python.search import search
    from .search.sampler.optuna_sampler import WidthSampler
    from .search.space.limits import Limits
    from .search.space.space import Divisible, Order, Space, Tie, Width
    from .search.spec.spec import Spec, load_spec, parse_spec
    from .search.study import run
    from .storage.errors import StorageError

_HOMES = {
    "objectives.cost.costs": ("Costs", "StepSpec", "TensorSpec", "count_costs"),
    "objectives.cost.model": ("CostModel",),
    "objectives.data.dataset": ("Data", "Split"),
    "objectives.errors": ("ObjectiveError", "StopTraining"),
    "objectives.model.objective": ("Objective",),
    "objectives.own_training.trial": ("Trial",),
    "search.errors": ("SearchError",),
    "search.export.export": ("Exported", "export"),
    "search.python.discover": ("DiscoveredModel", "discover"),
    "search.python.result": ("SearchResult",),
    "search.space.limits": ("Limits",),
    "search.sampler.optuna_sampler": ("WidthSampler",),
    "search.space.space": ("Divisible", "Order", "Space", "Tie", "Width"),
    "search.spec.spec": ("Spec", "load_spec", "parse_spec"),
    "search.study": ("run",),
    "storage.errors": ("StorageError",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CostModel",
    "Costs",
    "Data",
    "DiscoveredModel",
    "Divisible",
    "Exported",
    "Limits",
    "Objective",
    "ObjectiveError",
    "Order",
    "SearchError",
    "SearchResult",
    "Space",
    "Spec",
    "Split",
    "StepSpec",
    "StopTraining",
    "StorageError",
    "TensorSpec",
    "Tie",
    "Trial",
    "Width",
    "WidthSampler",
    "count_costs",
    "discover",
    "export",
    "load_spec",
    "parse_spec",
    "run",
    "search",
]


def __getattr__(name: str) -> Any:
    if name == "search":
        return import_module(".search", __name__)  # a package that can be called
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
